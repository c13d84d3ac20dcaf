//! The walk over all files: inodes in the order of their tables, each with the blocks it maps.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Index Nodes".

use super::blockmap::{BlockMaps, Run};
use super::inode::{FileType, Inode};
use super::scan;
use super::superblock::Superblock;
use crate::bytes::{le16, le32};
use crate::device::ReadAt;
use crate::filesystem::files::{File, FileKind, FileRun, FileVisitor, Next, Part, Stamp};
use crate::filesystem::owners::Gaps;
use std::ops::Range;

/// `i_atime`, `l_i_checksum_lo`, `i_checksum_hi` and `i_atime_extra`.
const VOLATILE: [Range<usize>; 4] = [0x08..0x0c, 0x7c..0x7e, 0x82..0x84, 0x8c..0x90];
/// Where fields begin that are there as far as `i_extra_isize` reaches.
const EXTRA: usize = 0x80;

/// Visits all files in use but the reserved ones. Groups, inodes and maps that can't be read or
/// fail a check are noted in `gaps` and left out.
pub(super) fn walk(
    superblock: &Superblock,
    device: &dyn ReadAt,
    gaps: &Gaps,
    visitor: &mut dyn FileVisitor,
) {
    let mut maps = BlockMaps::new(superblock, device);
    scan::inodes(superblock, device, gaps, &mut |inode, raw| {
        let file = file(superblock, inode, raw);
        match visitor.file(&file) {
            Next::Continue => {}
            Next::SkipFile => return true,
            Next::Stop => return false,
        }
        let mut next = Next::Continue;
        let visited = maps.visit(inode, &mut |run| {
            if let Some(run) = file_run(superblock, run) {
                next = visitor.run(&file, &run);
            }
            next == Next::Continue
        });
        gaps.tolerate(visited);
        next != Next::Stop
    });
}

fn file<'a>(superblock: &Superblock, inode: &Inode, raw: &'a [u8]) -> File<'a> {
    let block_bytes = u64::from(superblock.block_bytes);
    let blocks = inode.size_bytes.div_ceil(block_bytes);
    let is_internal = superblock.internal_inodes.contains(&inode.number);
    File {
        number: inode.number.into(),
        kind: match inode.file_type {
            FileType::Regular => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink | FileType::Other => FileKind::Other,
        },
        is_internal: is_internal || inode.is_attribute_value,
        is_immutable: inode.is_immutable,
        size_bytes: inode.size_bytes,
        contents_end_bytes: blocks.saturating_mul(block_bytes),
        cluster_bytes: block_bytes.saturating_mul(superblock.cluster_blocks.into()),
        changed: changed(raw),
        // `i_version` counts no reads, and is part of the identity.
        changes: None,
        inode: raw,
        volatile: volatile(raw),
    }
}

fn file_run(superblock: &Superblock, run: Run) -> Option<FileRun> {
    let extent = superblock.blocks_extent(run.block, run.blocks)?;
    Some(FileRun {
        part: match run.file_block {
            Some(_) => Part::Contents,
            None => Part::Map,
        },
        file_offset_bytes: superblock.byte(run.file_block.unwrap_or(0)),
        extent,
        is_written: run.is_written,
    })
}

/// Whether the inode has the fields before `end`, by `i_extra_isize`.
fn reaches(raw: &[u8], end: usize) -> bool {
    let is_long = raw.len() >= EXTRA.saturating_add(2);
    is_long && EXTRA.saturating_add(le16(raw, EXTRA).into()) >= end && raw.len() >= end
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

/// `i_ctime`, and of `i_ctime_extra` two bits of epoch below thirty of nanoseconds.
fn changed(raw: &[u8]) -> Stamp {
    let seconds = i64::from(le32(raw, 0x0c).cast_signed());
    if !reaches(raw, 0x88) {
        let nanoseconds = 0;
        return Stamp {
            seconds,
            nanoseconds,
        };
    }
    let extra = le32(raw, 0x84);
    Stamp {
        seconds: seconds.saturating_add(i64::from(extra & 3) << 32),
        nanoseconds: extra >> 2,
    }
}
