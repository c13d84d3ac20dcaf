//! Tables at their limits: writing that was interrupted between two copies, loaders under new entries,
//! later revisions.

use crate::support::image::{check_gpt, ext4, put, read_range, sparse};
use crate::support::tool::run_with_input;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// The backup is written first: an interruption leaves it as planned beside the primary of before.
#[test]
fn a_prepare_that_was_interrupted_between_the_copies_is_finished() {
    let klon = Klon::new();
    sparse(&klon.path("drive"), 64 * MIB);
    run("sgdisk", &["-n1:2048:+8M", &klon.text("drive")]);
    ext4(&klon.path("source"), 8, 2);
    klon.ok(&["plan", "--drive", "drive", "A=source", "-o", "plan.toml"]);
    let drive = klon.path("drive");
    let primary = read_range(&drive, 0, 34 * 512);
    let prepare = ["prepare", "plan.toml", "--yes", "--confirm"];
    let path = klon.text("drive");
    klon.ok(&[&prepare[..], &[&path]].concat());
    let done = fs::read(&drive).unwrap();
    let back = || {
        let file = OpenOptions::new().write(true).open(&drive).unwrap();
        file.write_all_at(&primary, 0).unwrap();
    };
    back();
    klon.refused(&["prepare", "plan.toml"], &["name different partitions"]);
    klon.ok(&[&prepare[..], &[&path]].concat());
    assert!(fs::read(&drive).unwrap() == done);
    check_gpt(&path);
    klon.ok(&["clone", "plan.toml"]);
    // A backup that isn't as planned is in the way.
    run("sgdisk", &["-n9:0:+1M", &path]);
    back();
    klon.refused(&["prepare", "plan.toml"], &["can't be relied on"]);
}

/// Loaders of boards lie right behind the first sector, where the entries of a GPT go.
#[test]
fn a_loader_that_a_new_table_goes_over_is_named() {
    let klon = Klon::new();
    sparse(&klon.path("drive"), 64 * MIB);
    let path = klon.text("drive");
    run_with_input("sfdisk", &["-q", &path], "label: dos\n2048,8192,83\n");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&noise(1, 8192), 1024).unwrap();
    ext4(&klon.path("source"), 8, 2);
    let plan = ["plan", "--drive", "drive", "A=source", "-o", "plan.toml"];
    let named = ["goes over 8 KiB", "from 1 KiB on", "a boot loader, perhaps"];
    let planned = klon.ok(&[&plan[..], &["--replace-table", "--json"]].concat());
    assert!(named.iter().all(|part| planned.stderr.contains(part)));
    let covered = &planned.last()["warnings"][0];
    assert_eq!(covered["covered_bytes"], 8192, "{covered}");
    assert_eq!(covered["first_bytes"], 1024, "{covered}");
    klon.ok(&["prepare", "plan.toml", "--dry-run"])
        .shows(&named);
    let places = serde_json::json!([[1024, 8192]]);
    let would = klon.json(&["prepare", "plan.toml", "--dry-run"]);
    assert_eq!(would["covered"], places);
    klon.refused(&["prepare", "plan.toml"], &named);
    let prepare = ["prepare", "plan.toml", "--yes", "--confirm", &path];
    assert_eq!(klon.json(&prepare)["covered"], places);
    check_gpt(&path);
}

/// The kernel looks at the checksum, not at the revision.
#[test]
fn a_gpt_of_a_later_revision_is_read() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 32 * MIB);
    let path = klon.text("disk");
    run("sgdisk", &["-n1:2048:+16M", &path]);
    ext4(&klon.path("volume"), 16, 2);
    put(&klon.path("volume"), &klon.path("disk"), MIB);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for at in [512, 32 * MIB - 512] {
        let mut header = read_range(&path, at, 92);
        header[8..12].copy_from_slice(&0x0002_0001_u32.to_le_bytes());
        header[16..20].fill(0);
        let sum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&header, at).unwrap();
    }
    let clone = klon.ok(&["clone", "disk", "copy", "--strict"]);
    assert!(!clone.stderr.contains("warning"), "{}", clone.stderr);
    let header = |name: &str| read_range(klon.path(name), 512, 92);
    assert!(header("disk") == header("copy"));
    klon.ok(&["clone", "disk:1", "part"]);
    run("e2fsck", &["-fn", &klon.text("part")]);
}
