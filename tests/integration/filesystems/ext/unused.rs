//! What of the format's structures was never used, against dumpe2fs, and that nobody needs what is there.

use super::tool::{dumpe2fs, is_root, run};
use super::variant::{VARIANTS, Variant};
use super::{ImageFile, assert_same, filesystem};
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, Mount};
use klon_partition::filesystem::usage;
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The first and the last block in a text such as "1505-2016 (bg #0 + 1505)".
fn range(text: &str) -> (u64, u64) {
    let range = text.split([' ', ',']).next().unwrap();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    (first.parse().unwrap(), last.parse().unwrap())
}

/// By dumpe2fs: tables without the inodes that are or were in use, and reserved blocks of all groups but
/// the first.
fn unused_by_dumpe2fs(image: &Path) -> ExtentMap {
    let text = dumpe2fs(image);
    let number = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |line| line.trim().parse().unwrap())
    };
    let block_bytes = number("Block size:");
    let (inodes, inode_bytes) = (number("Inodes per group:"), number("Inode size:").max(128));
    let can_grow = text.contains("resize_inode");
    let (mut found, mut table, mut group) = (ExtentMap::new(), None, 0);
    let mut add = |first: u64, end: u64| {
        let extent = Extent::between(first * block_bytes, end * block_bytes);
        found = found.union(&extent.into_iter().collect());
    };
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("Group ") {
            group = rest.split(':').next().unwrap().parse().unwrap_or(group);
        }
        if let Some(rest) = line.strip_prefix("Reserved GDT blocks at ")
            && can_grow
            && group > 0
        {
            let (first, last) = range(rest);
            add(first, last + 1);
        }
        if let Some(rest) = line.strip_prefix("Inode table at ") {
            table = Some(range(rest));
        }
        if let Some(unused) = line
            .split(", ")
            .find_map(|it| it.strip_suffix(" unused inodes"))
            && let Some((first, last)) = table
        {
            let used = inodes - unused.parse::<u64>().unwrap();
            add(first + (used * inode_bytes).div_ceil(block_bytes), last + 1);
        }
    }
    found
}

#[test]
fn what_was_never_used_is_what_dumpe2fs_says() {
    let mut found = 0;
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        let device = ImageFile::open(&image);
        let filesystem = filesystem(&device);
        let blank = filesystem.blank(&device);
        let unused = blank.difference(&filesystem.empty_log(&device));
        let expected = unused_by_dumpe2fs(&image);
        assert_same(&unused, &expected, variant.name);
        found += usize::from(!unused.is_empty());
        let usage = usage(&device).unwrap();
        assert!(
            blank.difference(&usage.used()).is_empty(),
            "{}",
            variant.name
        );
    }
    assert!(found >= 5, "{found}");
}

/// With noise in all that was never used, a volume is sound, can be filled and can grow.
#[test]
fn nobody_reads_what_was_never_used() {
    if !is_root() {
        return;
    }
    let klon = Klon::new();
    let [source, target] = ["source", "target"].map(|name| klon.path(name));
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    run("truncate", &["-s", "64M", &at(&source)]);
    let options = [
        "-q",
        "-F",
        "-b",
        "1024",
        "-N",
        "16384",
        "-E",
        "resize=1048576",
    ];
    run("mkfs.ext4", &[&options[..], &[&at(&source)]].concat());
    let used = klon.path("mnt");
    let fill = |volume: &Path, script: &str| {
        let mount = Mount::new(volume, &used, "loop");
        let script = format!("set -eu; cd \"$0\"; {script}");
        run("bash", &["-c", &script, mount.path().to_str().unwrap()]);
    };
    fill(&source, "for i in $(seq 900); do echo $i >file$i; done");
    let device = ImageFile::open(&source);
    let blank = filesystem(&device).blank(&device);
    let file = OpenOptions::new().write(true).open(&source).unwrap();
    for extent in blank.iter() {
        let junk = noise(5, usize::try_from(extent.len_bytes()).unwrap());
        file.write_all_at(&junk, extent.offset_bytes()).unwrap();
    }
    drop(file);
    run("e2fsck", &["-fn", &at(&source)]);
    // The clone has zeroes there, and nothing of it is read again.
    fs::write(&target, noise(6, 64 << 20)).unwrap();
    let clone = [
        "clone",
        "source",
        "target",
        "--yes",
        "--confirm",
        "target",
        "--json",
    ];
    let first = klon.ok(&clone).last()["volumes"][0].take();
    let read_bytes = number(&first, "read_source_bytes");
    let usage = usage(&ImageFile::open(&source)).unwrap();
    let others = usage.extents.difference(&blank).total_bytes();
    assert!(read_bytes <= others + (4 << 20), "{read_bytes} of {others}");
    let found = fs::read(&target).unwrap();
    for extent in blank.iter() {
        let [start, end] = [extent.offset_bytes(), extent.end_bytes()];
        let [start, end] = [start, end].map(|at| usize::try_from(at).unwrap());
        assert!(found[start..end].iter().all(|&byte| byte == 0), "{extent}");
    }
    klon.ok(&["verify", "target", "source"]);
    for volume in [&source, &target] {
        run("e2fsck", &["-fn", &at(volume)]);
        fill(volume, "for i in $(seq 15000); do : >new$i; done; rm new7");
        run("e2fsck", &["-fn", &at(volume)]);
        run("truncate", &["-s", "700M", &at(volume)]);
        run("resize2fs", &["-f", &at(volume)]);
        run("e2fsck", &["-fn", &at(volume)]);
    }
}

/// A group whose bitmap has an inode in use that its descriptor doesn't count is left as it is.
#[test]
fn an_inode_in_use_is_never_blank() {
    let directory = tempfile::tempdir().unwrap();
    let image = Variant::named("ext4").make(directory.path());
    let unused = || {
        let device = ImageFile::open(&image);
        filesystem(&device).blank(&device)
    };
    let before = unused();
    let text = dumpe2fs(&image);
    let bitmap = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Inode bitmap at "));
    let size = text
        .lines()
        .find_map(|line| line.strip_prefix("Block size:"))
        .unwrap();
    let block_bytes = size.trim().parse::<u64>().unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&image)
        .unwrap();
    let at = range(bitmap.unwrap()).0 * block_bytes + 100;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    assert!(unused().total_bytes() < before.total_bytes());
}
