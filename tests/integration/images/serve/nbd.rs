//! `klon serve`, as other programs' clients see it.

use super::made::{restore, take};
use super::running::Running;
use crate::support::image::{boot_disk, ext4, flip, read_range, sparse};
use crate::support::{Klon, MIB, run, tool, tree};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A file of noise, holes and zeroes, taken twice, with one chunk changed between.
fn two_snapshots(klon: &Klon) -> String {
    let source = klon.path("source");
    sparse(&source, 9 * MIB + 1536);
    let file = OpenOptions::new().write(true).open(&source).unwrap();
    file.write_all_at(&tree::noise(1, 2 << 20), MIB).unwrap();
    file.write_all_at(&vec![0; 1 << 20], 5 * MIB).unwrap();
    file.write_all_at(&tree::noise(2, 4000), 9 * MIB - 3000)
        .unwrap();
    let image = klon.path("source.klon");
    assert_eq!(take(klon, &source, &image), 1);
    file.write_all_at(b"changed", 2 * MIB + 7).unwrap();
    assert_eq!(take(klon, &source, &image), 2);
    klon.text("source.klon")
}

/// nbdinfo's map of an export: offset, length, flags.
fn map(uri: &str, context: &str) -> Vec<(u64, u64, u64)> {
    let option = format!("--map={context}");
    let text = run("nbdinfo", &["--json", &option, uri]);
    let value: Value = serde_json::from_str(&text).unwrap();
    let number = |entry: &Value, key: &str| entry[key].as_u64().unwrap();
    let entries = value.as_array().unwrap().iter();
    entries
        .map(|entry| {
            let offset = number(entry, "offset");
            (offset, number(entry, "length"), number(entry, "type"))
        })
        .collect()
}

#[test]
fn other_clients_read_what_was_imaged() {
    let klon = Klon::new();
    let image = two_snapshots(&klon);
    let serving = Running::start(&klon, &["serve", &image, "--listen", "127.0.0.1:0"]);
    assert_eq!(serving.said["event"], "listening");
    assert_eq!(serving.said["snapshot"], 2);
    let uri = serving.uri();
    run(
        "qemu-img",
        &[
            "compare",
            "-f",
            "raw",
            "-F",
            "raw",
            uri,
            &klon.text("source"),
        ],
    );
    for (export, number) in [("", 2), ("/1", 1), ("/2", 2)] {
        let uri = format!("{uri}{export}");
        let (found, expected) = (klon.path("found"), klon.path("expected"));
        restore(Path::new(&image), number, &expected);
        run("nbdcopy", &[&uri, found.to_str().unwrap()]);
        assert!(fs::read(&found).unwrap() == fs::read(&expected).unwrap());
        // Without structured replies, as older clients do.
        let simple = ["--request-size=4194304", "--no-extents", "--connections=1"];
        run(
            "nbdcopy",
            &[&simple[..], &[&uri, found.to_str().unwrap()]].concat(),
        );
        assert!(fs::read(&found).unwrap() == fs::read(&expected).unwrap());
    }
    let info: Value = serde_json::from_str(&run("nbdinfo", &["--json", uri])).unwrap();
    let export = &info["exports"][0];
    for (key, value) in [
        ("is_read_only", true),
        ("can_multi_conn", true),
        ("can_df", true),
    ] {
        assert_eq!(export[key], value, "{key} in {info:#}");
    }
    assert_eq!(export["export-size"], 9 * MIB + 1536);
    let (code, rest) = serving.end("INT");
    assert_eq!((code, rest.as_str()), (Some(0), ""));
}

#[test]
fn clients_learn_where_data_is_and_what_changed() {
    let klon = Klon::new();
    let image = two_snapshots(&klon);
    let socket = klon.text("socket");
    let serving = Running::start(&klon, &["serve", &image, "--socket", &socket]);
    let uri = serving.uri();
    let mut at = 0;
    for (offset, len, flags) in map(uri, "base:allocation") {
        assert_eq!(offset, at);
        at += len;
        let is_zero = read_range(klon.path("source"), offset, len)
            .iter()
            .all(|&byte| byte == 0);
        assert_eq!(flags, if is_zero { 3 } else { 0 }, "{offset}");
    }
    assert_eq!(at, 9 * MIB + 1536);
    let changed = [
        (0, 2 * MIB, 0),
        (2 * MIB, MIB, 1),
        (3 * MIB, 6 * MIB + 1536, 0),
    ];
    assert_eq!(map(uri, "klon:changed-since:1"), changed);
    let first = uri.replace("///?", "///1?");
    assert_eq!(map(&first, "klon:changed-since:2"), changed);
    // qemu shows a context in the place of the allocation; its data is what has no flags.
    let path = format!("driver=nbd,path={socket},x-dirty-bitmap=klon:changed-since:1");
    let text = run("qemu-img", &["map", "--output=json", "--image-opts", &path]);
    let mapped: Value = serde_json::from_str(&text).unwrap();
    let is_data: Vec<&Value> = (mapped.as_array().unwrap().iter())
        .map(|entry| &entry["data"])
        .collect();
    assert_eq!(is_data, [true, false, true], "{text}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(serving.end("TERM").0, Some(0));
    assert!(!Path::new(&socket).exists());
}

#[test]
fn partitions_of_an_imaged_disk_are_exports() {
    let klon = Klon::new();
    let disk = klon.path("disk.img");
    boot_disk(&disk, 512);
    let image = klon.path("disk.klon");
    take(&klon, &disk, &image);
    let socket = klon.text("socket");
    let serving = Running::start(
        &klon,
        &["serve", image.to_str().unwrap(), "--socket", &socket],
    );
    let list = run("nbdinfo", &["--list", "--json", serving.uri()]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let names: Vec<&str> = (list["exports"].as_array().unwrap().iter())
        .map(|export| export["export-name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["", "1", "1/p1", "1/p3"]);
    let root = klon.text("root.img");
    let uri = serving.uri().replace("///?", "///1/p3?");
    run("nbdcopy", &[&uri, &root]);
    run("e2fsck", &["-fn", &root]);
    let esp = format!("nbd+unix:///1/p1?socket={socket}");
    let found = klon.text("esp.img");
    run("qemu-img", &["convert", "-O", "raw", &esp, &found]);
    run("fsck.fat", &["-n", &found]);
}

#[test]
fn a_damaged_chunk_costs_only_itself() {
    let klon = Klon::new();
    let image = two_snapshots(&klon);
    // Two mebibytes of noise are stored as they are; the payload of the first begins early.
    flip(Path::new(&image), 500_000);
    let serving = Running::start(&klon, &["serve", &image, "--listen", "127.0.0.1:0"]);
    let read = |offset: u64, len: u64| {
        let command = format!("read {offset} {len}");
        tool::output(
            "qemu-io",
            &["-r", "-f", "raw", "-c", &command, serving.uri()],
        )
    };
    let text = |offset, len| {
        let output = read(offset, len);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert!(text(MIB + 4096, 512).contains("Input/output error"));
    assert!(text(0, 3 * MIB).contains("Input/output error"));
    for (offset, len) in [(0, MIB), (2 * MIB, 7 * MIB)] {
        assert!(text(offset, len).contains(&format!("read {len}/{len} bytes")));
    }
    let write = ["-f", "raw", "-c", "write 0 512", serving.uri()];
    assert!(!tool::output("qemu-io", &write).status.success());
}

#[test]
fn what_would_let_others_in_or_take_their_place_is_refused() {
    let klon = Klon::new();
    let image = two_snapshots(&klon);
    let listen = |address| ["serve", &image, "--listen", address];
    klon.refused(&listen("0.0.0.0:0"), &["everyone", "--open-to-all"]);
    klon.run(&listen("nowhere")).expect(2);
    fs::write(klon.path("file"), "mine").unwrap();
    klon.refused(
        &["serve", &image, "--socket", &klon.text("file")],
        &["is not a socket"],
    );
    let socket = klon.text("socket");
    let serve = ["serve", &image, "--socket", &socket];
    let serving = Running::start(&klon, &serve);
    klon.refused(&serve, &["another program listens there"]);
    drop(serving);
    // What was left by a program that was killed is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    drop(Running::start(&klon, &serve));
    klon.run(&["serve", &format!("{image}@9")]).expect(2);
    ext4(&klon.path("volume"), 16, 1);
    klon.run(&["serve", &klon.text("volume")]).expect(5);
}
