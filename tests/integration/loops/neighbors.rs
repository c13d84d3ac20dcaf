//! Files that differ are named, and not those that only share a block with them.

use crate::support::image::sparse;
use crate::support::{Klon, MIB, Mount, lacks_root, run, tree};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// A volume made by `mkfs` with small files, of which these are changed in place between the two
/// snapshots; which files are named, on both sides.
fn named(size_mib: u64, mkfs: &[&str], file_len: usize, changed: &[usize]) -> Vec<String> {
    let klon = Klon::new();
    sparse(&klon.path("volume"), size_mib * MIB);
    let volume = klon.text("volume");
    run(mkfs[0], &[&mkfs[1..], &[&volume]].concat());
    let mount = || {
        let at = klon.path("mnt");
        Mount::new(&volume, &at, "loop")
    };
    {
        let mount = mount();
        for index in 0..24 {
            let name = mount.path().join(format!("file{index:02}"));
            fs::write(name, tree::noise(index, file_len)).unwrap();
        }
    }
    klon.ok(&["image", "volume", "v.klon"]);
    fs::copy(klon.path("volume"), klon.path("before")).unwrap();
    {
        let mount = mount();
        for index in changed {
            let name = mount.path().join(format!("file{index:02}"));
            let file = OpenOptions::new().write(true).open(name).unwrap();
            file.write_all_at(b"other", 40).unwrap();
        }
    }
    klon.ok(&["image", "volume", "v.klon"]);
    let found = klon
        .run(&["diff", "v.klon@1", "v.klon@2", "--json"])
        .expect(1)
        .last();
    let paths = |side: &str| -> Vec<String> {
        let files = found[side]["files"].as_array().unwrap().iter();
        let mut paths: Vec<String> = files
            .map(|file| file["path"].as_str().unwrap().to_owned())
            .filter(|path| path.starts_with("/file"))
            .collect();
        paths.sort();
        paths
    };
    let (first, second) = (paths("first_files"), paths("second_files"));
    // Btrfs writes what changes elsewhere, and may keep what was there.
    let is_kept = mkfs[0] == "mkfs.btrfs" && first.is_empty();
    assert!(is_kept || first == second, "{mkfs:?}: {first:?}");
    // The same of a clone against its source.
    let said = klon
        .run(&["verify", "before", "volume", "--json"])
        .expect(1)
        .last();
    let files = said["files"].as_array().unwrap().iter();
    let mut verified: Vec<String> = files
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .filter(|path| path.starts_with("/file"))
        .collect();
    verified.sort();
    assert_eq!(verified, second, "{mkfs:?}");
    second
}

fn expected(changed: &[usize]) -> Vec<String> {
    changed
        .iter()
        .map(|index| format!("/file{index:02}"))
        .collect()
}

#[test]
fn ext4_with_blocks_of_1_kib() {
    if lacks_root() {
        return;
    }
    let mkfs = ["mkfs.ext4", "-q", "-F", "-b", "1024"];
    assert_eq!(named(24, &mkfs, 900, &[3, 12]), expected(&[3, 12]));
}

#[test]
fn ext2_with_blocks_of_1_kib_and_files_of_several() {
    if lacks_root() {
        return;
    }
    let mkfs = ["mkfs.ext2", "-q", "-F", "-b", "1024"];
    assert_eq!(named(24, &mkfs, 2500, &[7]), expected(&[7]));
}

#[test]
fn xfs_with_blocks_of_1_kib() {
    if lacks_root() {
        return;
    }
    let mkfs = ["mkfs.xfs", "-q", "-f", "-b", "size=1024"];
    assert_eq!(named(320, &mkfs, 1000, &[0, 23]), expected(&[0, 23]));
}

#[test]
fn files_inside_of_btrfs_tree_blocks() {
    if lacks_root() {
        return;
    }
    let mkfs = ["mkfs.btrfs", "-q", "-f"];
    assert_eq!(named(128, &mkfs, 300, &[5, 6]), expected(&[5, 6]));
}

#[test]
fn files_inside_of_small_btrfs_tree_blocks() {
    if lacks_root() {
        return;
    }
    let mkfs = ["mkfs.btrfs", "-q", "-f", "-n", "4096", "-m", "dup"];
    assert_eq!(named(128, &mkfs, 120, &[17]), expected(&[17]));
}

#[test]
fn files_beside_those_that_btrfs_keeps_outside() {
    if lacks_root() {
        return;
    }
    let mkfs = ["mkfs.btrfs", "-q", "-f"];
    assert_eq!(named(128, &mkfs, 9000, &[9]), expected(&[9]));
}

/// Clusters of 512 bytes.
#[test]
fn fat_with_small_clusters() {
    let klon = Klon::new();
    sparse(&klon.path("volume"), 8 * MIB);
    let volume = klon.text("volume");
    run("mkfs.fat", &["-F", "16", "-s", "1", &volume]);
    for index in 0..12 {
        let name = format!("file{index}");
        fs::write(klon.path(&name), tree::noise(index, 500)).unwrap();
        run("mcopy", &["-i", &volume, &klon.text(&name), "::/"]);
    }
    klon.ok(&["image", "volume", "v.klon"]);
    let mut bytes = fs::read(klon.path("volume")).unwrap();
    let content = tree::noise(4, 500);
    let at = bytes.windows(500).position(|window| window == content);
    bytes[at.unwrap() + 499] ^= 1;
    fs::write(klon.path("volume"), bytes).unwrap();
    klon.ok(&["image", "volume", "v.klon"]);
    let found = klon
        .run(&["diff", "v.klon@1", "v.klon@2", "--json"])
        .expect(1)
        .last();
    let files = found["second_files"]["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0]["path"].as_str().unwrap().to_lowercase(), "/file4");
    assert_eq!(files[0]["file_offset_bytes"], 499);
}
