//! The walk over all files: inodes in the order of their tables, each with the blocks it maps.
//!
//! `struct ext4_inode`: kernel documentation, "ext4 Data Structures and Algorithms", section "Index
//! Nodes":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::blockmap::{BlockMaps, Run};
use super::inode::{FileType, Inode};
use super::scan::{self, Scan};
use super::superblock::Superblock;
use crate::bytes::{le16, le32};
use crate::filesystem::files::{File, FileKind, FileRun, FileVisitor, Next, RunKind, Stamp};
use std::ops::Range;

/// `i_atime`, `l_i_checksum_lo`, `i_checksum_hi` and `i_atime_extra`.
const VOLATILE: [Range<usize>; 4] = [0x08..0x0c, 0x7c..0x7e, 0x82..0x84, 0x8c..0x90];
/// `i_extra_isize`: where the fields begin that are there as far as it reaches.
const EXTRA: usize = 0x80;

/// Visits all files in use but the reserved ones. Groups, inodes and maps that can't be read or
/// fail a check are noted as gaps and left out.
pub(super) fn walk(scan: &Scan<'_>, visitor: &mut dyn FileVisitor) {
    let superblock = scan.superblock;
    let mut maps = BlockMaps::new(superblock, scan.device);
    scan::inodes(scan, &mut |inode, raw| {
        let file = file(superblock, inode, raw);
        match visitor.file(&file) {
            Next::Continue => {}
            Next::SkipFile => return true,
            Next::Stop => return false,
        }
        let mut next = Next::Continue;
        let visited = maps.visit(inode, &mut |run| {
            next = visitor.run(&file, &file_run(superblock, run));
            next == Next::Continue
        });
        scan.gaps.tolerate(visited);
        next != Next::Stop
    });
}

fn file<'a>(superblock: &Superblock, inode: &Inode, raw: &'a [u8]) -> File<'a> {
    let block_bytes = u64::from(superblock.block_bytes);
    let is_internal = superblock.internal_inodes.contains(&inode.number);
    File {
        number: inode.number.0.into(),
        kind: match inode.file_type {
            FileType::Regular => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink | FileType::Other => FileKind::Other,
        },
        is_internal: is_internal || inode.is_attribute_value,
        is_immutable: inode.is_immutable,
        is_unstamped: false,
        size_bytes: inode.size_bytes,
        // A hostile size near the largest number can't be rounded up.
        contents_end_bytes: inode
            .size_bytes
            .checked_next_multiple_of(block_bytes)
            .unwrap_or(u64::MAX),
        cluster_bytes: block_bytes.saturating_mul(superblock.cluster_blocks.into()),
        changed: changed(raw),
        // `i_crtime`.
        made_seconds: reaches(raw, 0x94).then(|| le32(raw, 0x90).cast_signed().into()),
        // `i_version` counts no reads, and is part of the identity.
        changes: None,
        inode: raw,
        volatile: volatile(raw),
    }
}

fn file_run(superblock: &Superblock, run: Run) -> FileRun {
    let block_bytes = u64::from(superblock.block_bytes);
    FileRun {
        kind: match run.file_block {
            Some(_) => RunKind::Contents,
            None => RunKind::Map,
        },
        // No map reaches beyond block 2^43 of a file.
        file_offset_bytes: run.file_block.map_or(0, |block| block * block_bytes),
        extent: run.extent,
        is_written: run.is_written,
    }
}

/// Whether the inode has the fields before `end`, by `i_extra_isize`.
fn reaches(raw: &[u8], end: usize) -> bool {
    if raw.len() < EXTRA + 2 || raw.len() < end {
        return false;
    }
    let i_extra_isize = le16(raw, EXTRA);
    EXTRA + usize::from(i_extra_isize) >= end
}

fn volatile(raw: &[u8]) -> &'static [Range<usize>] {
    let fields = if reaches(raw, 0x90) {
        VOLATILE.len()
    } else if reaches(raw, 0x84) {
        3
    } else {
        2
    };
    VOLATILE.get(..fields).unwrap_or_default()
}

/// The time of the last change. `i_ctime_extra` has two bits of epoch below thirty of nanoseconds.
fn changed(raw: &[u8]) -> Stamp {
    let i_ctime = le32(raw, 0x0c).cast_signed();
    let i_ctime_extra = if reaches(raw, 0x88) {
        le32(raw, 0x84)
    } else {
        0
    };
    Stamp {
        seconds: i64::from(i_ctime) + (i64::from(i_ctime_extra & 3) << 32),
        nanoseconds: i_ctime_extra >> 2,
    }
}
