//! Entries of directories, read linearly; blocks of a hash tree look like empty ones.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Directory Entries".

use super::blockmap::{BlockMaps, Run};
use super::checksum::crc32c;
use super::inode::{FileType, Inode};
use super::superblock::Superblock;
use crate::bytes::{le16, le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::owners::Gaps;

const HEADER_LEN: usize = 8;
const TAIL_LEN: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// A name in a directory and the inode that it stands for.
pub(super) struct Entry<'a> {
    pub(super) inode: u32,
    pub(super) name: &'a [u8],
}

/// Told of each entry; whether to go on.
pub(super) type Visit<'a> = dyn FnMut(Entry<'_>) -> bool + 'a;

/// Reads directories, and altogether no more blocks than it was allowed.
pub(super) struct Directories<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    maps: BlockMaps<'a>,
    gaps: &'a Gaps,
    blocks_left: u64,
}

impl<'a> Directories<'a> {
    pub(super) const fn new(
        superblock: &'a Superblock,
        device: &'a dyn ReadAt,
        gaps: &'a Gaps,
        blocks_max: u64,
    ) -> Self {
        let maps = BlockMaps::new(superblock, device);
        Self {
            superblock,
            device,
            maps,
            gaps,
            blocks_left: blocks_max,
        }
    }

    /// Visits the entries of directory `inode`, "." and ".." included. Of a directory that is
    /// kept inside its inode, the part in `i_block` is read. Blocks that fail their check are noted
    /// as gaps, and left out.
    pub(super) fn visit(&mut self, inode: &Inode, visit: &mut Visit<'_>) {
        let visited = self.visit_all(inode, visit);
        self.gaps.tolerate(visited);
    }

    fn visit_all(&mut self, inode: &Inode, visit: &mut Visit<'_>) -> Result<()> {
        if inode.file_type != FileType::Directory {
            return Ok(());
        }
        if !inode.has_blocks {
            let parent = Entry {
                inode: le32(&inode.block_map, 0),
                name: b"..",
            };
            if visit(parent) {
                entries(inode, inode.block_map.get(4..).unwrap_or_default(), visit)?;
            }
            return Ok(());
        }
        let mut runs = Vec::new();
        // Runs of a directory within its size fit memory: 2 GiB at most without large_dir.
        let blocks_max = inode
            .size_bytes
            .div_ceil(self.superblock.block_bytes.into());
        let runs_max = usize::try_from(blocks_max.min(1 << 20)).unwrap_or(1 << 20);
        let mapped = self.maps.visit(inode, &mut |run| {
            runs.extend(run.file_block.is_some().then_some(run));
            runs.len() < runs_max
        });
        self.gaps.tolerate(mapped);
        for run in runs {
            if !self.visit_run(inode, run, visit)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn visit_run(&mut self, inode: &Inode, run: Run, visit: &mut Visit<'_>) -> Result<bool> {
        let len = usize::try_from(self.superblock.block_bytes).unwrap_or(usize::MAX);
        for block in run.block..run.block.saturating_add(run.blocks) {
            let Some(left) = self.blocks_left.checked_sub(1) else {
                let expected = "no more directory blocks than the filesystem has blocks";
                return Err(inode.corrupt("i_block", expected, "more").into());
            };
            self.blocks_left = left;
            let raw = read_vec(self.device, self.superblock.byte(block), len)?;
            let checked = if self.superblock.features.has_metadata_csum() {
                check_tail(inode, &raw)
            } else {
                Ok(())
            };
            let visited = checked.and_then(|()| entries(inode, &raw, visit));
            if self.gaps.tolerate(visited) == Some(false) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn check_tail(inode: &Inode, raw: &[u8]) -> Result<()> {
    let covered_len = raw.len().saturating_sub(TAIL_LEN);
    let (covered, tail) = raw.split_at(covered_len);
    let is_tail = le32(tail, 0) == 0 && le16(tail, 4) == 12 && u8_at(tail, 7) == TAIL_TYPE;
    let computed = crc32c(inode.checksum_seed, covered);
    if !is_tail || is_hash_block(raw) || le32(tail, 8) == computed {
        return Ok(());
    }
    let found = format!("{:#x}", le32(tail, 8));
    Err(inode
        .corrupt("det_checksum", format!("{computed:#x}"), found)
        .into())
}

/// Whether a block is the root or a node of a hash tree, whose last entry reaches over the place of
/// the tail, and which may still hold there what was a tail before.
fn is_hash_block(raw: &[u8]) -> bool {
    let first = record_len(le16(raw, 4), raw.len());
    let second = record_len(le16(raw, 16), raw.len());
    first == raw.len() || first == 12 && second == raw.len().saturating_sub(12)
}

fn entries(inode: &Inode, mut raw: &[u8], visit: &mut Visit<'_>) -> Result<bool> {
    let block_len = raw.len();
    while raw.len() >= HEADER_LEN {
        let len = record_len(le16(raw, 4), block_len);
        let name_end = HEADER_LEN.saturating_add(usize::from(u8_at(raw, 6)));
        let number = le32(raw, 0);
        let (Some(rest), true) = (raw.get(len..), len >= HEADER_LEN) else {
            let expected = format!("{HEADER_LEN} to {}", raw.len());
            return Err(inode.corrupt("rec_len", expected, len).into());
        };
        if number != 0 {
            let Some(name) = raw.get(HEADER_LEN..name_end.min(len)) else {
                return Err(inode.corrupt("name_len", len, name_end).into());
            };
            if !visit(Entry {
                inode: number,
                name,
            }) {
                return Ok(false);
            }
        }
        raw = rest;
    }
    Ok(true)
}

/// The length of an entry: blocks of 64 KiB need 17 bits, the low two of which are spare.
fn record_len(stored: u16, block_len: usize) -> usize {
    if block_len < 1 << 16 {
        return stored.into();
    }
    match stored {
        0 | u16::MAX => block_len,
        _ => usize::from(stored & !3) | usize::from(stored & 3) << 16,
    }
}
