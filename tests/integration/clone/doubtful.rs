//! Disks whose tables contradict themselves or the disk: copied whole, opened where a partition is
//! wholly there, overwritten by consent.

use crate::support::image::{ext4, flip, put, sparse};
use crate::support::tool::run_with_input;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a disk is made, and one of its partitions that is wholly there, if any is.
type Disk = (&'static str, fn(&Klon, &Path), Option<(u32, u64, u64)>);

const DISKS: [Disk; 11] = [
    ("gpt-cut", gpt_cut, Some((1, MIB, 16 * MIB))),
    ("mbr-cut", mbr_cut, Some((1, MIB, 16 * MIB))),
    ("overlap", overlap, Some((1, MIB, 16 * MIB))),
    ("loop", chain_loop, Some((5, 2 * MIB, 16 * MIB))),
    ("gpt-crc", gpt_checksums, None),
    ("gpt-revision", gpt_revision, None),
    ("protective", protective_only, None),
    ("gpt-start", other_start, Some((1, MIB, 16 * MIB))),
    ("gpt-extra", extra_partition, Some((1, MIB, 16 * MIB))),
    ("gpt-guid", other_disk, Some((1, MIB, 16 * MIB))),
    ("gpt-stale", stale_backup, Some((1, MIB, 16 * MIB))),
];

fn write_at(disk: &Path, offset_bytes: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

fn cut(disk: &Path, size_bytes: u64) {
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.set_len(size_bytes).unwrap();
}

fn text(disk: &Path) -> &str {
    disk.to_str().unwrap()
}

/// A filesystem of 16 MiB at `offset_bytes`, and noise far from it.
fn fill(klon: &Klon, disk: &Path, offset_bytes: u64) {
    ext4(&klon.path("volume"), 16, 2);
    put(&klon.path("volume"), disk, offset_bytes);
    write_at(disk, 25 * MIB + 4096, &noise(7, 300_000));
}

fn gpt_cut(klon: &Klon, disk: &Path) {
    sparse(disk, 64 * MIB);
    run("sgdisk", &["-n1:2048:+16M", "-n2:0:+40M", text(disk)]);
    cut(disk, 32 * MIB);
    fill(klon, disk, MIB);
}

fn mbr_cut(klon: &Klon, disk: &Path) {
    sparse(disk, 64 * MIB);
    let script = "label: dos\n2048,32768,83\n34816,,83\n";
    run_with_input("sfdisk", &["-q", text(disk)], script);
    cut(disk, 32 * MIB);
    fill(klon, disk, MIB);
}

/// The second partition is moved into the first.
fn overlap(klon: &Klon, disk: &Path) {
    sparse(disk, 32 * MIB);
    let script = "label: dos\n2048,32768,83\n36864,8192,83\n";
    run_with_input("sfdisk", &["-q", text(disk)], script);
    write_at(disk, 446 + 16 + 8, &20_480_u32.to_le_bytes());
    fill(klon, disk, MIB);
}

/// The second extended boot record links to the first.
fn chain_loop(klon: &Klon, disk: &Path) {
    sparse(disk, 32 * MIB);
    let script = "label: dos\n2048,61440,5\n4096,32768,83\n40960,8192,83\n";
    run_with_input("sfdisk", &["-q", text(disk)], script);
    let bytes = fs::read(disk).unwrap();
    let link = |at: usize| u32::from_le_bytes(bytes[at + 470..at + 474].try_into().unwrap());
    let second = MIB + u64::from(link(MIB as usize)) * 512;
    let mut entry = [0; 16];
    entry[4] = 5;
    entry[12..].copy_from_slice(&100_u32.to_le_bytes());
    write_at(disk, second + 462, &entry);
    fill(klon, disk, 2 * MIB);
}

fn gpt(klon: &Klon, disk: &Path) {
    sparse(disk, 32 * MIB);
    run("sgdisk", &["-n1:2048:+16M", text(disk)]);
    fill(klon, disk, MIB);
}

fn gpt_checksums(klon: &Klon, disk: &Path) {
    gpt(klon, disk);
    flip(disk, 512 + 16);
    flip(disk, 32 * MIB - 512 + 16);
}

fn gpt_revision(klon: &Klon, disk: &Path) {
    gpt(klon, disk);
    write_at(disk, 512 + 8, &[0, 0, 2, 0]);
    write_at(disk, 32 * MIB - 512 + 8, &[0, 0, 2, 0]);
}

fn protective_only(klon: &Klon, disk: &Path) {
    gpt(klon, disk);
    write_at(disk, 512, &[0; 512]);
    write_at(disk, 32 * MIB - 512, &[0; 512]);
}

/// A GPT of one partition whose backup is that of the table that `options` make, all of its checksums
/// right.
fn two_copies(klon: &Klon, disk: &Path, options: &[&str]) {
    sparse(disk, 32 * MIB);
    run("sgdisk", &[options, &[text(disk)]].concat());
    let backup = fs::read(disk).unwrap().split_off(BACKUP as usize);
    fs::remove_file(disk).unwrap();
    gpt(klon, disk);
    run("sgdisk", &["--disk-guid", DISK_GUID, text(disk)]);
    run("sgdisk", &["--partition-guid", PARTITION_GUID, text(disk)]);
    write_at(disk, BACKUP, &backup);
}

/// Where the backup of a GPT on 32 MiB begins.
const BACKUP: u64 = 32 * MIB - 33 * 512;
const DISK_GUID: &str = "5f2a3d1c-0b1e-4c57-9f0a-3a1f0d2b6c01";
const PARTITION_GUID: &str = "1:5f2a3d1c-0b1e-4c57-9f0a-3a1f0d2b6c02";

/// The backup has the partition 4 MiB further on.
fn other_start(klon: &Klon, disk: &Path) {
    let options = ["-n1:10240:+16M", "-u", PARTITION_GUID, "-U", DISK_GUID];
    two_copies(klon, disk, &options);
}

/// The backup has a partition where the primary has room.
fn extra_partition(klon: &Klon, disk: &Path) {
    let one = ["-n1:2048:+16M", "-u", PARTITION_GUID, "-U", DISK_GUID];
    two_copies(klon, disk, &[&one[..], &["-n2:0:+8M"]].concat());
}

/// The backup is that of another disk with the same partition.
fn other_disk(klon: &Klon, disk: &Path) {
    let options = ["-n1:2048:+16M", "-u", PARTITION_GUID];
    two_copies(klon, disk, &options);
}

/// The primary is damaged, and the backup is left over from another layout.
fn stale_backup(klon: &Klon, disk: &Path) {
    extra_partition(klon, disk);
    write_at(disk, 512 + 24 + 5, &[0xa5]);
}

const DOUBT: &str = "partition table can't be relied on";
const SHORT: &str = "partition table that can't be relied on";

fn each(check: impl Fn(&Klon, &str, Option<(u32, u64, u64)>)) {
    for (name, make, partition) in DISKS {
        println!("-- {name}");
        let klon = Klon::new();
        make(&klon, &klon.path("disk"));
        check(&klon, name, partition);
    }
}

fn same(klon: &Klon, one: &str, other: &str) -> bool {
    fs::read(klon.path(one)).unwrap() == fs::read(klon.path(other)).unwrap()
}

#[test]
fn all_of_the_disk_is_copied_with_a_warning() {
    each(|klon, name, _| {
        klon.refused(&["clone", "disk", "strict", "--strict"], &[DOUBT]);
        klon.ok(&["clone", "disk", "copy"])
            .says(&[DOUBT, "copies all of it"]);
        assert!(same(klon, "disk", "copy"), "{name}");
        klon.ok(&["verify", "copy"]);
        klon.ok(&["verify", "copy", "disk"]);
        klon.ok(&["clone", "disk", "copy"]);
        klon.ok(&["image", "disk", "i.klon"]).says(&[DOUBT]);
        klon.ok(&["info", "i.klon"]).shows(&[DOUBT]);
        klon.ok(&["restore", "i.klon", "restored"]);
        assert!(same(klon, "disk", "restored"), "{name}");
        klon.ok(&["devices", "disk"]).shows(&[DOUBT]);
        klon.ok(&["map", "disk"]).shows(&["32 MiB of 32 MiB used"]);
    });
}

#[test]
fn what_a_rescue_made_can_be_used() {
    each(|klon, name, _| {
        klon.ok(&["clone", "--rescue", "disk", "rescued"]);
        assert!(same(klon, "disk", "rescued"), "{name}");
        klon.ok(&["verify", "rescued"]);
        klon.ok(&["clone", "rescued", "again"]);
        assert!(same(klon, "disk", "again"), "{name}");
        klon.ok(&["image", "--rescue", "disk", "i.klon"]);
        klon.ok(&["verify", "i.klon"]);
        klon.ok(&["restore", "i.klon", "restored"]);
        assert!(same(klon, "disk", "restored"), "{name}");
    });
}

#[test]
fn partitions_that_are_wholly_there_open() {
    each(|klon, name, partition| {
        let Some((number, start_bytes, len_bytes)) = partition else {
            let outcome = klon.run(&["clone", "disk:1", "part"]).expect(2);
            return outcome.says(&["its partition table can't be read"]);
        };
        let part = format!("disk:{number}");
        klon.ok(&["clone", &part, "part"]);
        run("e2fsck", &["-fn", &klon.text("part")]);
        assert_eq!(fs::metadata(klon.path("part")).unwrap().len(), len_bytes);
        klon.ok(&["map", &part]).shows(&["ext4"]);
        klon.ok(&["image", &part, "part.klon"]);
        klon.ok(&["image", "disk", "i.klon"]);
        klon.ok(&["restore", &format!("i.klon:{number}"), "restored"]);
        run("e2fsck", &["-fn", &klon.text("restored")]);
        let bytes = fs::read(klon.path("disk")).unwrap();
        let superblock = start_bytes as usize + 1024;
        let copied = fs::read(klon.path("part")).unwrap();
        assert!(
            bytes[superblock..superblock + 1024] == copied[1024..2048],
            "{name}"
        );
        let reasons = ["can't be relied on", "partition 9 is not among those"];
        klon.refused(&["clone", "disk:9", "x"], &reasons);
    });
}

#[test]
fn as_a_target_it_is_unknown_content_that_consent_covers() {
    each(|klon, name, partition| {
        ext4(&klon.path("source"), 24, 3);
        let before = fs::read(klon.path("disk")).unwrap();
        klon.refused(&["clone", "source", "disk"], &[SHORT, "unknown content"]);
        klon.ok(&["image", "source", "i.klon"]);
        klon.refused(&["restore", "i.klon", "disk"], &[SHORT]);
        assert!(fs::read(klon.path("disk")).unwrap() == before, "{name}");
        fs::copy(klon.path("disk"), klon.path("other")).unwrap();
        // What such a table calls a partition makes no disk an original.
        if let Some((number, ..)) = partition {
            klon.ok(&["clone", &format!("disk:{number}"), "part"]);
        }
        for (command, source, target) in
            [("clone", "source", "disk"), ("restore", "i.klon", "other")]
        {
            let identity = klon.json(&["devices", target])["identity"].clone();
            let consent = ["--yes", "--confirm", identity.as_str().unwrap()];
            klon.ok(&[&[command, source, target][..], &consent].concat());
            klon.ok(&["verify", target, "source"]);
            cut(&klon.path(target), 24 * MIB);
            run("e2fsck", &["-fn", &klon.text(target)]);
        }
    });
}

#[test]
fn a_drive_that_bears_one_is_planned_when_its_table_may_be_replaced() {
    each(|klon, _, _| {
        ext4(&klon.path("source"), 8, 1);
        let plan = ["plan", "--drive", "disk", "Old=source", "-o", "plan"];
        klon.refused(&plan, &[DOUBT, "--replace-table"]);
        klon.ok(&[&plan[..], &["--replace-table"]].concat());
        let identity = klon.json(&["devices", "disk"])["identity"].clone();
        let identity = identity.as_str().unwrap();
        klon.ok(&["prepare", "plan", "--yes", "--confirm", identity]);
        crate::support::image::check_gpt(&klon.text("disk"));
        klon.ok(&["clone", "plan"]);
        klon.ok(&["clone", "disk:1", "back"]);
        run("e2fsck", &["-fn", &klon.text("back")]);
    });
}

#[test]
fn a_partition_that_overlaps_another_is_no_target() {
    let klon = Klon::new();
    overlap(&klon, &klon.path("disk"));
    sparse(&klon.path("source"), 4 * MIB);
    let before = fs::read(klon.path("disk")).unwrap();
    for part in ["disk:1", "disk:2"] {
        let reasons = ["it overlaps", "Nothing was written"];
        klon.refused(&["clone", "source", part, "--yes"], &reasons);
    }
    assert!(fs::read(klon.path("disk")).unwrap() == before);
}

#[test]
fn a_partition_that_the_other_copy_has_elsewhere_is_no_target() {
    let klon = Klon::new();
    other_start(&klon, &klon.path("disk"));
    sparse(&klon.path("source"), 4 * MIB);
    let before = fs::read(klon.path("disk")).unwrap();
    let reasons = ["it overlaps partition 1", "Nothing was written"];
    klon.refused(&["clone", "source", "disk:1", "--yes"], &reasons);
    assert!(fs::read(klon.path("disk")).unwrap() == before);
}

#[test]
fn copies_that_differ_in_names_only_leave_the_map() {
    let klon = Klon::new();
    let named = ["-n1:2048:+16M", "-c1:Other", "-u", PARTITION_GUID];
    let disk = klon.path("disk");
    two_copies(&klon, &disk, &[&named[..], &["-U", DISK_GUID]].concat());
    let name = "partition 1 is called \"\" in the primary, and \"Other\" in the backup";
    let differs = "the backup GPT differs from the primary, which counts";
    klon.ok(&["devices", "disk"]).shows(&[differs, name]);
    let strict = ["clone", "disk", "copy", "--strict"];
    klon.refused(&strict, &[differs, name]);
    let done = klon.ok(&["clone", "disk", "copy"]);
    done.says(&[differs, name]);
    assert!(!done.stderr.contains("damaged"), "{}", done.stderr);
    let map = klon.json(&["map", "disk"]);
    assert!(map["used_bytes"].as_u64().unwrap() < 16 * MIB, "{map}");
}

#[test]
fn a_disk_is_no_source_of_a_plan_when_its_table_is_in_doubt() {
    each(|klon, _, _| {
        sparse(&klon.path("drive"), 100 * MIB);
        let plan = ["plan", "--drive", "drive", "Old=disk", "-o", "plan"];
        klon.refused(&plan, &[DOUBT, "klon clone disk TARGET"]);
    });
}

#[test]
fn a_gpt_with_one_damaged_copy_is_named() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 32 * MIB);
    run("sgdisk", &["-n", "1:2048:+8M", &klon.text("disk")]);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(klon.path("disk"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 4], 512 + 60).unwrap();
    klon.ok(&["clone", "disk", "target"])
        .says(&["the primary GPT is damaged"]);
    klon.refused(
        &["clone", "disk", "other", "--strict"],
        &["the primary GPT is damaged"],
    );
}
