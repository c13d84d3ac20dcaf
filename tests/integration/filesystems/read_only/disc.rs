//! ISO 9660 against xorriso, as discs and as disks.

use super::{
    ROOM_BYTES, assert_copied, assert_same_files, grow, len_bytes, look, mapped, number_after,
    text, tree, write,
};
use crate::filesystems::image_file::ImageFile;
use crate::support::oracle::copy_onto_noise;
use crate::support::run;
use crate::support::tree::noise;
use klon_partition::filesystem::Kind;
use klon_partition::inspect::{disk_usage, inspect};
use klon_partition::{Extent, ExtentMap};
use std::path::{Path, PathBuf};

const BOOT: [&str; 7] = [
    "-b",
    "boot.img",
    "-no-emul-boot",
    "-boot-load-size",
    "4",
    "-c",
    "boot.cat",
];
const HYBRID: [&str; 2] = ["-isohybrid-mbr", "MBR"];
const EFI: [&str; 5] = [
    "-eltorito-alt-boot",
    "-e",
    "efi.img",
    "-no-emul-boot",
    "-isohybrid-gpt-basdat",
];

/// What xorriso makes; EFI and MBR stand for files.
fn variants() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("plain", vec![]),
        ("joliet", vec!["-J", "-iso-level", "3"]),
        ("unpadded", vec!["-no-pad"]),
        ("hfsplus", vec!["-hfsplus"]),
        ("bootable", BOOT.to_vec()),
        ("isohybrid", [&HYBRID[..], &BOOT].concat()),
        ("isohybrid-efi", [&HYBRID[..], &BOOT, &EFI].concat()),
        ("partition-offset", vec!["-partition_offset", "16"]),
        (
            "protective",
            vec!["--mbr-force-bootable", "--protective-msdos-label"],
        ),
        (
            "appended-mbr",
            vec!["-append_partition", "2", "0xef", "EFI"],
        ),
        (
            "appended-gpt",
            vec![
                "-appended_part_as_gpt",
                "-append_partition",
                "2",
                "0xef",
                "EFI",
                "-e",
                "--interval:appended_partition_2:all::",
                "-no-emul-boot",
            ],
        ),
        (
            "appended-apm",
            vec![
                "-appended_part_as_apm",
                "-append_partition",
                "2",
                "0xef",
                "EFI",
            ],
        ),
    ]
}

fn make(directory: &Path, name: &str, options: &[&str]) -> PathBuf {
    let files = directory.join("tree");
    let (record, partition) = (directory.join("mbr"), directory.join("efi"));
    if !files.exists() {
        tree(&files);
        std::fs::write(files.join("boot.img"), noise(1, 2048)).unwrap();
        std::fs::write(files.join("efi.img"), noise(2, 600_000)).unwrap();
        std::fs::write(&record, [0; 432]).unwrap();
        std::fs::write(&partition, noise(4, 600_000)).unwrap();
    }
    let image = directory.join(name);
    let options: Vec<&str> = options
        .iter()
        .map(|option| match *option {
            "MBR" => text(&record),
            "EFI" => text(&partition),
            other => other,
        })
        .collect();
    let arguments = [
        &["-as", "mkisofs", "-quiet", "-R", "-V", "DISC"],
        &options[..],
        &["-o", text(&image), text(&files)],
    ];
    run("xorriso", &arguments.concat());
    image
}

/// Where the last session ends, by xorriso.
fn session_end_bytes(image: &Path) -> u64 {
    let output = crate::support::tool::output("xorriso", &["-indev", text(image), "-toc"]);
    let toc =
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    number_after(&toc, "ISO session  :   1 ,         0 ,") * 2048
}

/// What sfdisk sees of partitions, which may overlap.
fn partitions(image: &Path) -> ExtentMap {
    let text = crate::support::tool::output("sfdisk", &["-d", text(image)]).stdout;
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| line.contains("start="));
    let extents = lines.map(|line| {
        let (start, size) = (number_after(line, "start="), number_after(line, "size="));
        Extent::new(start * 512, size * 512).unwrap()
    });
    extents.collect()
}

#[test]
fn used_covers_what_xorriso_and_sfdisk_say_and_a_copy_of_it_unpacks() {
    let directory = tempfile::tempdir().unwrap();
    for (name, options) in variants() {
        let image = make(directory.path(), name, &options);
        let session = ExtentMap::whole(session_end_bytes(&image));
        let expected = session.union(&partitions(&image));
        let image_bytes = len_bytes(&image);
        for more_bytes in [0, ROOM_BYTES] {
            grow(&image, more_bytes);
            let used = mapped(&image, name);
            assert_eq!(expected.difference(&used), ExtentMap::new(), "{name}");
            // No more than xorriso wrote: the backup of a GPT.
            assert!(used.end_bytes() <= image_bytes, "{name}: {used:?}");
            let extra_bytes = used.difference(&expected).total_bytes();
            // sfdisk knows no Apple Partition Map, which has a partition of 600,000 bytes.
            let unseen_bytes = if name == "appended-apm" { 600_064 } else { 0 };
            assert!(
                extra_bytes <= unseen_bytes + (64 << 10),
                "{name}: {extra_bytes}"
            );
        }
        let summary = look(&image).summary.unwrap();
        assert_eq!(
            (summary.kind, summary.label.as_deref()),
            (Kind::Iso9660, Some("DISC"))
        );
        let uuid = run("blkid", &["-p", "-s", "UUID", "-o", "value", text(&image)]);
        assert_eq!(summary.uuid.as_deref(), Some(uuid.trim()), "{name}");
        let (target, out) = (directory.path().join("copy"), directory.path().join("out"));
        copy_onto_noise(&image, &target, &mapped(&image, name));
        let arguments = [
            "-osirrox",
            "on",
            "-indev",
            text(&target),
            "-extract",
            "/",
            text(&out),
        ];
        run("xorriso", &arguments);
        run("chmod", &["-R", "u+w", text(&out)]);
        // The boot catalog is a file of the disc's own.
        for catalog in ["boot.cat", "boot.catalog"] {
            let _ = std::fs::remove_file(out.join(catalog));
        }
        assert_same_files(&directory.path().join("tree"), &out);
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn what_is_appended_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let image = make(directory.path(), "image", &[]);
    let end_bytes = len_bytes(&image);
    grow(&image, ROOM_BYTES);
    write(&image, b"\x01CD001", end_bytes + 32_768);
    assert_copied(&image, end_bytes + 32_768, "another session");
}

#[test]
fn sessions_that_were_added_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let image = make(directory.path(), "image", &[]);
    let end_bytes = len_bytes(&image);
    let more = directory.path().join("mbr");
    let arguments = [
        "-dev",
        text(&image),
        "-map",
        text(&more),
        "/more",
        "-commit",
    ];
    run("xorriso", &arguments);
    grow(&image, ROOM_BYTES);
    let used = mapped(&image, "two sessions");
    assert!(used.end_bytes() > end_bytes, "{used:?}");
}

/// The usual installation medium: partitions that are files of the disc, or nothing at all.
#[test]
fn a_hybrid_disc_is_used_whatever_its_partitions_say() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("tree");
    make(directory.path(), "first", &[]);
    std::fs::write(files.join("large"), noise(8, 40 << 20)).unwrap();
    let efi = [&HYBRID[..], &BOOT, &EFI].concat();
    for (name, options) in [
        ("isohybrid-efi", efi),
        ("appended-mbr", variants()[9].1.clone()),
    ] {
        let image = make(directory.path(), name, &options);
        let session = ExtentMap::whole(session_end_bytes(&image));
        grow(&image, 100 << 20);
        let device = ImageFile::open(&image);
        let layout = inspect(&device).unwrap();
        let usage = disk_usage(&device).unwrap();
        let used = usage.extents.difference(&usage.unproven);
        let missing = session.difference(&used);
        assert!(missing.is_empty(), "{name}: {missing:?} {:?}", layout.table);
        let bytes = used.total_bytes();
        assert!(
            bytes < session.total_bytes() + (30 << 20),
            "{name}: {bytes}"
        );
    }
}
