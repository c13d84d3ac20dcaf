//! Clones that go by what someone else tells of changes: bitmaps of QEMU, and lists of ranges.

use super::exports::{storage_daemon, uri};
use crate::support::image::{put, read_range};
use crate::support::klon::number;
use crate::support::nbd_server::NbdServer;
use crate::support::{Klon, MIB, Outcome, run, tree};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

const FILES: u64 = 40;
const FILE_LEN: usize = 1_500_000;
const BLOCK: u64 = 64 << 10;

/// A volume with files, and where the content of one begins.
fn volume(klon: &Klon) -> u64 {
    let folder = klon.path("files");
    fs::create_dir(&folder).unwrap();
    for number in 0..FILES {
        fs::write(
            folder.join(number.to_string()),
            tree::noise(number, FILE_LEN),
        )
        .unwrap();
    }
    let (volume, folder) = (klon.text("volume"), klon.text("files"));
    let shape = ["-q", "-F", "-b", "4096", "-N", "128", "-J", "size=4"];
    run(
        "mkfs.ext4",
        &[&shape[..], &["-d", &folder, &volume, "256M"]].concat(),
    );
    let (bytes, wanted) = (fs::read(&volume).unwrap(), tree::noise(20, FILE_LEN));
    let index = bytes
        .chunks(4096)
        .position(|block| block == &wanted[..4096]);
    index.unwrap() as u64 * 4096
}

/// Writes into a file of the volume, past its filesystem, and adds a file.
fn change(klon: &Klon, at_bytes: u64, seed: u64) {
    fs::write(klon.path("noise"), tree::noise(seed, 8192)).unwrap();
    put(&klon.path("noise"), &klon.path("volume"), at_bytes);
    let add = format!("write {} new{seed}", klon.text("noise"));
    run("debugfs", &["-w", "-R", &add, &klon.text("volume")]);
}

/// Where two files differ, in blocks.
fn changed(klon: &Klon, before: &[u8]) -> Vec<(u64, u64)> {
    let now = fs::read(klon.path("volume")).unwrap();
    let len = BLOCK as usize;
    let pairs = before.chunks(len).zip(now.chunks(len)).enumerate();
    let differ = pairs.filter(|(_, (before, now))| before != now);
    differ
        .map(|(index, _)| (index as u64 * BLOCK, BLOCK))
        .collect()
}

/// Clones, and gives what the run says of the volume.
fn clone(klon: &Klon, source: &str, more: &[&str]) -> Value {
    let arguments = [&["clone", source, "copy"][..], more].concat();
    klon.json(&arguments)["volumes"][0].take()
}

fn assert_equal(klon: &Klon) {
    run("cmp", &[&klon.text("volume"), &klon.text("copy")]);
}

/// The run read what changed, and the copy is what the source is.
fn assert_tracked(klon: &Klon, done: &Value) {
    assert_eq!(done["rung"], "tracked", "{done:#}");
    assert!(number(done, "skipped_bytes") >= 40 * MIB, "{done:#}");
    assert!(number(done, "read_source_bytes") <= 16 * MIB, "{done:#}");
    assert_equal(klon);
}

/// The run read everything, for a reason that has these words, and the copy is what the source is.
fn assert_digest(klon: &Klon, done: &Value, words: &str) {
    assert_eq!(done["rung"], "digest", "{done:#}");
    assert!(done["reason"].as_str().unwrap().contains(words), "{done:#}");
    assert_eq!(number(done, "skipped_bytes"), 0, "{done:#}");
    assert_equal(klon);
}

/// The volume as a qcow2 image with a bitmap.
fn qcow2(klon: &Klon) {
    let (volume, image) = (klon.text("volume"), klon.text("image"));
    let kind = ["convert", "-f", "raw", "-O", "qcow2"];
    run("qemu-img", &[&kind[..], &[&volume, &image]].concat());
    bitmap(klon, "--add", "since");
}

fn bitmap(klon: &Klon, what: &str, name: &str) {
    run("qemu-img", &["bitmap", what, &klon.text("image"), name]);
}

/// Changes the volume, and the image by way of QEMU, as a virtual machine would.
fn change_both(klon: &Klon, at_bytes: u64, seed: u64) {
    let before = fs::read(klon.path("volume")).unwrap();
    change(klon, at_bytes, seed);
    let image = klon.text("image");
    let now = fs::read(klon.path("volume")).unwrap();
    for (at, len) in changed(klon, &before) {
        let part = &now[at as usize..][..len as usize];
        fs::write(klon.path("part"), part).unwrap();
        let write = format!("write -q -s {} {at} {len}", klon.text("part"));
        run("qemu-io", &["-f", "qcow2", "-c", &write, &image]);
    }
}

#[test]
fn a_bitmap_of_qemu_lets_a_clone_read_what_was_written() {
    let klon = Klon::new();
    let at_bytes = volume(&klon);
    qcow2(&klon);
    let name = uri(&klon, "vm");
    let by = ["--bitmap", "since"];
    let first = {
        let _server = storage_daemon(&klon, ",bitmaps.0=since");
        clone(&klon, &name, &by)
    };
    assert_eq!(first["rung"], "full", "{first:#}");
    for seed in [100, 101] {
        change_both(&klon, at_bytes + seed * 4096, seed);
        let _server = storage_daemon(&klon, ",bitmaps.0=since");
        let dry = [&["clone", &name, "copy", "--dry-run"][..], &by].concat();
        assert_eq!(klon.json(&dry)["rung"], "tracked");
        let done = clone(&klon, &name, &by);
        assert!(number(&done, "changed_bytes") >= 8192, "{done:#}");
        assert!(number(&done, "tracked_bytes") >= BLOCK, "{done:#}");
        assert_tracked(&klon, &done);
        // It is not begun anew, so it names the same again.
        let idle = clone(&klon, &name, &by);
        assert_tracked(&klon, &idle);
        assert_eq!(number(&idle, "changed_bytes"), 0, "{idle:#}");
    }
    klon.ok(&["verify", "copy", "volume"]);
    // A run that nobody told of the bitmap says nothing of it, as it may be younger.
    let server = storage_daemon(&klon, ",bitmaps.0=since");
    assert_digest(&klon, &clone(&klon, &name, &[]), "compared with the record");
    let done = clone(&klon, &name, &by);
    assert_digest(&klon, &done, "did not ask for the bitmap \"since\"");
    drop(server);
    // Another bitmap is believed from the run after the first on that saw it.
    bitmap(&klon, "--add", "next");
    change_both(&klon, at_bytes, 102);
    let _server = storage_daemon(&klon, ",bitmaps.0=since,bitmaps.1=next");
    let by = ["--bitmap", "next"];
    let done = clone(&klon, &name, &by);
    assert_digest(&klon, &done, "the last run found the bitmap \"since\"");
    assert_tracked(&klon, &clone(&klon, &name, &by));
}

#[test]
fn without_its_bitmap_everything_is_read_and_that_is_said() {
    let klon = Klon::new();
    let at_bytes = volume(&klon);
    qcow2(&klon);
    let name = uri(&klon, "vm");
    let by = ["--bitmap", "since"];
    {
        let _server = storage_daemon(&klon, ",bitmaps.0=since");
        clone(&klon, &name, &by);
    }
    change_both(&klon, at_bytes, 100);
    let _server = storage_daemon(&klon, "");
    let arguments = [&["clone", &name, "copy"][..], &by].concat();
    let said = klon.ok(&[&arguments[..], &["--dry-run"]].concat());
    said.says(&["shows no bitmap \"since\"", "neither this run nor the next"]);
    klon.refused(&[&arguments[..], &["--strict"]].concat(), &["no bitmap"]);
    let done = clone(&klon, &name, &by);
    assert_digest(&klon, &done, "the server shows no bitmap \"since\"");
    klon.run(&["clone", "volume", "copy", "--bitmap", "since"])
        .expect(2)
        .says(&["is no NBD export"]);
}

#[test]
fn what_is_written_meanwhile_is_found_in_the_bitmap() {
    let klon = Klon::new();
    volume(&klon);
    qcow2(&klon);
    let image = klon.text("image");
    let device = format!("driver=qcow2,node-name=d,file.driver=file,file.filename={image}");
    let address = format!("addr.type=unix,addr.path={}", klon.text("socket"));
    let arguments = [
        "--object",
        "throttle-group,id=t,x-bps-read=20000000",
        "--blockdev",
        &device,
        "--blockdev",
        "driver=throttle,node-name=slow,throttle-group=t,file=d",
        "--nbd-server",
        &address,
        "--export",
        "type=nbd,id=e,node-name=slow,name=vm,writable=on,bitmaps.0=since",
    ];
    let _server = NbdServer::at_socket("qemu-storage-daemon", &arguments, &klon.path("socket"));
    let name = uri(&klon, "vm");
    let mut command = klon.command(&["clone", &name, "copy", "--bitmap", "since"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let has_begun = || {
        let head = read_range(klon.path("copy"), 0, 512);
        head.iter().any(|&byte| byte != 0)
    };
    while !klon.path("copy").exists() || !has_begun() {
        sleep(Duration::from_millis(10));
    }
    let write = ["-f", "raw", "-c", "write -q 250M 64k", &name];
    run("qemu-io", &write);
    let outcome = Outcome::new(&["clone"], &child.wait_with_output().unwrap());
    outcome
        .expect(3)
        .says(&["the bitmap \"since\" of its server is not what it was"]);
}

/// A list of ranges as JSON.
fn list(klon: &Klon, ranges: &[(u64, u64)], since: Option<&str>) {
    let listed = serde_json::to_value(ranges).unwrap();
    let text = match since {
        Some(run) => serde_json::json!({"since": run, "changed": listed}),
        None => listed,
    };
    fs::write(klon.path("list"), text.to_string()).unwrap();
}

/// The same as `thin_delta` prints it.
fn list_thin(klon: &Klon, ranges: &[(u64, u64)]) {
    let blocks = ranges.iter().map(|(at, len)| {
        let (begin, length) = (at / BLOCK, len / BLOCK);
        format!("<different begin=\"{begin}\" length=\"{length}\"/>")
    });
    let text = format!(
        "<superblock uuid=\"\" time=\"1\" transaction=\"2\" data_block_size=\"128\" \
         nr_data_blocks=\"0\"><diff left=\"1\" right=\"2\">{}</diff></superblock>",
        blocks.collect::<String>()
    );
    fs::write(klon.path("list"), text).unwrap();
}

#[test]
fn a_list_that_begins_with_the_last_run_is_believed() {
    let klon = Klon::new();
    let at_bytes = volume(&klon);
    let first = clone(&klon, "volume", &[]);
    let mut before = fs::read(klon.path("volume")).unwrap();
    let mut last = first["run"].as_str().unwrap().to_owned();
    for (seed, form) in (100..).zip(["since", "option", "thin_delta", "word"]) {
        change(&klon, at_bytes + seed * 4096, seed);
        let ranges = changed(&klon, &before);
        let more = match form {
            "since" => {
                list(&klon, &ranges, Some(&last));
                vec![]
            }
            "option" => {
                list(&klon, &ranges, None);
                vec!["--changed-since", &last]
            }
            "thin_delta" => {
                list_thin(&klon, &ranges);
                vec!["--changed-since", &last]
            }
            _ => {
                list_thin(&klon, &ranges);
                vec!["--changed-since", "record"]
            }
        };
        let done = clone(
            &klon,
            "volume",
            &[&["--changed", "list"][..], &more].concat(),
        );
        assert!(number(&done, "changed_bytes") >= 8192, "{form}: {done:#}");
        assert_tracked(&klon, &done);
        last = done["run"].as_str().unwrap().to_owned();
        before = fs::read(klon.path("volume")).unwrap();
    }
    // The files are known all the same to a run that goes by their metadata.
    let idle = clone(&klon, "volume", &["--assume-clean-since-record"]);
    assert_eq!(idle["rung"], "metadata", "{idle:#}");
    assert!(number(&idle, "skipped_bytes") >= 40 * MIB, "{idle:#}");
    assert_equal(&klon);
    // One that does not say with which run it begins, and one that begins with another.
    let first = first["run"].as_str().unwrap();
    for (since, words) in [(None, "does not say"), (Some(first), "begins with run")] {
        change(&klon, at_bytes, 110);
        list(&klon, &changed(&klon, &before), since);
        let done = clone(&klon, "volume", &["--changed", "list"]);
        assert_digest(&klon, &done, words);
        let remedy = done["remedy"].as_str().unwrap();
        assert!(remedy.contains("--changed-since"), "{done:#}");
        before = fs::read(klon.path("volume")).unwrap();
    }
}

#[test]
fn a_list_that_lies_is_caught_by_the_audit() {
    let klon = Klon::new();
    let at_bytes = volume(&klon);
    clone(&klon, "volume", &[]);
    let before = fs::read(klon.path("volume")).unwrap();
    change(&klon, at_bytes + 8 * 4096, 100);
    let mut ranges = changed(&klon, &before);
    let count = ranges.len();
    ranges.retain(|&(at, _)| at / BLOCK != (at_bytes + 8 * 4096) / BLOCK);
    assert!(ranges.len() < count);
    list(&klon, &ranges, None);
    let by = ["--changed", "list", "--changed-since", "record"];
    let caught = clone(&klon, "volume", &[&by[..], &["--audit", "100%"]].concat());
    assert_digest(&klon, &caught, "the list of changed ranges does not name");
    assert_eq!(caught["audit"], "failed", "{caught:#}");
    assert_eq!(caught["audit_files"][0]["path"], "/20", "{caught:#}");
    // The next run reads everything, and the one after it goes by a list again.
    list(&klon, &[], None);
    let next = clone(&klon, "volume", &by);
    assert_digest(&klon, &next, "the audit of the last run found a change");
    assert_tracked(&klon, &clone(&klon, "volume", &by));
    let full = clone(&klon, "volume", &[&by[..], &["--full-every", "1"]].concat());
    assert_digest(&klon, &full, "every run is to read everything");
}

#[test]
fn a_list_that_makes_no_sense_is_no_list() {
    let klon = Klon::new();
    crate::support::image::ext4(&klon.path("volume"), 24, 1);
    let by = ["clone", "volume", "copy", "--changed", "list"];
    let wrong = |text: &str, words: &str| {
        fs::write(klon.path("list"), text).unwrap();
        klon.run(&by).expect(2).says(&[words]);
    };
    wrong("[[0, 99999999999]]", "goes beyond the source");
    wrong("not a list", "the list of changed ranges can't be used");
    const RUN: &str = "5f0c1f6e-94a3-4c55-8a4e-0f7c1d3f7e10";
    let text = format!("{{\"since\": \"{RUN}\", \"changed\": []}}");
    fs::write(klon.path("list"), text).unwrap();
    klon.run(&[&by[..], &["--changed-since", "record"]].concat())
        .expect(2)
        .says(&["not what --changed-since says"]);
    klon.run(&["clone", "plan", "--changed", "list"])
        .expect(2)
        .says(&["one source and one target"]);
    assert!(!klon.path("copy").exists());
}
