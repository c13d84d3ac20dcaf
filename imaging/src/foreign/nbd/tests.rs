//! The client against servers that are right, that lie, and that leave.

use super::NbdDisk;
use super::negotiate::negotiate;
use super::wire::{BLOCK_STATUS, READ, Reply, ask};
use klon_partition::device::read_vec;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

/// What a server sends, whatever it is asked.
struct Said(Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut reply = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    for field in [option, kind, data.len() as u32] {
        reply.extend(field.to_be_bytes());
    }
    reply.extend(data);
    reply
}

fn greeting(size_bytes: u64) -> Vec<u8> {
    let mut info = vec![0, 0];
    info.extend(size_bytes.to_be_bytes());
    info.extend([0, 3]);
    let mut context = 9_u32.to_be_bytes().to_vec();
    context.extend(b"base:allocation");
    let parts = [
        b"NBDMAGICIHAVEOPT\0\x03".to_vec(),
        reply(8, 1, &[]),
        reply(10, 4, &context),
        reply(10, 1, &[]),
        reply(7, 3, &info),
        reply(7, 1, &[]),
    ];
    parts.concat()
}

fn chunk(flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut chunk = 0x668e_33ef_u32.to_be_bytes().to_vec();
    chunk.extend(flags.to_be_bytes());
    chunk.extend(kind.to_be_bytes());
    chunk.extend(0x6b6c_6f6e_u64.to_be_bytes());
    chunk.extend((payload.len() as u32).to_be_bytes());
    chunk.extend(payload);
    chunk
}

fn data(offset_bytes: u64, bytes: &[u8]) -> Vec<u8> {
    [&offset_bytes.to_be_bytes()[..], bytes].concat()
}

/// A disk whose server has said all that it will, and leaves.
fn disk(answers: &[u8]) -> NbdDisk {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let said = [&greeting(8192), answers].concat();
    thread::spawn(move || {
        theirs.write_all(&said).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = io::copy(&mut theirs, &mut io::sink());
    });
    NbdDisk::open(vec![ours]).unwrap()
}

#[test]
fn chunks_are_put_together() {
    let mut hole = 512_u64.to_be_bytes().to_vec();
    hole.extend(512_u32.to_be_bytes());
    let answers = [
        chunk(0, 2, &hole),
        chunk(1, 1, &data(0, &[7; 512])),
        chunk(
            1,
            5,
            &[0, 0, 0, 9, 0, 0, 16, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3],
        ),
    ];
    let disk = disk(&answers.concat());
    assert_eq!(disk.geometry().size_bytes, 8192);
    assert_eq!(
        read_vec(&disk, 0, 1024).unwrap(),
        [[7; 512], [0; 512]].concat()
    );
    let all = Extent::new(0, 8192).unwrap();
    assert_eq!(disk.data(all).unwrap(), ExtentMap::whole(4096));
    // The server has left.
    assert!(read_vec(&disk, 0, 512).is_err());
    assert!(read_vec(&disk, 0, 512).is_err());
}

#[test]
fn answers_that_lie_are_errors() {
    for answer in [
        chunk(1, 1, &data(512, &[7; 512])),
        chunk(1, 1, &data(u64::MAX, &[7; 512])),
        chunk(1, 1, &data(0, &[7; 511])),
        chunk(1, 1, &data(0, &[])),
        [
            chunk(0, 1, &data(0, &[7; 512])),
            chunk(1, 1, &data(0, &[7; 512])),
        ]
        .concat(),
        chunk(1, 0, &[]),
        chunk(1, 77, &[]),
        chunk(1, 5, &[0; 12]),
        chunk(1, 0x8001, &[0, 0, 0, 5, 0, 3, b'b', b'a', b'd']),
        chunk(1, 0x8001, &[]),
        vec![0; 64],
        Vec::new(),
    ] {
        let disk = disk(&answer);
        assert!(read_vec(&disk, 0, 512).is_err(), "{answer:02x?}");
    }
    let error = disk(&chunk(1, 0x8001, &[0, 0, 0, 5, 0, 3, b'b', b'a', b'\x1b']));
    let error = read_vec(&error, 0, 512).unwrap_err().to_string();
    assert!(error.contains("ba\\x1b"), "{error}");
}

#[test]
fn greetings_that_lie_are_errors() {
    let right = greeting(8192);
    let negotiated = |said: Vec<u8>| negotiate(&mut Said(Cursor::new(said)), "", None);
    let session = negotiated(right.clone()).unwrap();
    assert_eq!((session.size_bytes, session.allocation), (8192, Some(9)));
    for at in 0..right.len() {
        let mut damaged = right.clone();
        damaged[at] ^= 0x81;
        let _ = negotiated(damaged.clone());
        damaged.truncate(at);
        assert!(negotiated(damaged).is_err());
    }
}

#[test]
fn what_a_server_refuses_or_wants_is_told() {
    let negotiated = |parts: &[Vec<u8>]| {
        let start = [
            b"NBDMAGICIHAVEOPT\0\x03".to_vec(),
            reply(8, 0x8000_0001, &[]),
        ];
        let said = [start.concat(), parts.concat()].concat();
        negotiate(&mut Said(Cursor::new(said)), "vm", None)
    };
    for (kind, text) in [
        (0x8000_0006, "no export \"vm\""),
        (0x8000_0005, "encrypted"),
        (0x8000_0002, "does not let klon read it (no\\u{1b})"),
    ] {
        let error = negotiated(&[reply(7, kind, b"no\x1b")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains(text), "{error}");
    }
    let server = |name: &str| {
        let len = (name.len() as u32).to_be_bytes();
        reply(3, 2, &[&len[..], name.as_bytes()].concat())
    };
    let unknown = reply(7, 0x8000_0006, &[]);
    let listed = [
        unknown.clone(),
        server("a\x1b"),
        server(""),
        reply(3, 1, &[]),
    ];
    let error = negotiated(&listed).unwrap_err().to_string();
    assert!(
        error.ends_with(r#"no export "vm"; it has "a\u{1b}", """#),
        "{error}"
    );
    // A list that is cut, lies about a length, or has no end.
    let lie = reply(3, 2, &[0xff, 0xff, 0xff, 0xff, b'x']);
    for list in [
        &[server("a")][..],
        &[lie, reply(3, 1, &[])],
        &vec![server("b"); 1001],
    ] {
        let error = negotiated(&[std::slice::from_ref(&unknown), list].concat()).unwrap_err();
        assert!(error.to_string().ends_with("no export \"vm\""), "{error}");
    }
    let many = [&[unknown][..], &vec![server("b"); 20], &[reply(3, 1, &[])]].concat();
    let error = negotiated(&many).unwrap_err().to_string();
    assert_eq!(error.matches("\"b\"").count(), 10, "{error}");
    assert!(error.ends_with("and others"), "{error}");
    let export = [&[0, 0][..], &8192_u64.to_be_bytes(), &[1, 2]].concat();
    let sizes = |smallest: u32, largest: u32| {
        let sizes = [smallest, 4096, largest].map(u32::to_be_bytes).concat();
        let item = [&[0, 3][..], &sizes].concat();
        negotiated(&[reply(7, 3, &export), reply(7, 3, &item), reply(7, 1, &[])])
    };
    let session = sizes(4096, 70_000).unwrap();
    assert_eq!(
        (session.block_bytes, session.request_bytes_max),
        (4096, 69_632)
    );
    assert!(session.is_read_only && session.allows_several);
    assert_eq!((session.allocation, session.bitmap), (None, None));
    for (smallest, largest) in [(0, 4096), (3, 4096), (1 << 17, 1 << 20), (4096, 512)] {
        assert!(sizes(smallest, largest).is_err(), "{smallest} {largest}");
    }
}

#[test]
fn damaged_answers_never_panic() {
    let answer = [
        chunk(0, 1, &data(0, &[7; 64])),
        chunk(1, 5, &[0, 0, 0, 9, 0, 0, 16, 0, 0, 0, 0, 0]),
    ];
    let answer = answer.concat();
    let extent = Extent::new(0, 64).unwrap();
    for at in 0..answer.len() {
        for (command, value) in [(READ, 0xff), (BLOCK_STATUS, 0), (READ, 0x67)] {
            let mut damaged = answer.clone();
            damaged[at] = value;
            let mut server = Said(Cursor::new(damaged));
            let mut take = |_: Reply<'_>| Ok(());
            let _ = ask(&mut server, command, extent, &mut take);
        }
    }
}
