//! What partitions of a random disk hold, and what of it is free by the word of other tools.

use super::{Part, UNIT};
use crate::filesystems::btrfs;
use crate::support::dice::Dice;
use crate::support::image::sparse;
use crate::support::tool::{command, output, run, run_command};
use crate::support::tree::{fill, noise};
use crate::support::{Klon, MIB};
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The kinds of contents, with the mebibytes that each needs.
pub(super) const KINDS: [(&str, u64); 13] = [
    ("nothing", 1),
    ("noise", 1),
    ("ext4", 8),
    ("ext2", 8),
    ("unclean ext2", 8),
    ("fat", 8),
    ("ntfs", 8),
    ("exfat", 8),
    ("swap", 8),
    ("f2fs", 54),
    ("xfs", 20),
    ("btrfs", 20),
    ("squashfs", 8),
];

/// Makes what a partition holds: how many bytes its filesystem was made for, and what of them is free;
/// `None` for no filesystem.
pub(super) fn make(
    klon: &Klon,
    dice: &mut Dice,
    name: &str,
    part: &Part,
    sector: u32,
) -> Option<(u64, ExtentMap)> {
    let path = klon.path(name);
    let part_bytes = part.len * UNIT;
    let spare_bytes = [0, 0, 4096, 100 * 1024, MIB + 4096][dice.below(5)];
    let own_bytes = match part.content {
        "f2fs" => part_bytes - [0, MIB + 4096][dice.below(2)],
        _ => part_bytes - spare_bytes,
    };
    match part.content {
        "nothing" => return None,
        "noise" => {
            fs::write(&path, noise(part.start + 1, part_bytes as usize)).unwrap();
            return None;
        }
        _ => sparse(&path, own_bytes),
    }
    make_filesystem(klon, &path, part, sector);
    let own_bytes = path.metadata().unwrap().len();
    let mut free = match part.content {
        "ext4" | "ext2" | "unclean ext2" => dumpe2fs_free(&path),
        // mkfs.btrfs leaves its first trees where nothing is in use in the end.
        "btrfs" => ExtentMap::whole(own_bytes).difference(&btrfs::tool::used(&path)),
        // It was made on zeroes: whatever is zero now may be free.
        _ => zeroes(&path),
    };
    // Nobody proves anything free in these, so there is something.
    if part.is_container || part.content == "unclean ext2" {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let last = free.iter().last();
        for extent in free.iter().take(3).chain(last) {
            let len = extent.len_bytes().min(3000) as usize;
            let data = noise(extent.offset_bytes(), len);
            file.write_all_at(&data, extent.end_bytes() - len as u64)
                .unwrap();
        }
        free = ExtentMap::new();
    }
    Some((own_bytes, free))
}

fn make_filesystem(klon: &Klon, path: &Path, part: &Part, sector: u32) {
    let file = path.to_str().unwrap();
    let sector = sector.to_string();
    let tree = klon.path("tree");
    let tree_text = tree.to_str().unwrap();
    let with_tree = |program: &str, arguments: &[&str]| {
        fill(&tree, part.start, 1);
        run(program, arguments);
        fs::remove_dir_all(&tree).unwrap();
    };
    match part.content {
        kind @ ("ext4" | "ext2") => {
            with_tree("mke2fs", &["-q", "-F", "-t", kind, "-d", tree_text, file]);
        }
        "unclean ext2" => {
            with_tree("mke2fs", &["-q", "-F", "-t", "ext2", "-d", tree_text, file]);
            run("debugfs", &["-w", "-R", "set_super_value state 0", file]);
        }
        "btrfs" => {
            let options = ["-q", "--mixed", "--rootdir", tree_text, file];
            with_tree("mkfs.btrfs", &options);
        }
        "squashfs" => {
            let options = [tree_text, file, "-noappend", "-quiet", "-no-progress"];
            with_tree("mksquashfs", &options);
        }
        // Smaller ones than mkfs.xfs makes for users.
        "xfs" => run_command(command("mkfs.xfs").args(["-q", file]).envs([
            ("TEST_DIR", "/"),
            ("TEST_DEV", file),
            ("QA_CHECK_FS", "1"),
        ])),
        "fat" => drop(run("mkfs.fat", &["-S", &sector, file])),
        "ntfs" => drop(run("mkntfs", &["-F", "-Q", "-q", "-s", &sector, file])),
        "exfat" => drop(run("mkfs.exfat", &[file])),
        "swap" => drop(run("mkswap", &["-q", file])),
        "f2fs" => drop(run("mkfs.f2fs", &["-q", file])),
        other => panic!("{other}"),
    }
}

/// Data behind the end of a filesystem; where the last of them are.
pub(super) fn junk_behind(
    path: &Path,
    dice: &mut Dice,
    part: &Part,
    own_bytes: u64,
) -> Option<u64> {
    let tail = part.len * UNIT - own_bytes;
    if tail == 0 {
        return None;
    }
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let mut at = 0;
    for _ in 0..1 + dice.below(3) {
        at = part.start * UNIT + own_bytes + dice.below(tail as usize) as u64;
        file.write_all_at(&[1 + dice.below(255) as u8], at).unwrap();
    }
    // The last byte of the partition, too.
    file.write_all_at(&[9], (part.start + part.len) * UNIT - 1)
        .unwrap();
    Some(at)
}

fn dumpe2fs_free(path: &Path) -> ExtentMap {
    let found = output("dumpe2fs", &[path.to_str().unwrap()]);
    let text = String::from_utf8(found.stdout).unwrap();
    let after = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line[key.len()..].trim().parse::<u64>().unwrap()
    };
    let block_bytes = after("Block size:");
    let lists = text
        .lines()
        .filter_map(|line| line.strip_prefix("  Free blocks: "));
    let ranges = lists.flat_map(|list| list.split(", ").filter(|range| !range.is_empty()));
    ranges
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let [first, last] = [first, last].map(|text| text.trim().parse::<u64>().unwrap());
            Extent::between(first * block_bytes, (last + 1) * block_bytes).unwrap()
        })
        .collect()
}

fn zeroes(path: &Path) -> ExtentMap {
    const PIECE: usize = 512;
    let bytes = fs::read(path).unwrap();
    let pieces = bytes.chunks(PIECE).enumerate();
    pieces
        .filter(|(_, piece)| piece.iter().all(|&byte| byte == 0))
        .filter_map(|(index, piece)| Extent::new((index * PIECE) as u64, piece.len() as u64))
        .collect()
}
