//! Targets that are smaller than the source, where nothing has to shrink.

mod plans;

use crate::support::image::{check_gpt, ext4, put, read_range, sparse};
use crate::support::klon::number;
use crate::support::tool::run_with_input;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) fn write_at(disk: &Path, offset_bytes: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.write_all_at(bytes, offset_bytes).unwrap();
}

pub(super) fn resize(path: &Path, size_bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(size_bytes).unwrap();
}

fn size(klon: &Klon, name: &str) -> u64 {
    fs::metadata(klon.path(name)).unwrap().len()
}

/// A volume of `size_mib` whose filesystem, made by `make`, ends before, with files in it where the
/// tool can put some there.
struct Kind {
    name: &'static str,
    /// A shell command; `$0` is the file, which is as large as the volume.
    make: &'static str,
    check: &'static str,
    volume_mib: u64,
    target_mib: u64,
    /// A target on which the filesystem has no room, and the least that the message names.
    small_mib: u64,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "ext4",
        make: "mkfs.ext4 -q -F -d /etc/ssl \"$0\" 24M",
        check: "e2fsck -fn \"$0\"",
        volume_mib: 48,
        target_mib: 30,
        small_mib: 20,
    },
    Kind {
        name: "xfs",
        make: "mkfs.xfs -q -d size=300m \"$0\"",
        check: "xfs_repair -n \"$0\"",
        volume_mib: 400,
        target_mib: 310,
        small_mib: 200,
    },
    Kind {
        name: "btrfs",
        make: "mkfs.btrfs -q -b 120M \"$0\"",
        check: "btrfs check \"$0\"",
        volume_mib: 200,
        target_mib: 130,
        small_mib: 110,
    },
    Kind {
        name: "ntfs",
        make: "mkntfs -q -F -f -s 512 \"$0\" 49152",
        // ntfsfix looks for the backup boot sector at the end of the volume only, as of the source.
        check: "ntfsinfo -m \"$0\" && ntfscluster -i \"$0\"",
        volume_mib: 64,
        target_mib: 32,
        small_mib: 20,
    },
    Kind {
        name: "fat32",
        make: "mkfs.fat -F 32 \"$0\" 40960",
        check: "fsck.fat -n \"$0\"",
        volume_mib: 64,
        target_mib: 41,
        small_mib: 39,
    },
    Kind {
        name: "f2fs",
        make: "mkfs.f2fs -q \"$0\" 131072",
        check: "fsck.f2fs --dry-run \"$0\"",
        volume_mib: 100,
        target_mib: 70,
        small_mib: 60,
    },
];

fn shell(line: &str, path: &str) {
    run("sh", &["-ec", line, path]);
}

#[test]
fn a_volume_that_is_larger_than_its_filesystem_fits() {
    for kind in KINDS {
        println!("-- {}", kind.name);
        let klon = Klon::new();
        sparse(&klon.path("source"), kind.volume_mib * MIB);
        shell(kind.make, &klon.text("source"));
        sparse(&klon.path("target"), kind.target_mib * MIB);
        let first = klon.json(&["clone", "source", "target"]);
        assert_eq!(number(&first, "source_bytes"), kind.target_mib * MIB);
        assert_eq!(size(&klon, "target"), kind.target_mib * MIB);
        shell(kind.check, &klon.text("target"));
        klon.ok(&["verify", "target"]);
        klon.ok(&["verify", "target", "source"]);
        let again = klon.json(&["clone", "source", "target"]);
        assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
        // The same from an image.
        klon.ok(&["image", "source", "i.klon"]);
        sparse(&klon.path("restored"), kind.target_mib * MIB);
        klon.ok(&["restore", "i.klon", "restored"]);
        shell(kind.check, &klon.text("restored"));
        klon.ok(&["verify", "i.klon", "restored"]);
        // And around bad sectors, of which there are none.
        sparse(&klon.path("rescued"), kind.target_mib * MIB);
        klon.ok(&["clone", "--rescue", "source", "rescued"]);
        shell(kind.check, &klon.text("rescued"));
        // Never onto a target that ends before the filesystem does.
        sparse(&klon.path("small"), kind.small_mib * MIB);
        let reasons = [
            "is too small",
            "The target must have at least",
            "Nothing was written",
        ];
        for arguments in [["clone", "source", "small"], ["restore", "i.klon", "small"]] {
            klon.refused(&arguments, &reasons);
        }
        klon.refused(&["clone", "--rescue", "source", "small"], &reasons);
        let small = fs::read(klon.path("small")).unwrap();
        assert!(small.iter().all(|&byte| byte == 0), "{}", kind.name);
    }
}

#[test]
fn by_digest_only_what_changed_goes_to_a_smaller_target() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 3);
    resize(&klon.path("source"), 48 * MIB);
    sparse(&klon.path("target"), 30 * MIB);
    klon.ok(&["clone", "source", "target"]);
    let source = klon.text("source");
    run("debugfs", &["-w", "-R", "mkdir /new", &source]);
    let again = klon.json(&["clone", "source", "target"]);
    assert_eq!(again["rung"], "digest", "{again:#}");
    assert!(number(&again, "staged_bytes") > 0, "{again:#}");
    assert!(number(&again, "written_bytes") < MIB, "{again:#}");
    run("e2fsck", &["-fn", &klon.text("target")]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_filesystem_whose_journal_waits_has_no_end_to_go_by() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 3);
    resize(&klon.path("source"), 48 * MIB);
    // A resize that is still in the journal would make it larger.
    let set = "feature needs_recovery";
    run("debugfs", &["-w", "-R", set, &klon.text("source")]);
    sparse(&klon.path("target"), 30 * MIB);
    let reasons = ["copies all of it", "at least 48 MiB"];
    let clone = ["clone", "source", "target", "--replay", "never"];
    klon.refused(&clone, &reasons);
    // Nothing is in it, so the filesystem ends where it says.
    klon.ok(&["clone", "source", "target"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
    sparse(&klon.path("unknown"), 4 * MIB);
    write_at(&klon.path("unknown"), 4096, b"unknown");
    sparse(&klon.path("target"), 3 * MIB);
    klon.refused(&["clone", "unknown", "target"], &["at least 4 MiB"]);
}

#[test]
fn a_disk_with_an_mbr_fits_where_its_partitions_do() {
    for script in [
        "2048,8192,83\n",
        "2048,8192,83,*\n,30720,5\n12288,8192,83\n22528,8192,7\n",
        "4096,8192,83\n2048,1024,82\n16384,2048,c\n",
    ] {
        let klon = Klon::new();
        sparse(&klon.path("source"), 32 * MIB);
        let input = format!("label: dos\n{script}");
        run_with_input("sfdisk", &["-q", &klon.text("source")], &input);
        let content = crate::support::tree::noise(9, 3 << 20);
        write_at(&klon.path("source"), 2 * MIB, &content);
        sparse(&klon.path("target"), 21 * MIB);
        klon.ok(&["clone", "source", "target"]);
        let before = read_range(klon.path("source"), 0, 21 * MIB);
        assert!(before == fs::read(klon.path("target")).unwrap());
        run("sfdisk", &["--verify", &klon.text("target")]);
        klon.ok(&["verify", "target"]);
        klon.ok(&["verify", "target", "source"]);
        klon.ok(&["clone", "source", "target"]);
        klon.ok(&["image", "source", "i.klon"]);
        sparse(&klon.path("restored"), 21 * MIB);
        klon.ok(&["restore", "i.klon", "restored"]);
        assert!(before == fs::read(klon.path("restored")).unwrap());
        sparse(&klon.path("small"), 3 * MIB);
        let reasons = ["is too small", "its partition", "must have at least"];
        klon.refused(&["clone", "source", "small"], &reasons);
    }
}

#[test]
fn the_backup_of_a_gpt_moves_to_the_end_of_a_smaller_target() {
    let klon = Klon::new();
    sparse(&klon.path("source"), 64 * MIB);
    let source = klon.text("source");
    let partitions = ["-n1:2048:+16M", "-c1:erste", "-n7:0:+4M", "-A7:set:59"];
    run("sgdisk", &[&partitions[..], &[&source]].concat());
    ext4(&klon.path("volume"), 16, 2);
    put(&klon.path("volume"), &klon.path("source"), MIB);
    for size_bytes in [40 * MIB, 22 * MIB, 21 * MIB + 33 * 512] {
        println!("-- {size_bytes}");
        for (command, from) in [("clone", "source"), ("restore", "i.klon")] {
            if command == "restore" {
                klon.ok(&["image", "source", "i.klon"]);
            }
            let target = format!("{command}-{size_bytes}-disk");
            sparse(&klon.path(&target), size_bytes);
            klon.ok(&[command, from, &target]);
            assert_eq!(size(&klon, &target), size_bytes);
            check_gpt(&klon.text(&target));
            let table = |disk: &str| run("sfdisk", &["--dump", disk]).replace(disk, "");
            let parts = |dump: String| dump.split_once("\n\n").unwrap().1.to_owned();
            assert_eq!(parts(table(&klon.text(&target))), parts(table(&source)));
            let part = format!("{target}.part");
            fs::write(
                klon.path(&part),
                read_range(klon.path(&target), MIB, 16 * MIB),
            )
            .unwrap();
            run("e2fsck", &["-fn", &klon.text(&part)]);
            klon.ok(&["verify", &target]);
            klon.ok(&["verify", &target, "source"]);
        }
        fs::remove_file(klon.path("i.klon")).unwrap();
    }
    sparse(&klon.path("small"), 21 * MIB + 32 * 512);
    let reasons = ["is too small", "21 MiB", &(21 * MIB + 33 * 512).to_string()];
    klon.refused(&["clone", "source", "small"], &reasons);
    assert!(
        fs::read(klon.path("small"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
}

/// Makes a source.
type Make<'a> = &'a dyn Fn(&Klon);

#[test]
fn what_would_be_cut_off_is_said_before_anything_is_written() {
    let make_gpt = |klon: &Klon| {
        sparse(&klon.path("source"), 32 * MIB);
        run("sgdisk", &["-n1:2048:+8M", &klon.text("source")]);
    };
    let make_mbr = |klon: &Klon| {
        sparse(&klon.path("source"), 32 * MIB);
        run_with_input(
            "sfdisk",
            &["-q", &klon.text("source")],
            "label: dos\n2048,8192,83\n",
        );
    };
    let make_volume = |klon: &Klon| {
        ext4(&klon.path("source"), 8, 1);
        resize(&klon.path("source"), 32 * MIB);
    };
    let kinds: [(Make<'_>, &str); 3] = [
        (&make_gpt, "in no partition"),
        (&make_mbr, "in no partition"),
        (&make_volume, "behind the end of its ext4"),
    ];
    for (make, place) in kinds {
        for at in [20 * MIB, 25 * MIB + 4097, 31 * MIB] {
            let klon = Klon::new();
            make(&klon);
            klon.ok(&["image", "source", "empty.klon"]);
            sparse(&klon.path("first"), 20 * MIB);
            klon.ok(&["clone", "source", "first"]);
            write_at(&klon.path("source"), at, b"X");
            klon.ok(&["image", "source", "i.klon"]);
            sparse(&klon.path("target"), 20 * MIB);
            let (at, least) = (format!("at byte {at}"), "at least 32 MiB");
            let reasons = [place, &at, "--outside none", "Nothing was written", least];
            for from in [["clone", "source"], ["restore", "i.klon"]] {
                klon.refused(&[from[0], from[1], "target"], &reasons);
                klon.refused(&[from[0], from[1], "target", "--yes"], &reasons);
                klon.refused(&[from[0], from[1], "target", "--dry-run"], &reasons);
            }
            let target = fs::read(klon.path("target")).unwrap();
            assert!(target.iter().all(|&byte| byte == 0));
            // Left out, it goes.
            klon.ok(&["clone", "source", "without", "--dry-run"]);
            for from in [["clone", "source"], ["restore", "i.klon"]] {
                let other = format!("{}-none", from[0]);
                sparse(&klon.path(&other), 20 * MIB);
                let said = klon.ok(&[from[0], from[1], &other, "--outside", "none"]);
                said.says(&["by --outside none", "did not look at them"]);
                klon.ok(&["verify", &other]);
                klon.ok(&["verify", &other, "source"]);
            }
            // What was made before is still a copy of what it has room for.
            klon.ok(&["verify", "first", "source"]).says(&[place, &at]);
        }
    }
}

#[test]
fn where_the_backup_of_a_gpt_goes_nothing_is_overwritten_without_a_word() {
    let klon = Klon::new();
    sparse(&klon.path("source"), 32 * MIB);
    run("sgdisk", &["-n1:2048:+8M", &klon.text("source")]);
    for at in [20 * MIB - 5000, 20 * MIB - 512, 20 * MIB - 33 * 512] {
        write_at(&klon.path("source"), at, b"X");
        sparse(&klon.path("target"), 20 * MIB);
        let reasons = [
            "in no partition",
            &format!("at byte {at}"),
            "--outside none",
        ];
        klon.refused(&["clone", "source", "target"], &reasons);
        write_at(&klon.path("source"), at, b"\0");
    }
    write_at(&klon.path("source"), 20 * MIB - 34 * 512, b"X");
    klon.ok(&["clone", "source", "target"]);
    check_gpt(&klon.text("target"));
    assert_eq!(
        read_range(klon.path("target"), 20 * MIB - 34 * 512, 1),
        b"X"
    );
}

#[test]
fn the_footer_of_a_virtual_disk_is_no_part_of_it() {
    let klon = Klon::new();
    sparse(&klon.path("raw"), 32 * MIB);
    run("sgdisk", &["-n1:2048:+8M", &klon.text("raw")]);
    ext4(&klon.path("volume"), 8, 1);
    put(&klon.path("volume"), &klon.path("raw"), MIB);
    let options = [
        "convert",
        "-f",
        "raw",
        "-O",
        "vpc",
        "-o",
        "subformat=fixed,force_size=on",
    ];
    let (raw, virtual_disk) = (klon.text("raw"), klon.text("source"));
    run("qemu-img", &[&options[..], &[&raw, &virtual_disk]].concat());
    assert_eq!(size(&klon, "source"), 32 * MIB + 512);
    sparse(&klon.path("target"), 32 * MIB);
    klon.ok(&["clone", "source", "target"]);
    check_gpt(&klon.text("target"));
    let part = |disk: &str| read_range(klon.path(disk), MIB, 8 * MIB);
    assert!(part("raw") == part("target"));
    // A footer that only looks like one is data.
    write_at(&klon.path("source"), 32 * MIB + 100, b"x");
    sparse(&klon.path("other"), 32 * MIB);
    klon.refused(&["clone", "source", "other"], &["in no partition at byte"]);
}
