//! Runs that shrink a filesystem and are killed at any moment: nothing half-written looks whole, and nothing stays
//! behind.

use super::shrink::{SIZE_MIB, btrfs, digest, ntfs, ntfs_tree, spread, tree};
use crate::support::overlay::{alone, assert_nothing_stays};
use crate::support::tool::command;
use crate::support::tree::Tree;
use crate::support::{Klon, MIB, Mount, image, lacks_root, run};
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

const CLONE: [&str; 6] = [
    "clone",
    "source",
    "target",
    "--shrink",
    "--scratch",
    "scratch",
];

/// How often klon is killed.
fn kills() -> u32 {
    std::env::var("KLON_KILLS").map_or(4, |text| text.parse().unwrap())
}

/// Shrinks `source` to a target of that size again and again, and kills klon in the midst of it; `check` must find the
/// target clean whenever it looks whole, and its files are those that `tree` reads of the source.
fn killed(klon: &Klon, size_mib: u64, check: &[&str], tree: &dyn Fn(&Klon, &str) -> Tree) {
    let whole = tree(klon, "source");
    let before = digest(&klon.path("source"));
    fs::create_dir(klon.path("scratch")).unwrap();
    image::sparse(&klon.path("target"), size_mib * MIB);
    let begin = Instant::now();
    klon.ok(&CLONE);
    let usual = begin.elapsed();
    let checked = || run(check[0], &[&check[1..], &[&*klon.text("target")]].concat());
    let mut whole_after_kill = 0;
    for kill in 0..kills() {
        fs::remove_file(klon.path("target")).unwrap();
        let _ = fs::remove_dir_all(klon.records());
        image::sparse(&klon.path("target"), size_mib * MIB);
        let mut child = klon
            .command(&CLONE)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(usual.mul_f64(f64::from(kill + 1) / f64::from(kills() + 1)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_nothing_stays();
        let left = fs::read_dir(klon.path("scratch")).unwrap().count();
        assert_eq!(left, 0, "a file stays");
        let mut blkid = command("blkid");
        let seen = blkid.args(["-p", &klon.text("target")]).output().unwrap();
        if seen.status.success() {
            whole_after_kill += 1;
            checked();
        }
        klon.ok(&[&CLONE[..], &["--yes", "--confirm", "target"]].concat());
        checked();
        tree(klon, "target").assert_same(&whole);
    }
    println!(
        "{} kills within {usual:?}; {whole_after_kill} targets looked whole, and were",
        kills()
    );
    assert!(
        digest(&klon.path("source")) == before,
        "the source was written to"
    );
}

#[test]
fn nothing_half_shrunk_looks_whole_of_ext4() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    image::sparse(&klon.path("source"), SIZE_MIB * MIB);
    let make = ["-q", "-F", "-t", "ext4", "-b", "4096"];
    run("mke2fs", &[&make[..], &[&klon.text("source")]].concat());
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    spread(mount.path());
    drop(mount);
    killed(&klon, SIZE_MIB / 2, &["e2fsck", "-fn"], &tree);
}

#[test]
fn nothing_half_shrunk_looks_whole_of_ntfs() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    ntfs(&klon);
    killed(&klon, SIZE_MIB / 2, &["ntfsfix", "-n"], &ntfs_tree);
}

#[test]
fn nothing_half_shrunk_looks_whole_of_btrfs() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    btrfs(&klon);
    killed(&klon, 600, &["btrfs", "check", "--check-data-csum"], &tree);
}

#[test]
fn nothing_half_copied_looks_whole_of_xfs() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    image::sparse(&klon.path("source"), 600 * MIB);
    run("mkfs.xfs", &["-q", &klon.text("source")]);
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    spread(mount.path());
    drop(mount);
    killed(&klon, 360, &["xfs_repair", "-n"], &tree);
}
