//! Partitions that hold more than the filesystem that they begin with are copied whole, with the reason.

use crate::support::image::{put, read_range, sparse};
use crate::support::tool::{run, run_with_input};
use crate::support::tree::{fill, noise};
use crate::support::{Klon, MIB};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

const PART_MIB: u64 = 20;

/// A disk of 60 MiB whose first partition, of this type, begins with an ext4 with data in its free
/// blocks, and whose second is of the other type.
fn disk(klon: &Klon, label: &str, types: [&str; 2]) {
    let (path, part) = (klon.path("disk"), klon.path("part"));
    volume(klon, &part);
    sparse(&path, 60 * MIB);
    let script = format!(
        "label: {label}\n2048,{sectors},{}\n{},{sectors},{}\n",
        types[0],
        2048 + 25 * 2048,
        types[1],
        sectors = PART_MIB * 2048,
    );
    run_with_input("sfdisk", &["-q", path.to_str().unwrap()], &script);
    put(&part, &path, MIB);
}

/// An ext4 whose last free blocks are not zero.
fn volume(klon: &Klon, path: &Path) {
    let tree = klon.path("tree");
    fill(&tree, 1, 1);
    sparse(path, PART_MIB * MIB);
    let tree_text = tree.to_str().unwrap();
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-d",
            tree_text,
            path.to_str().unwrap(),
        ],
    );
    fs::remove_dir_all(&tree).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&noise(3, 1 << 20), (PART_MIB - 3) * MIB)
        .unwrap();
}

/// Whether all of the first partition arrived; and what was said.
fn clone(klon: &Klon, options: &[&str]) -> (bool, String) {
    let arguments = [&["clone", "disk", "target"], options].concat();
    let outcome = klon.ok(&arguments);
    let part = |name| read_range(klon.path(name), MIB, PART_MIB * MIB);
    let is_whole = part("disk") == part("target");
    fs::remove_file(klon.path("target")).unwrap();
    fs::remove_dir_all(klon.records()).unwrap();
    (is_whole, outcome.stderr)
}

const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

#[test]
fn by_their_types() {
    let klon = Klon::new();
    for (label, kind, why) in [
        ("dos", "42", "a Windows dynamic disk"),
        ("dos", "a5", "a FreeBSD slice"),
        ("dos", "a6", "an OpenBSD slice"),
        ("dos", "a9", "a NetBSD slice"),
        ("dos", "bf", "a Solaris partition"),
        (
            "gpt",
            "AF9B60A0-1431-4F62-BC68-3311714A69AD",
            "a Windows dynamic disk",
        ),
        (
            "gpt",
            "516E7CB4-6ECF-11D6-8FF8-00022D09712B",
            "a FreeBSD disk label",
        ),
    ] {
        let other = if label == "gpt" { LINUX } else { "83" };
        disk(&klon, label, [kind, other]);
        let (is_whole, said) = clone(&klon, &["--outside", "none"]);
        assert!(is_whole, "{label} {kind}");
        assert!(said.contains(why), "{label} {kind}: {said}");
    }
    // Nothing keeps what is free in an ordinary one.
    for (label, kind) in [("dos", "83"), ("gpt", LINUX)] {
        disk(&klon, label, [kind, kind]);
        assert!(!clone(&klon, &[]).0, "{label}");
    }
}

#[test]
fn by_types_of_other_makers() {
    let klon = Klon::new();
    let set_type = |kind: &str| {
        let disk = klon.text("disk");
        run("sfdisk", &["-q", "--part-type", &disk, "1", kind]);
        clone(&klon, &["--outside", "none"])
    };
    disk(&klon, "dos", ["83", "83"]);
    for (kind, why) in [
        ("35", "OS/2"),
        ("63", "System V"),
        ("81", "Minix"),
        ("87", "volume set"),
        ("8b", "volume set"),
        ("9f", "BSDI"),
        ("a7", "NeXTSTEP"),
        ("be", "Solaris boot"),
        ("fb", "VMFS"),
    ] {
        let (is_whole, said) = set_type(kind);
        assert!(is_whole && said.contains(why), "{kind}: {said}");
    }
    disk(&klon, "gpt", [LINUX, LINUX]);
    for (kind, why) in [
        (
            "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D",
            "Windows Storage Spaces",
        ),
        ("516E7CB8-6ECF-11D6-8FF8-00022D09712B", "FreeBSD Vinum"),
        ("824CC7A0-36A8-11E3-890A-952519AD3F61", "OpenBSD"),
        ("85D5E45A-237C-11E1-B4B3-E89A8F7FC3A7", "MidnightBSD"),
        (
            "2DB519EC-B10F-11DC-B99B-0019D1879648",
            "encrypted disk of NetBSD",
        ),
        ("AA31E02A-400F-11DB-9590-000C2911D1B8", "VMFS"),
        ("52414944-0000-11AA-AA11-00306543ECAC", "Apple RAID"),
        ("53746F72-6167-11AA-AA11-00306543ECAC", "Core Storage"),
        ("3CB8E202-3B7E-47DD-8A3C-7FF2A13CFCEC", "ChromeOS root"),
    ] {
        let (is_whole, said) = set_type(kind);
        assert!(is_whole && said.contains(why), "{kind}: {said}");
    }
}

#[test]
fn by_the_partition_of_their_hash_tree() {
    let klon = Klon::new();
    for types in [
        [
            "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
            "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5",
        ],
        [
            "8484680C-9521-48C6-9C11-B0720656F69E",
            "77FF5F63-E7B6-4633-ACF4-1565B864C0E6",
        ],
        [
            "72EC70A6-CF74-40E6-BD49-4BDA08E8F224",
            "B6ED5582-440B-4209-B8DA-5FF7C419EA3D",
        ],
    ] {
        disk(&klon, "gpt", types);
        let (is_whole, said) = clone(&klon, &[]);
        assert!(is_whole && said.contains("dm-verity"), "{types:?}: {said}");
        // Of another architecture, or none at all.
        disk(
            &klon,
            "gpt",
            [types[0], "DF3300CE-D69F-4C92-978C-9BFB0F38D820"],
        );
        assert!(!clone(&klon, &[]).0, "{types:?}");
    }
}

#[test]
fn by_a_hash_tree_beside_or_behind_them() {
    let klon = Klon::new();
    disk(&klon, "gpt", [LINUX, LINUX]);
    let (part, tree) = (klon.text("part"), klon.text("hashes"));
    run("veritysetup", &["format", &part, &tree]);
    put(Path::new(&tree), &klon.path("disk"), 26 * MIB);
    let (is_whole, said) = clone(&klon, &[]);
    assert!(is_whole && said.contains("dm-verity"), "{said}");
    // One that covers 15 MiB of 20, at its end.
    let volume = klon.path("disk");
    fs::remove_file(&volume).unwrap();
    sparse(&volume, 15 * MIB);
    let text = klon.text("disk");
    run("mke2fs", &["-q", "-F", "-t", "ext4", &text]);
    let file = OpenOptions::new().write(true).open(&volume).unwrap();
    file.set_len((PART_MIB + 1) * MIB).unwrap();
    file.write_all_at(&noise(4, 4096), 12 * MIB).unwrap();
    let offset = format!("--hash-offset={}", 15 * MIB);
    run(
        "veritysetup",
        &["format", &offset, "--data-blocks=3840", &text, &text],
    );
    let (is_whole, said) = clone(&klon, &[]);
    assert!(
        is_whole && said.contains("a hash tree of dm-verity"),
        "{said}"
    );
}

/// Where partition 1 of a disk in a file begins.
fn first_start_bytes(klon: &Klon, name: &str) -> u64 {
    let text = run("sfdisk", &["--json", &klon.text(name)]);
    let table: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sectors = &table["partitiontable"]["partitions"][0]["start"];
    sectors.as_u64().unwrap() * 512
}

#[test]
fn each_by_itself_as_with_its_disk() {
    for (label, types) in [
        ("dos", ["42", "83"]),
        ("dos", ["a5", "83"]),
        ("gpt", ["AF9B60A0-1431-4F62-BC68-3311714A69AD", LINUX]),
        (
            "gpt",
            [
                "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
                "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5",
            ],
        ),
    ] {
        let klon = Klon::new();
        disk(&klon, label, types);
        let expected = read_range(klon.path("disk"), MIB, PART_MIB * MIB);
        let is_whole = |name: &str, at: u64| {
            assert!(
                read_range(klon.path(name), at, PART_MIB * MIB) == expected,
                "{types:?} {name}"
            );
        };
        klon.ok(&["clone", "disk:1", "alone"]);
        is_whole("alone", 0);
        klon.ok(&["verify", "alone", "disk:1"]);
        klon.ok(&["image", "disk:1", "part.klon"]);
        klon.ok(&["restore", "part.klon", "from-part"]);
        is_whole("from-part", 0);
        klon.ok(&["image", "disk", "disk.klon"]);
        klon.ok(&["restore", "disk.klon", "--partition", "1=from-disk"]);
        is_whole("from-disk", 0);
        sparse(&klon.path("drive"), 200 * MIB);
        let plan = ["plan", "--drive", "drive", "Disk=disk", "-o", "plan"];
        klon.ok(&plan);
        klon.ok(&["prepare", "plan"]);
        klon.ok(&["clone", "plan"]);
        is_whole("drive", first_start_bytes(&klon, "drive"));
    }
}

#[test]
fn a_boot_sector_with_code_and_no_partition_makes_a_disk_whole() {
    let klon = Klon::new();
    // Minix and BSD: code, perhaps a label of their own, and 55 AA.
    for (at, label) in [
        (0, b"".as_slice()),
        (512, b"\x57\x45\x56\x82"),
        (1040, b"\x7f\x13"),
    ] {
        let path = klon.path("disk");
        fs::write(&path, noise(5, 40 << 20)).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 66], 446).unwrap();
        file.write_all_at(&[0x55, 0xaa], 510).unwrap();
        file.write_all_at(label, at).unwrap();
        for choice in ["all", "edges", "none"] {
            klon.ok(&["clone", "disk", "target", "--outside", choice]);
            let [source, target] = ["disk", "target"].map(|name| fs::read(klon.path(name)));
            assert!(source.unwrap() == target.unwrap(), "{label:?} {choice}");
            fs::remove_file(klon.path("target")).unwrap();
            fs::remove_dir_all(klon.records()).unwrap();
        }
    }
}

/// BSD systems find their label by the hybrid entry.
#[test]
fn a_partition_that_a_hybrid_mbr_calls_a_bsd_slice() {
    for (byte, what) in [
        (0xa5, "a FreeBSD"),
        (0xa6, "an OpenBSD"),
        (0xa9, "a NetBSD"),
    ] {
        let klon = Klon::new();
        disk(&klon, "gpt", ["L", "L"]);
        let path = klon.path("disk");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut entry = [0; 16];
        entry[4] = byte;
        entry[8..12].copy_from_slice(&2048_u32.to_le_bytes());
        entry[12..].copy_from_slice(&((PART_MIB * 2048) as u32).to_le_bytes());
        file.write_all_at(&entry, 446 + 16).unwrap();
        let said = [&format!("a hybrid MBR calls it {what} slice")[..]];
        klon.ok(&["clone", "disk", "copy"]).says(&said);
        klon.ok(&["clone", "disk:1", "slice"]).says(&said);
        let bytes = |name: &str, at| read_range(klon.path(name), at, PART_MIB * MIB);
        assert!(bytes("disk", MIB) == bytes("copy", MIB));
        assert!(bytes("disk", MIB) == bytes("slice", 0));
    }
}

/// Windows believes the MBR of such a disk, and lays out what looks free there.
#[test]
fn a_partition_that_only_a_hybrid_mbr_lists() {
    let klon = Klon::new();
    disk(&klon, "gpt", ["L", "L"]);
    let file = OpenOptions::new()
        .write(true)
        .open(klon.path("disk"))
        .unwrap();
    let mut entry = [0; 16];
    entry[4] = 7;
    let start = (1 + PART_MIB - 4) * 2048;
    entry[8..12].copy_from_slice(&(start as u32).to_le_bytes());
    entry[12..].copy_from_slice(&8192_u32.to_le_bytes());
    file.write_all_at(&entry, 446 + 16).unwrap();
    let (is_whole, said) = clone(&klon, &[]);
    assert!(is_whole, "{said}");
    assert!(
        said.contains("a hybrid MBR lists another partition"),
        "{said}"
    );
}
