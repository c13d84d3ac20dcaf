//! A table whose writing was interrupted between its two copies.

use crate::support::image::{check_gpt, ext4, read_range, sparse};
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
