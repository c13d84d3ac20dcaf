//! The log of an empty journal is no part of a clone: what klon leaves there is shown to be safe by
//! mounts, power cuts and recoveries.

use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, Mount, lacks_root, run};
use klon_partition::ExtentMap;
use klon_partition::device::{MemoryDevice, ReadAt as _};
use klon_partition::filesystem::usage;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Feature sets whose journals lie and work differently.
const SETS: [&[&str]; 4] = [
    &["-b", "4096"],
    &["-b", "1024", "-O", "^extents,^64bit,^metadata_csum"],
    &["-b", "4096", "-O", "orphan_file,fast_commit"],
    &["-b", "4096", "-O", "bigalloc", "-C", "65536"],
];

/// As many transactions as steps; the same ones each time that they begin with the same volume.
const STEPS: &str = "for i in $(seq $1); do echo $i >f$i; sync -f .; done";

fn make(klon: &Klon, options: &[&str]) {
    let source = klon.text("source");
    run("truncate", &["-s", "96M", &source]);
    // The kernel would write tables of inodes some time.
    let quiet = ["-q", "-F", "-E", "lazy_itable_init=0"];
    run("mkfs.ext4", &[&quiet[..], options, &[&source]].concat());
    live(
        klon,
        "source",
        "noise=$(head -c 3M /dev/urandom | base64); echo $noise >large; for i in $(seq 30); do echo $i >f$i; sync -f .; done",
    );
}

/// Runs a script in a mounted volume.
fn live(klon: &Klon, name: &str, script: &str) {
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), "loop");
    step(mount.path(), script);
}

fn step(at: &Path, script: &str) {
    let script = format!("set -eu; cd \"$0\"; {script}");
    run("bash", &["-c", &script, at.to_str().unwrap()]);
}

/// The volume as it is when the power goes after a script.
fn cut(klon: &Klon, name: &str, script: &str) -> Vec<u8> {
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), "loop");
    step(mount.path(), script);
    fs::read(klon.path(name)).unwrap()
}

/// Where the log of an empty journal lies, and what else is in use.
fn log(bytes: &[u8]) -> (ExtentMap, ExtentMap) {
    let device = MemoryDevice::new(bytes.to_vec(), 512);
    let usage = usage(&device).unwrap();
    let log = usage.blank(&device);
    assert!(log.total_bytes() >= 3 * MIB, "{log:?}");
    assert!(log.end_bytes() <= device.geometry().size_bytes);
    let others = usage.extents.difference(&log);
    (log, others)
}

fn ranges(map: &ExtentMap) -> impl Iterator<Item = Range<usize>> {
    let at = |bytes: u64| usize::try_from(bytes).unwrap();
    map.iter()
        .map(move |extent| at(extent.offset_bytes())..at(extent.end_bytes()))
}

fn is_zero(bytes: &[u8], map: &ExtentMap) -> bool {
    ranges(map).all(|range| bytes[range].iter().all(|&byte| byte == 0))
}

/// The target is what the source is, but for the log, which is zero.
fn assert_without_log(klon: &Klon) {
    let [source, target] = ["source", "target"].map(|name| fs::read(klon.path(name)).unwrap());
    let (log, others) = log(&source);
    assert!(!is_zero(&source, &log), "nothing was ever logged");
    assert!(is_zero(&target, &log), "something is left in the log");
    assert!(ranges(&others).all(|range| source[range.clone()] == target[range]));
    run("e2fsck", &["-fn", &klon.text("target")]);
    klon.ok(&["verify", "target", "source"]);
}

fn clone(klon: &Klon) -> serde_json::Value {
    let clone = [
        "clone",
        "source",
        "target",
        "--yes",
        "--confirm",
        "target",
        "--json",
    ];
    klon.ok(&clone).last()["volumes"][0].take()
}

/// Mounts what a power cut left and checks it: how many files it has, and whether it is sound.
fn recovered(klon: &Klon, bytes: &[u8]) -> (Vec<String>, bool) {
    fs::write(klon.path("cut"), bytes).unwrap();
    let mount = Mount::new(klon.path("cut"), &klon.path("mnt"), "loop");
    let files = fs::read_dir(mount.path()).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    drop(mount);
    let check = crate::support::tool::output("e2fsck", &["-fn", &klon.text("cut")]);
    (names, check.status.success())
}

#[test]
fn the_log_of_an_empty_journal_is_zero_on_the_clone_and_not_read() {
    if lacks_root() {
        return;
    }
    for options in SETS {
        let klon = Klon::new();
        make(&klon, options);
        let source = fs::read(klon.path("source")).unwrap();
        fs::write(klon.path("target"), noise(7, source.len())).unwrap();
        let done = clone(&klon);
        let (log_map, others) = log(&source);
        let read_bytes = number(&done, "read_source_bytes");
        assert!(
            read_bytes <= others.total_bytes() + 4 * MIB,
            "{read_bytes} read of {} and a log of {}: {done:#}",
            others.total_bytes(),
            log_map.total_bytes()
        );
        assert_without_log(&klon);
        klon.ok(&["verify", "target"]);
        let again = clone(&klon);
        assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
        assert_eq!(number(&again, "written_bytes"), 0, "{again:#}");
        // In use, cut, recovered.
        let cut = cut(
            &klon,
            "target",
            "echo new >new; rm f7; sync -f .; echo late >late; sync -f .",
        );
        let (names, is_sound) = recovered(&klon, &cut);
        assert!(is_sound && names.contains(&"late".to_owned()), "{names:?}");
        assert!(!names.contains(&"f7".to_owned()), "{names:?}");
    }
}

/// A target that was mounted for some time is cloned to once more: its journal holds transactions with
/// right checksums and the very numbers that come next.
#[test]
fn what_a_clone_logged_before_is_not_replayed() {
    if lacks_root() {
        return;
    }
    let life = format!("set -- 12; {STEPS}; mkdir stale; sync -f .");
    let short = format!("set -- 3; {STEPS}");
    let is_replayed = |_| {
        let klon = Klon::new();
        make(&klon, SETS[0]);
        clone(&klon);
        live(&klon, "target", &life);
        let earlier = fs::read(klon.path("target")).unwrap();
        let (log_map, _) = log(&earlier);
        clone(&klon);
        assert_without_log(&klon);
        let fresh = fs::read(klon.path("target")).unwrap();
        let (names, is_sound) = recovered(&klon, &cut(&klon, "target", &short));
        assert!(
            is_sound && !names.contains(&"stale".to_owned()),
            "{names:?}"
        );
        // The same with what was in the log before.
        let mut left = fresh;
        for range in ranges(&log_map) {
            left[range.clone()].copy_from_slice(&earlier[range]);
        }
        fs::write(klon.path("target"), left).unwrap();
        run("e2fsck", &["-fn", &klon.text("target")]);
        let (names, is_sound) = recovered(&klon, &cut(&klon, "target", &short));
        !is_sound || names.contains(&"stale".to_owned())
    };
    let is_needed = (0..5).any(is_replayed);
    assert!(
        is_needed,
        "a log from before was never replayed, so the test shows nothing"
    );
}

#[test]
fn an_image_has_no_log_and_a_restore_leaves_none() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon, SETS[0]);
    let source = fs::read(klon.path("source")).unwrap();
    let (log_map, others) = log(&source);
    let done = klon.json(&["image", "source", "image.klon"]);
    let read_bytes = number(&done, "read_source_bytes");
    assert!(read_bytes <= others.total_bytes() + 4 * MIB, "{done:#}");
    fs::write(klon.path("target"), &source).unwrap();
    live(&klon, "target", &format!("set -- 20; {STEPS}"));
    let restore = [
        "restore",
        "image.klon",
        "target",
        "--yes",
        "--confirm",
        "target",
    ];
    klon.ok(&restore);
    assert_without_log(&klon);
    klon.ok(&["verify", "image.klon", "source"]);
    klon.ok(&["verify", "image.klon", "target"]);
    let target = fs::read(klon.path("target")).unwrap();
    assert!(is_zero(&target, &log_map));
}
