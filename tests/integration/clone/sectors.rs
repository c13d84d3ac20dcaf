//! Disks in files whose tables count in other sectors than the file is read in.

use crate::support::image::{ext4, fat, put, sparse};
use crate::support::tool::run_with_input;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, lacks_root, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn write_at(disk: &Path, offset_bytes: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

/// One entry of a record: type, first sector, number of sectors.
fn entry(kind: u8, start: u32, count: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..].copy_from_slice(&count.to_le_bytes());
    entry
}

/// A record with these entries at `offset_bytes` of the disk.
fn record(disk: &Path, offset_bytes: u64, entries: &[[u8; 16]]) {
    let mut bytes = [0; 512];
    bytes[440..444].copy_from_slice(&[1, 2, 3, 4]);
    for (index, entry) in entries.iter().enumerate() {
        bytes[446 + index * 16..][..16].copy_from_slice(entry);
    }
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    write_at(disk, offset_bytes, &bytes);
}

const OTHER: &str = "it counts in sectors of 4096 bytes";

/// An ext4 of 24 MiB at 1 MiB, and a FAT of 12 MiB at 28 MiB, in sectors of 4096 bytes.
fn two_volumes(klon: &Klon) {
    let disk = klon.path("disk");
    sparse(&disk, 64 * MIB);
    record(&disk, 0, &[entry(0x83, 256, 6144), entry(0x0c, 7168, 3072)]);
    ext4(&klon.path("one"), 24, 3);
    fat(&klon.path("two"), 12, 4096);
    put(&klon.path("one"), &disk, MIB);
    put(&klon.path("two"), &disk, 28 * MIB);
}

fn check(klon: &Klon, disk: &str, parts: [(u32, &str, &[&str]); 2]) {
    klon.ok(&["devices", disk]).shows(&[OTHER]);
    for (number, checker, options) in parts {
        let part = format!("{disk}.part{number}");
        klon.ok(&["clone", &format!("{disk}:{number}"), &part]);
        run(checker, &[options, &[&klon.text(&part)]].concat());
    }
}

#[test]
fn an_mbr_of_4096_byte_sectors_in_a_file_is_read_in_those() {
    let klon = Klon::new();
    two_volumes(&klon);
    let parts: [(u32, &str, &[&str]); 2] = [(1, "e2fsck", &["-fn"]), (2, "fsck.fat", &["-n"])];
    check(&klon, "disk", parts);
    let outcome = klon.ok(&["clone", "disk", "copy"]);
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    check(&klon, "copy", parts);
    klon.ok(&["image", "disk", "i.klon"]);
    klon.ok(&["restore", "i.klon", "restored"]);
    check(&klon, "restored", parts);
    klon.ok(&["restore", "i.klon:1", "one-restored"]);
    run("e2fsck", &["-fn", &klon.text("one-restored")]);
}

#[test]
fn logical_partitions_of_4096_byte_sectors_are_found() {
    let klon = Klon::new();
    let disk = klon.path("disk");
    sparse(&disk, 64 * MIB);
    // Extended from 1 MiB; logical ones at 2 MiB and 30 MiB.
    record(&disk, 0, &[entry(0x0f, 256, 16128)]);
    record(
        &disk,
        MIB,
        &[entry(0x83, 256, 6144), entry(0x05, 6912, 3328)],
    );
    record(&disk, 28 * MIB, &[entry(0x0c, 512, 3072)]);
    ext4(&klon.path("one"), 24, 3);
    fat(&klon.path("two"), 12, 4096);
    put(&klon.path("one"), &disk, 2 * MIB);
    put(&klon.path("two"), &disk, 30 * MIB);
    let parts: [(u32, &str, &[&str]); 2] = [(5, "e2fsck", &["-fn"]), (6, "fsck.fat", &["-n"])];
    check(&klon, "disk", parts);
    klon.ok(&["clone", "disk", "copy"]);
    check(&klon, "copy", parts);
}

#[test]
fn where_both_sizes_find_filesystems_all_is_copied() {
    let klon = Klon::new();
    let disk = klon.path("disk");
    sparse(&disk, 32 * MIB);
    // 512 KiB at 128 KiB, or 4 MiB at 1 MiB.
    record(&disk, 0, &[entry(0x83, 256, 1024)]);
    ext4(&klon.path("large"), 4, 0);
    put(&klon.path("large"), &disk, MIB);
    sparse(&klon.path("small"), MIB / 2);
    run("mke2fs", &["-q", "-F", &klon.text("small")]);
    put(&klon.path("small"), &disk, MIB / 8);
    write_at(&disk, 20 * MIB, &noise(3, 5000));
    let said = [
        "can't be relied on",
        "sectors of 512 bytes",
        "of 4096 bytes",
    ];
    klon.ok(&["clone", "disk", "copy"]).says(&said);
    assert!(fs::read(disk).unwrap() == fs::read(klon.path("copy")).unwrap());
}

#[test]
fn without_a_filesystem_the_sectors_of_the_file_count() {
    let klon = Klon::new();
    let disk = klon.path("disk");
    sparse(&disk, 32 * MIB);
    record(&disk, 0, &[entry(0x83, 256, 1024)]);
    write_at(&disk, MIB / 8, &noise(4, MIB as usize / 2));
    write_at(&disk, 3 * MIB, &noise(5, MIB as usize));
    let outcome = klon.ok(&["clone", "disk", "copy"]);
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    assert!(fs::read(disk).unwrap() == fs::read(klon.path("copy")).unwrap());
    klon.ok(&["clone", "disk:1", "part"]);
    assert_eq!(fs::metadata(klon.path("part")).unwrap().len(), MIB / 2);
}

#[test]
fn what_was_made_from_a_device_of_4096_byte_sectors_goes_back_to_it() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("original"), 64 * MIB);
    let device = LoopDevice::new(&klon.path("original"), 4096);
    let script = "label: dos\n256,6144,83\n7168,3072,c\n";
    run_with_input("sfdisk", &["-q", "--no-reread", device.text()], script);
    run("blockdev", &["--flushbufs", device.text()]);
    ext4(&klon.path("one"), 24, 3);
    fat(&klon.path("two"), 12, 4096);
    put(&klon.path("one"), &klon.path("original"), MIB);
    put(&klon.path("two"), &klon.path("original"), 28 * MIB);
    run("blockdev", &["--flushbufs", device.text()]);
    let parts: [(u32, &str, &[&str]); 2] = [(1, "e2fsck", &["-fn"]), (2, "fsck.fat", &["-n"])];
    klon.ok(&["clone", device.text(), "backup"]);
    check(&klon, "backup", parts);
    // A file that was made of a device goes back to it when that is named.
    let (target, source) = (klon.text("original"), klon.text("backup"));
    let back = ["clone", "backup", device.text()];
    klon.refused(&back, &["this would overwrite"]);
    let wrong = ["--yes", "--confirm", &source];
    klon.refused(&[&back[..], &wrong].concat(), &["--confirm names"]);
    klon.ok(&[&back[..], &["--yes", "--confirm", &target]].concat());
    klon.ok(&["verify", device.text(), "backup"]);
    klon.ok(&["clone", "backup", "file"]);
    check(&klon, "file", parts);
    // To another of its kind, from the second copy, and to one of 512 bytes.
    sparse(&klon.path("other"), 64 * MIB);
    let other = LoopDevice::new(&klon.path("other"), 4096);
    klon.ok(&["clone", "file", other.text()]);
    assert!(run("sfdisk", &["-l", other.text()]).contains("Id Type"));
    check(&klon, "other", parts);
    sparse(&klon.path("narrow"), 64 * MIB);
    let narrow = LoopDevice::new(&klon.path("narrow"), 512);
    klon.ok(&["clone", "file", narrow.text()])
        .says(&["lays it out anew for sectors of 512"]);
    for (number, checker, options) in parts {
        let part = format!("narrow.part{number}");
        klon.ok(&["clone", &format!("narrow:{number}"), &part]);
        run(checker, &[options, &[&klon.text(&part)]].concat());
    }
}

#[test]
fn a_disk_of_512_byte_sectors_behind_a_device_of_4096_is_read_in_its_own() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let disk = klon.path("disk");
    sparse(&disk, 64 * MIB);
    let script = "label: dos\n2048,49152,83\n57344,24576,c\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    ext4(&klon.path("one"), 24, 3);
    fat(&klon.path("two"), 12, 512);
    put(&klon.path("one"), &disk, MIB);
    put(&klon.path("two"), &disk, 28 * MIB);
    let device = LoopDevice::new(&disk, 4096);
    let said = "it counts in sectors of 512 bytes, and the disk is read in sectors of 4096";
    klon.ok(&["devices", device.text()]).shows(&[said]);
    klon.ok(&["clone", device.text(), "copy"]);
    klon.ok(&["clone", "copy:1", "first"]);
    run("e2fsck", &["-fn", &klon.text("first")]);
    klon.ok(&["clone", "copy:2", "second"]);
    run("fsck.fat", &["-n", &klon.text("second")]);
}

#[test]
fn an_mbr_of_4096_byte_sectors_is_edited_by_prepare() {
    let klon = Klon::new();
    two_volumes(&klon);
    let disk = klon.path("disk");
    // Boot code, addresses and a flag of another system.
    write_at(&disk, 0, &noise(5, 440));
    write_at(&disk, 447, &[9, 8, 7]);
    write_at(&disk, 512, &noise(6, 3584));
    ext4(&klon.path("source"), 8, 1);
    klon.ok(&["plan", "--drive", "disk", "A=source", "-o", "plan"]);
    let before = fs::read(&disk).unwrap();
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &klon.text("disk")]);
    let after = fs::read(&disk).unwrap();
    let changed: Vec<usize> = (0..4096).filter(|&at| before[at] != after[at]).collect();
    assert!(!changed.is_empty());
    // The third entry and nothing else.
    assert!(
        changed.iter().all(|at| (478..494).contains(at)),
        "{changed:?}"
    );
    klon.ok(&["clone", "plan"]);
    klon.ok(&["clone", "disk:3", "back"]);
    run("e2fsck", &["-fn", &klon.text("back")]);
    run("e2fsck", &["-fn", &klon.text("one")]);
}

#[test]
fn boot_code_that_counts_in_other_sectors_is_not_said_to_boot() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("disk"), 40 * MIB);
    let script = "label: gpt\n2048,2048,21686148-6449-6E6F-744E-656564454649\n4096,49152,L\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    ext4(&klon.path("one"), 24, 3);
    put(&klon.path("one"), &klon.path("disk"), 2 * MIB);
    for (name, offset) in [("code", 0), ("rest", MIB)] {
        fs::write(klon.path(name), format!("the {name} of GRUB")).unwrap();
        put(&klon.path(name), &klon.path("disk"), offset);
    }
    sparse(&klon.path("drive"), 100 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    fs::remove_file(klon.path("disk")).unwrap();
    sparse(&klon.path("new"), 64 * MIB);
    for (sector_bytes, says) in [
        (512, "comes back, as it was"),
        (
            4096,
            "it counts in sectors of 512 bytes, and this disk has those of 4096",
        ),
    ] {
        let new = LoopDevice::new(&klon.path("new"), sector_bytes);
        let to = format!("Boot={}", new.text());
        klon.ok(&["restore", "plan", &to, "--dry-run"])
            .says(&[says]);
    }
}
