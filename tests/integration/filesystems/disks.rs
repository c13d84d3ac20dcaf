//! Whole disks made by sgdisk, sfdisk and mkfs: their layout, and what of them must be copied.

use crate::support::tool::{self, run_command};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{Basis, Kind};
use klon_partition::inspect::{DiskLayout, disk_usage, inspect};
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::{NamedTempFile, TempDir};

const MEBIBYTE: u64 = 1 << 20;

fn disk(mebibytes: u64) -> NamedTempFile {
    let file = NamedTempFile::new().expect("temporary file");
    file.as_file().set_len(mebibytes * MEBIBYTE).expect("size");
    file
}

/// Makes a volume with `command` and puts it at `start_mebibytes` of `disk`.
fn put(disk: &Path, start_mebibytes: u64, mebibytes: u64, command: &[&str]) {
    let directory = TempDir::new().expect("temporary directory");
    let volume = directory.path().join("volume.img");
    let file = fs::File::create(&volume).expect("create image");
    file.set_len(mebibytes * MEBIBYTE).expect("size image");
    run_command(tool::command(command[0]).args(&command[1..]).arg(&volume));
    run_command(
        tool::command("dd")
            .arg(format!("if={}", volume.display()))
            .arg(format!("of={}", disk.display()))
            .arg(format!("seek={start_mebibytes}"))
            .args(["bs=1M", "conv=notrunc,sparse"]),
    );
}

fn open(disk: &Path) -> MemoryDevice {
    MemoryDevice::new(fs::read(disk).expect("read disk"), 512)
}

fn kinds(layout: &DiskLayout) -> Vec<(u32, Option<Kind>)> {
    let volume = |volume: &klon_partition::inspect::Volume| {
        (
            volume.partition.as_ref().map_or(0, |found| found.number),
            volume.filesystem.as_ref().map(|found| found.kind),
        )
    };
    layout.volumes.iter().map(volume).collect()
}

fn mebibytes(start: u64, len: u64) -> Extent {
    Extent::new(start * MEBIBYTE, len * MEBIBYTE).expect("not empty")
}

#[test]
fn a_gpt_disk_is_copied_by_its_table_gaps_and_partitions() {
    let disk = disk(100);
    run_command(
        tool::command("sgdisk")
            .args(["-n1:1M:+40M", "-t1:ef00", "-n3:42M:+2M", "-t3:8200"])
            .args(["-n2:70M:+3M"])
            .arg(disk.path()),
    );
    put(disk.path(), 1, 40, &["mkfs.fat", "-F", "32", "-s", "1"]);
    put(disk.path(), 42, 2, &["mkswap", "-q"]);
    let device = open(disk.path());
    let layout = inspect(&device).expect("inspected");
    assert!(layout.findings.is_empty(), "{:?}", layout.findings);
    let expected = [(1, Some(Kind::Fat32)), (2, None), (3, Some(Kind::Swap))];
    assert_eq!(kinds(&layout), expected);

    let usage = disk_usage(&device).expect("read");
    for whole in [mebibytes(0, 1), mebibytes(41, 1), mebibytes(70, 3)] {
        assert!(usage.extents.contains(whole), "{whole}");
    }
    // Of the swap space the header.
    let used = usage.extents.difference(&usage.unproven);
    let swap: Vec<Extent> = used.within(mebibytes(42, 2)).collect();
    assert_eq!(swap, [Extent::new(42 << 20, 4096).expect("an extent")]);
    // The gaps from 44 to 70 and from 73 to 100, of which no one proved anything free, and of those
    // the edges.
    for edge in [
        mebibytes(44, 1),
        mebibytes(69, 1),
        mebibytes(73, 1),
        mebibytes(99, 1),
    ] {
        assert!(usage.outside.contains(edge), "{edge}");
        assert!(usage.edges.overlaps(edge), "{edge}");
    }
    for middle in [mebibytes(45, 24), mebibytes(74, 24)] {
        assert!(usage.outside.contains(middle) && usage.unproven.contains(middle));
        assert!(!usage.edges.overlaps(middle));
    }
    let boot = &usage.volumes[0];
    assert_eq!(boot.usage.basis, Basis::Map);
    let shifted = boot.usage.extents.shifted(MEBIBYTE);
    let within: ExtentMap = usage.extents.within(mebibytes(1, 40)).collect();
    assert_eq!(within, shifted);
    assert!(shifted.total_bytes() < 2 * MEBIBYTE);
}

#[test]
fn logical_partitions_are_volumes_and_their_container_is_not() {
    let disk = disk(40);
    let mut child = tool::command("sfdisk")
        .args(["-q", "--label", "dos"])
        .arg(disk.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("sfdisk is needed (fdisk)");
    let script = "start=2048, size=4096, type=c\nstart=20480, size=61440, type=5\n\
                  start=22528, size=4096, type=82\nstart=43008, size=4096, type=83\n";
    let mut input = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, script.as_bytes()).expect("sfdisk reads");
    drop(input);
    assert!(child.wait().expect("sfdisk ends").success());
    put(disk.path(), 1, 2, &["mkfs.fat"]);
    put(disk.path(), 11, 2, &["mkswap", "-q"]);
    let device = open(disk.path());
    let layout = inspect(&device).expect("inspected");
    let expected = [(1, Some(Kind::Fat12)), (5, Some(Kind::Swap)), (6, None)];
    assert_eq!(kinds(&layout), expected);
    let usage = disk_usage(&device).expect("read");
    // Both extended boot records and the master boot record.
    for sector in [0, 20_480, 43_008 - 2048] {
        let record = Extent::new(sector * 512, 512).expect("not empty");
        assert!(usage.extents.contains(record), "{sector}");
    }
}

#[test]
fn a_filesystem_on_the_whole_disk_is_one_volume_also_with_a_table_in_its_boot_sector() {
    for options in [&["-F", "32", "--mbr=n"][..], &["-F", "32", "--mbr=y"]] {
        let disk = disk(40);
        run_command(tool::command("mkfs.fat").args(options).arg(disk.path()));
        let device = open(disk.path());
        let layout = inspect(&device).expect("inspected");
        assert!(layout.table.is_none());
        assert_eq!(kinds(&layout), [(0, Some(Kind::Fat32))]);
        let usage = disk_usage(&device).expect("read");
        assert_eq!(usage.volumes[0].usage.basis, Basis::Map);
    }
}
