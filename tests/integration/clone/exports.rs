//! Disks on servers of network block devices as sources: qemu-nbd, qemu-storage-daemon and nbdkit.

use crate::support::image::{boot_disk, ext4, put, read_range, sparse};
use crate::support::nbd_server::NbdServer;
use crate::support::{Klon, MIB, run};
use klon_imaging::foreign::{NbdDisk, NbdUri};
use klon_partition::{Extent, ExtentMap};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

pub(super) fn uri(klon: &Klon, export: &str) -> String {
    format!("nbd+unix:///{export}?socket={}", klon.text("socket"))
}

/// qemu-nbd with an export of this name, which several clients may read.
fn qemu_nbd(klon: &Klon, file: &str, export: &str) -> NbdServer {
    let (socket, file) = (klon.text("socket"), klon.text(file));
    let arguments = ["--read-only", "--persistent", "--shared=8", "--format=raw"];
    let arguments = [&arguments[..], &["-x", export, "-k", &socket, &file]];
    NbdServer::at_socket("qemu-nbd", &arguments.concat(), &klon.path("socket"))
}

/// qemu-storage-daemon with the qcow2 `image` as export `vm`, and what else is to be shown of it.
pub(super) fn storage_daemon(klon: &Klon, more: &str) -> NbdServer {
    let image = klon.text("image");
    let device =
        format!("driver=qcow2,node-name=d,read-only=on,file.driver=file,file.filename={image}");
    let server = format!("addr.type=unix,addr.path={}", klon.text("socket"));
    let export = format!("type=nbd,id=e,node-name=d,name=vm{more}");
    let arguments = [
        "--blockdev",
        &device,
        "--nbd-server",
        &server,
        "--export",
        &export,
    ];
    NbdServer::at_socket("qemu-storage-daemon", &arguments, &klon.path("socket"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn an_export_is_cloned_and_imaged_as_its_file_is() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["clone", "disk", "expected"]);
    let server = qemu_nbd(&klon, "disk", "a disk");
    let name = uri(&klon, "a%20disk");
    let first = klon.json(&["clone", &name, "copy"]);
    assert_eq!(first["rung"], "full", "{first}");
    run("cmp", &[&klon.text("expected"), &klon.text("copy")]);
    klon.ok(&["verify", "copy", &name]);
    // A partition of it.
    let part = format!("{name}#3");
    let map = |of: &str| klon.json(&["map", of]);
    assert_eq!(map(&part), map("disk:3"));
    klon.ok(&["clone", &part, "part"]);
    klon.ok(&["verify", "part", "disk:3"]);
    // Images know it again.
    klon.ok(&["image", &name, "i.klon"]);
    let again = klon.json(&["image", &name, "i.klon"]);
    assert_eq!(again["changed_bytes"], 0, "{again}");
    klon.ok(&["verify", "i.klon", "disk"]);
    klon.ok(&["diff", "i.klon", &name]);
    drop(server);
    // Changed between the runs.
    std::fs::write(klon.path("noise"), [0xa5; 4096]).unwrap();
    put(&klon.path("noise"), &klon.path("disk"), 100 * MIB);
    let _server = qemu_nbd(&klon, "disk", "a disk");
    let second = klon.json(&["clone", &name, "copy"]);
    assert!(
        second["changed_bytes"].as_u64().unwrap() <= 4096,
        "{second}"
    );
    klon.ok(&["verify", "copy", "disk"]);
}

#[test]
fn a_server_that_wants_whole_blocks_and_small_requests_gets_them() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 40, 9);
    klon.ok(&["clone", "volume", "expected"]);
    let port = free_port();
    let (port_text, file) = (port.to_string(), klon.text("volume"));
    let arguments = [
        "-f",
        "-p",
        &port_text,
        "-i",
        "127.0.0.1",
        "--filter=blocksize-policy",
        "file",
        &file,
        "blocksize-minimum=4096",
        "blocksize-maximum=65536",
        "blocksize-error-policy=error",
    ];
    let _server = NbdServer::at_port("nbdkit", &arguments, port);
    let name = format!("nbd://127.0.0.1:{port}");
    let outcome = klon.ok(&["clone", &name, "copy"]);
    outcome.says(&["the server lets others write to it"]);
    run("cmp", &[&klon.text("expected"), &klon.text("copy")]);
    klon.ok(&["verify", "copy", "volume"]);
}

#[test]
fn what_a_storage_daemon_shows_of_a_qcow2_is_read_without_its_holes() {
    let klon = Klon::new();
    // No filesystem: all of it is copied, and the server says what is zero.
    sparse(&klon.path("disk"), 512 * MIB);
    let noise = crate::support::tree::noise(7, 3_000_000);
    std::fs::write(klon.path("noise"), &noise).unwrap();
    put(&klon.path("noise"), &klon.path("disk"), 300 * MIB);
    let (disk, image) = (klon.text("disk"), klon.text("image"));
    run(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "qcow2", &disk, &image],
    );
    let _server = storage_daemon(&klon, "");
    let done = klon.json(&["clone", &uri(&klon, "vm"), "copy"]);
    run("cmp", &[&disk, &klon.text("copy")]);
    assert!(
        done["read_source_bytes"].as_u64().unwrap() < 5 * MIB,
        "{done}"
    );
}

#[test]
fn a_server_that_leaves_ends_the_clone_and_the_next_one_goes_on() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 64, 40);
    let (socket, file) = (klon.text("socket"), klon.text("volume"));
    let arguments = [
        "-f",
        "-r",
        "-U",
        &socket,
        "--filter=delay",
        "file",
        &file,
        "rdelay=60ms",
    ];
    let server = NbdServer::at_socket("nbdkit", &arguments, &klon.path("socket"));
    let name = uri(&klon, "");
    let mut command = klon.command(&["clone", &name, "copy"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun to write.
    let has_begun = || {
        read_range(klon.path("copy"), 0, 512)
            .iter()
            .any(|&byte| byte != 0)
    };
    while !klon.path("copy").exists() || !has_begun() {
        sleep(Duration::from_millis(10));
    }
    drop(server);
    let outcome = crate::support::Outcome::new(&["clone"], &child.wait_with_output().unwrap());
    let outcome = outcome.expect(4);
    let is_told = [
        "the server has left",
        "connection was lost",
        "Broken pipe",
        "reset by peer",
    ];
    assert!(
        is_told.iter().any(|text| outcome.stderr.contains(text)),
        "{}",
        outcome.stderr
    );
    klon.run(&["verify", "copy"]).expect(3);
    let _server = NbdServer::at_socket(
        "nbdkit",
        &arguments[..arguments.len() - 1],
        &klon.path("socket"),
    );
    klon.ok(&["clone", &name, "copy"]);
    klon.ok(&["verify", "copy", "volume"]);
}

#[test]
fn exports_are_sources_and_nothing_else() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 1);
    let _server = qemu_nbd(&klon, "volume", "here");
    let (here, gone) = (uri(&klon, "here"), uri(&klon, "gone"));
    klon.refused(
        &["clone", &gone, "copy"],
        &["the server has no export \"gone\"; it has \"here\""],
    );
    klon.refused(&["clone", "volume", &here], &["can't be a target"]);
    klon.refused(&["verify", &here], &["can't be a target"]);
    klon.refused(&["devices", &here], &["no device of this machine"]);
    klon.refused(
        &["clone", "--rescue", &here, "copy"],
        &["around bad sectors"],
    );
    let named = format!("A={here}");
    sparse(&klon.path("drive"), 64 * MIB);
    klon.refused(
        &["plan", "--drive", "drive", &named],
        &["can't be in a plan"],
    );
    klon.refused(&["clone", &format!("raw:{here}"), "copy"], &["is no file"]);
    klon.run(&["clone", "nbds://host/x", "copy"])
        .expect(2)
        .says(&["encrypted"]);
    klon.run(&["clone", "nbd://", "copy"])
        .expect(2)
        .says(&["names no host"]);
    klon.run(&["clone", &format!("{here}#x"), "copy"])
        .expect(2)
        .says(&["no partition"]);
    assert!(!klon.path("copy").exists());
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let klon = Klon::new();
    let port = free_port();
    let closed = format!("nbd://127.0.0.1:{port}/x");
    let place = format!("no server answers at 127.0.0.1, port {port}: Connection refused");
    let missing = uri(&klon, "x");
    std::fs::write(klon.path("file"), "").unwrap();
    let file = format!("nbd+unix:///x?socket={}", klon.text("file"));
    // RFC 6761: no such name is ever resolved.
    let nobody = "nbd://nobody.invalid/x";
    for (name, what) in [
        (closed.as_str(), place.as_str()),
        (&missing, "/socket: No such file or directory"),
        (&file, "/file: Connection refused"),
        (nobody, "no server answers at nobody.invalid, port 10809"),
    ] {
        for arguments in [
            &["clone", name, "copy"][..],
            &["image", name, "i.klon"],
            &["map", name],
        ] {
            let failed = klon.run(arguments).expect(4);
            let next = "Is the server running, and is its name right?";
            failed.says(&[name, what, next]);
            assert!(!failed.stderr.contains("os error"), "{}", failed.stderr);
        }
    }
    assert!(!klon.path("copy").exists() && !klon.path("i.klon").exists());
    // Another kind of server.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("nbd://{}/x", listener.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut client, b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n").unwrap();
    });
    let failed = klon.run(&["map", &other]).expect(4);
    failed.says(&[
        "no greeting of the newer style",
        "server of the NBD protocol?",
    ]);
    answer.join().unwrap();
}

#[test]
fn a_bitmap_of_qemu_tells_what_was_written_to() {
    let klon = Klon::new();
    let image = klon.text("image");
    run("qemu-img", &["create", "-q", "-f", "qcow2", &image, "64M"]);
    run("qemu-img", &["bitmap", "--add", &image, "since"]);
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -q -P 5 1M 64k", &image],
    );
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -q -P 6 40M 1000k", &image],
    );
    let _server = storage_daemon(&klon, ",bitmaps.0=since");
    let uri = NbdUri::parse(&uri(&klon, "vm")).unwrap().unwrap();
    let disk = NbdDisk::connect_with_bitmap(&uri, "since").unwrap();
    let all = Extent::new(0, 64 * MIB).unwrap();
    let expected = [(MIB, 65536), (40 * MIB, MIB)];
    let expected: ExtentMap = (expected.into_iter())
        .filter_map(|(start, len)| Extent::new(start, len))
        .collect();
    assert_eq!(disk.changed(all).unwrap(), Some(expected));
    let other = NbdDisk::connect_with_bitmap(&uri, "other");
    assert_eq!(other.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(NbdDisk::connect(&uri).unwrap().changed(all).unwrap(), None);
}
