//! Clients of `klon serve` that mean harm, or are broken.

use super::made::take;
use super::running::Running;
use crate::support::image::sparse;
use crate::support::{Klon, MIB, run, tree};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What a client says first, and the option to read the default export.
fn hello() -> Vec<u8> {
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    bytes.extend(option(7, &[0; 6]));
    bytes
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    [
        b"IHAVEOPT",
        &number.to_be_bytes()[..],
        &len.to_be_bytes(),
        data,
    ]
    .concat()
}

fn request(command: u16, offset: u64, len: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(command.to_be_bytes());
    bytes.extend([7; 8]);
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends `bytes`, ends its own half, and gives what comes back until the server ends the other.
fn answer(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(socket);
    // It may have enough before it has all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut found = Vec::new();
    if let Err(error) = stream.read_to_end(&mut found) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    found
}

/// The error of the last simple reply.
fn last_error(found: &[u8]) -> u32 {
    let head = &found[found.len() - 16..];
    assert_eq!(head[..4], 0x6744_6698_u32.to_be_bytes(), "{found:?}");
    u32::from_be_bytes(head[4..8].try_into().unwrap())
}

#[test]
fn no_client_hurts_the_server_or_another_client() {
    let klon = Klon::new();
    let (source, image, socket) = (klon.path("source"), klon.path("i.klon"), klon.path("s"));
    sparse(&source, 4 * MIB);
    fs::write(&source, tree::noise(1, 4 << 20)).unwrap();
    take(&klon, &source, &image);
    let texts = [&image, &socket].map(|path| path.to_str().unwrap().to_owned());
    let serving = Running::start(&klon, &["serve", &texts[0], "--socket", &texts[1]]);

    // Idle ones, before and after the handshake, and in the middle of it.
    let mut idle: Vec<UnixStream> = (0..20).map(|_| connect(&socket)).collect();
    for (index, stream) in idle.iter_mut().enumerate() {
        let hello = hello();
        stream
            .write_all(&hello[..index % (hello.len() + 1)])
            .unwrap();
    }
    // One that asks for much and reads nothing.
    let mut deaf = connect(&socket);
    deaf.write_all(&hello()).unwrap();
    for _ in 0..20 {
        deaf.write_all(&request(0, 0, 4 << 20)).unwrap();
    }

    for seed in 0..60 {
        let noise = tree::noise(seed, 3000);
        answer(&socket, &noise);
        // From within the handshake, and from within the transmission.
        answer(
            &socket,
            &[&3_u32.to_be_bytes()[..], b"IHAVEOPT", &noise].concat(),
        );
        answer(&socket, &[&hello()[..], &noise].concat());
        let command = u16::try_from(seed % 9).unwrap();
        let odd = request(command, u64::MAX - seed * 1000, u32::MAX);
        answer(&socket, &[&hello()[..], &odd, &noise].concat());
    }
    let talk = |request: &[u8]| answer(&socket, &[&hello()[..], request].concat());
    for (request, errno) in [
        (request(0, 4 * MIB, 1), 22),
        (request(0, u64::MAX, 1), 22),
        (request(0, 0, u32::MAX), 22),
        (request(7, 0, 512), 22),
        (request(4, 0, 512), 1),
        (request(6, 0, u32::MAX), 1),
        (request(5, 0, 512), 22),
        (request(99, 0, 512), 22),
        ([request(1, 0, 5), b"bytes".to_vec()].concat(), 1),
        (request(0, 0, 0), 0),
        (request(3, 0, 0), 0),
    ] {
        assert_eq!(last_error(&talk(&request)), errno, "{request:?}");
    }
    // After a write that was refused, the next request is understood.
    let both = [request(1, 0, 5), b"bytes".to_vec(), request(0, 9, 100)].concat();
    let found = talk(&both);
    let content = fs::read(&source).unwrap();
    assert_eq!(found[found.len() - 100..], content[9..109]);
    // An option as long as all memory, and endless queries.
    let long = [
        &3_u32.to_be_bytes()[..],
        b"IHAVEOPT",
        &[0, 0, 0, 1],
        &[255; 4],
    ]
    .concat();
    answer(&socket, &long);
    let mut queries = vec![0; 4];
    queries.extend([255; 4]);
    queries.extend(vec![0; 60_000]);
    let asked = [option(8, &[]), option(9, &queries), option(10, &queries)].concat();
    answer(&socket, &[&3_u32.to_be_bytes()[..], &asked].concat());

    // All others are still there, and still served.
    run(
        "nbdcopy",
        &[serving.uri(), klon.path("found").to_str().unwrap()],
    );
    assert!(fs::read(klon.path("found")).unwrap() == content);
    let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 200 << 10, "{peak}");
    // It ends although they don't.
    assert_eq!(serving.end("TERM").0, Some(0));
    drop((idle, deaf));
}
