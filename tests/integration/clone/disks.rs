//! A whole disk to one file, and the partitions of a disk to those of another.

use crate::support::image::{allocated_bytes, boot_disk, check_gpt, read_range, sfdisk, sparse};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run};
use std::fs;

/// What of a table must survive a clone.
fn partitions(disk: &str) -> Vec<serde_json::Value> {
    let mut table = sfdisk(disk);
    let mut partitions = table["partitions"].take().as_array().unwrap().clone();
    for partition in &mut partitions {
        let node = partition["node"].as_str().unwrap().replace(disk, "");
        partition["node"] = node.into();
    }
    partitions
}

fn check_files(klon: &Klon, disk: &str) {
    let disk = klon.path(disk);
    for (name, offset, len) in [("esp", MIB, 33 * MIB), ("root", 36 * MIB, 160 * MIB)] {
        fs::write(klon.path(name), read_range(&disk, offset, len)).unwrap();
    }
    run("fsck.fat", &["-n", &klon.text("esp")]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    run("mtype", &["-i", &klon.text("esp"), "::/EFI/bootx64.efi"]);
}

#[test]
fn a_disk_is_cloned_with_its_table_to_a_file_of_its_size() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    let done = klon.json(&["clone", "disk", "target"]);
    assert_eq!(number(&done, "source_bytes"), 200 * MIB);
    check_gpt(&klon.text("target"));
    assert_eq!(
        partitions(&klon.text("disk")),
        partitions(&klon.text("target"))
    );
    check_files(&klon, "target");
    assert!(allocated_bytes(&klon.path("target")) < 60 * MIB);
    let again = klon.json(&["clone", "disk", "target"]);
    assert_eq!(number(&again, "written_bytes"), 0, "{again:#}");
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "disk"]);
    let devices = klon.json(&["devices", "target"]);
    assert_eq!(devices["clone_of"], format!("path:{}", klon.text("disk")));
    assert_eq!(devices["role"], "klon backup drive");
}

#[test]
fn the_backup_table_moves_to_the_end_of_a_larger_file() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("target"), 256 * MIB);
    klon.ok(&["clone", "disk", "target"]);
    check_gpt(&klon.text("target"));
    assert_eq!(
        partitions(&klon.text("disk")),
        partitions(&klon.text("target"))
    );
    assert_eq!(sfdisk(&klon.text("target"))["lastlba"], 256 * 2048 - 34);
    check_files(&klon, "target");
    let again = klon.json(&["clone", "disk", "target"]);
    assert_eq!(number(&again, "written_bytes"), 0, "{again:#}");
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "disk"]);
}

#[test]
fn a_partition_in_an_image_is_source_and_target_by_its_number() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["clone", "disk:3", "root"]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    fs::copy(klon.path("disk"), klon.path("other")).unwrap();
    let other = klon.text("other");
    klon.refused(
        &["clone", "root", "other:3"],
        &["the backup over its original"],
    );
    run("sgdisk", &["-G", &other]);
    let before = read_range(klon.path("other"), 0, 36 * MIB);
    let after = read_range(klon.path("other"), 196 * MIB, 4 * MIB);
    klon.ok(&["clone", "root", "other:3"]);
    assert!(read_range(klon.path("other"), 0, 36 * MIB) == before);
    assert!(read_range(klon.path("other"), 196 * MIB, 4 * MIB) == after);
    let missing = klon.run(&["clone", "disk:2", "x"]).expect(2);
    missing.says(&["no partition 2", "1, 3"]);
}
