//! Boot sectors that say where their partition begins.

use crate::support::image::{read_range, sparse};
use crate::support::{Klon, MIB, run};
use klon_partition::bytes::{le16, le32, le64};
use std::fs;

/// The partition of the second disk.
const TWO: &str = "partuuid:00000002-01";

/// Disks with one partition each, that of the second at another place.
fn disks(klon: &Klon) {
    for (name, start, id) in [("one", 2048, 1), ("two", 10240, 2), ("copy", 2048, 3)] {
        let disk = klon.text(name);
        sparse(&klon.path(name), 120 * MIB);
        let layout = format!(
            "printf 'label: dos\\nlabel-id: 0x{id}\\n{start},204800,7\\n' | sfdisk -q \"{disk}\""
        );
        run("sh", &["-c", &layout]);
    }
}

/// A volume that says 2048, into the first disk.
fn volume(klon: &Klon, program: &str, options: &[&str]) {
    let volume = klon.text("volume");
    sparse(&klon.path("volume"), 100 * MIB);
    run(program, &[options, &[&volume]].concat());
    crate::support::image::put(&klon.path("volume"), &klon.path("one"), MIB);
}

fn bring(klon: &Klon, options: &[&str]) -> String {
    let confirm = ["--yes", "--confirm", TWO, "--in-place"];
    let arguments = [&["clone", "one:1", "two:1"], &confirm[..], options].concat();
    let outcome = klon.run(&arguments);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    outcome.stderr
}

/// Bytes of the volume on the second disk.
fn field(klon: &Klon, at: u64, len: u64) -> Vec<u8> {
    read_range(klon.path("two"), 5 * MIB + at, len)
}

#[test]
fn ntfs_and_its_backup_are_made_to_fit() {
    let klon = Klon::new();
    disks(&klon);
    let geometry = ["-q", "-F", "-p", "2048", "-H", "16", "-S", "63"];
    volume(&klon, "mkfs.ntfs", &geometry);
    assert_eq!(le32(&read_range(klon.path("one"), MIB, 512), 0x1c), 2048);
    let told = bring(&klon, &[]);
    assert!(
        told.contains("sector 2048") && told.contains("10240"),
        "{told}"
    );
    assert_eq!(le32(&field(&klon, 0, 512), 0x1c), 2048);
    let told = bring(&klon, &["--fix-boot-fields"]);
    assert!(!told.contains("--fix-boot-fields"), "{told}");
    let boot = field(&klon, 0, 512);
    assert_eq!(le32(&boot, 0x1c), 10240);
    let backup = field(&klon, le64(&boot, 0x28) * 512, 512);
    assert_eq!(backup, boot);
    // Nothing else is another.
    let (one, mut two) = (
        read_range(klon.path("one"), MIB, 8192),
        field(&klon, 0, 8192),
    );
    two[0x1c..0x20].copy_from_slice(&one[0x1c..0x20]);
    assert!(one == two);
    run(
        "ntfsfix",
        &["-n", &{
            fs::write(klon.path("cut"), field(&klon, 0, 100 * MIB)).unwrap();
            klon.text("cut")
        }],
    );
    klon.ok(&["verify", "two:1"]);
}

#[test]
fn fat32_and_its_backup_are_made_to_fit() {
    let klon = Klon::new();
    disks(&klon);
    volume(&klon, "mkfs.fat", &["-F", "32", "-h", "2048"]);
    assert!(bring(&klon, &[]).contains("--fix-boot-fields"));
    bring(&klon, &["--fix-boot-fields"]);
    let boot = field(&klon, 0, 512);
    assert_eq!(le32(&boot, 0x1c), 10240);
    let backup = u64::from(le16(&boot, 0x32)) * 512;
    assert_eq!(field(&klon, backup, 512), boot);
    fs::write(klon.path("cut"), field(&klon, 0, 100 * MIB)).unwrap();
    run("fsck.fat", &["-n", &klon.text("cut")]);
}

#[test]
fn exfat_and_its_checksums_are_made_to_fit() {
    let klon = Klon::new();
    disks(&klon);
    volume(&klon, "mkfs.exfat", &[]);
    // What mkfs.exfat can't know of a file.
    let region = |at: u64| read_range(klon.path("one"), MIB + at, 12 * 512);
    let checksum = |region: &[u8]| {
        let covered = region[..11 * 512].iter().enumerate();
        covered
            .filter(|(at, _)| ![106, 107, 112].contains(at))
            .fold(0_u32, |sum, (_, &byte)| {
                sum.rotate_right(1).wrapping_add(byte.into())
            })
    };
    for at in [0, 12 * 512] {
        let mut bytes = region(at);
        bytes[64..72].copy_from_slice(&2048_u64.to_le_bytes());
        let sum = checksum(&bytes).to_le_bytes();
        bytes[11 * 512..]
            .chunks_exact_mut(4)
            .for_each(|field| field.copy_from_slice(&sum));
        fs::write(klon.path("region"), bytes).unwrap();
        crate::support::image::put(&klon.path("region"), &klon.path("one"), MIB + at);
    }
    assert!(bring(&klon, &[]).contains("--fix-boot-fields"));
    bring(&klon, &["--fix-boot-fields"]);
    for at in [0, 12 * 512] {
        let bytes = field(&klon, at, 12 * 512);
        assert_eq!(le64(&bytes, 64), 10240);
        assert_eq!(le32(&bytes, 11 * 512), checksum(&bytes));
    }
    fs::write(klon.path("cut"), field(&klon, 0, 100 * MIB)).unwrap();
    run("fsck.exfat", &["-n", &klon.text("cut")]);
}

#[test]
fn a_restored_partition_is_warned_of_and_mended_and_others_are_left_alone() {
    let klon = Klon::new();
    disks(&klon);
    volume(
        &klon,
        "mkfs.ntfs",
        &["-q", "-F", "-p", "2048", "-H", "16", "-S", "63"],
    );
    klon.ok(&["image", "one", "a.klon"]);
    let restore = ["restore", "a.klon", "--partition", "1=two:1", "--in-place"];
    let confirm = ["--yes", "--confirm", TWO];
    let done = klon.ok(&[&restore[..], &confirm].concat());
    done.says(&["sector 2048", "--fix-boot-fields"]);
    klon.ok(&[&restore[..], &confirm, &["--fix-boot-fields"]].concat());
    assert_eq!(le32(&field(&klon, 0, 512), 0x1c), 10240);
    // To its own place, as a disk, as a file, and of a volume that says nothing: no word.
    for arguments in [
        &["restore", "a.klon", "disk"][..],
        &["restore", "a.klon:1", "file"],
        &[
            "clone",
            "one:1",
            "copy:1",
            "--yes",
            "--confirm",
            "partuuid:00000003-01",
        ],
    ] {
        let done = klon.ok(arguments);
        assert!(
            !done.stderr.contains("--fix-boot-fields"),
            "{}",
            done.stderr
        );
    }
    volume(&klon, "mkfs.fat", &["-F", "16", "-h", "0"]);
    assert!(!bring(&klon, &[]).contains("--fix-boot-fields"));
}
