//! Where the parts of a file are: extent lists and the trees (`bmbt`) of long ones.
//!
//! XFS Algorithms & Data Structures, "Data Extents".

use super::checksum;
use super::inode::{Fork, Inode};
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::owners::Gaps;

const STRUCTURE: &str = "XFS extent btree block";
const RECORD_LEN: usize = 16;
const FORMAT_EXTENTS: u8 = 2;
const FORMAT_BTREE: u8 = 3;
/// `XFS_BTREE_MAXLEVELS`
const LEVELS_MAX: u16 = 9;

/// Blocks that follow each other both in a fork and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block within the fork.
    pub(super) file_block: u64,
    pub(super) extent: Extent,
    /// Whether the blocks were written since they were allocated.
    pub(super) is_written: bool,
}

/// Told of each run; whether to go on.
pub(super) type Visit<'a> = dyn FnMut(Run) -> bool + 'a;

/// Reads extents of inodes, and altogether no more blocks of trees than the filesystem has.
pub(super) struct Bmaps<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    blocks_left: u64,
    /// Where blocks that fail a check are noted; without it, they are errors.
    gaps: Option<&'a Gaps>,
}

impl<'a> Bmaps<'a> {
    pub(super) const fn new(superblock: &'a Superblock, device: &'a dyn ReadAt) -> Self {
        Self {
            superblock,
            device,
            blocks_left: superblock.blocks,
            gaps: None,
        }
    }

    /// Goes on where a block of a tree fails a check.
    pub(super) const fn tolerant(mut self, gaps: &'a Gaps) -> Self {
        self.gaps = Some(gaps);
        self
    }

    /// Visits the runs of a fork in order, those not yet written included.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the fork fails its checks, points outside of the volume or
    /// visits more blocks than there are.
    pub(super) fn visit(
        &mut self,
        inode: &Inode,
        fork: &Fork<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        match fork.format {
            FORMAT_EXTENTS => self.list(inode, fork, visit),
            FORMAT_BTREE => self.tree(inode, fork, visit),
            _ => Ok(()),
        }
    }

    fn list(&self, inode: &Inode, fork: &Fork<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let room = fork.raw.len() / RECORD_LEN;
        let count = usize::try_from(fork.extents).unwrap_or(usize::MAX);
        let expected = format_args!("at most {room}");
        inode.check(count <= room, "di_nextents", expected, count)?;
        for record in fork.raw.chunks_exact(RECORD_LEN).take(count) {
            if !self.record(inode, record, visit)? {
                break;
            }
        }
        Ok(())
    }

    /// An extent: its flag, then 54 bits of offset, 52 of block and 21 of length.
    fn record(&self, inode: &Inode, record: &[u8], visit: &mut Visit<'_>) -> Result<bool> {
        let (upper, lower) = (be64(record, 0), be64(record, 8));
        let block = (upper & 0x1ff) << 43 | lower >> 21;
        let blocks = u32::try_from(lower & 0x1f_ffff).unwrap_or(0);
        let extent = self.superblock.numbered(block, blocks);
        let Some(extent) = extent else {
            let found = inode.check(false, "extents", "blocks of one group", "others");
            return self.tolerate(found).map(|()| true);
        };
        let file_block = upper << 1 >> 10;
        let is_written = upper >> 63 == 0;
        Ok(visit(Run {
            file_block,
            extent,
            is_written,
        }))
    }

    fn tolerate(&self, result: Result<()>) -> Result<()> {
        match self.gaps {
            Some(gaps) => gaps.tolerate(result).map_or(Ok(()), Ok),
            None => result,
        }
    }

    fn tree(&mut self, inode: &Inode, fork: &Fork<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let raw = fork.raw;
        let field = |offset: usize| raw.get(offset..offset.saturating_add(2));
        let [level, records] = [0, 2].map(|offset| field(offset).map_or(0, |raw| be16(raw, 0)));
        let is_valid = (1..=LEVELS_MAX).contains(&level);
        inode.check(is_valid, "bb_level", "1 to 9", level)?;
        let room = raw.len().saturating_sub(4) / RECORD_LEN;
        let records = usize::from(records);
        let is_valid = (1..=room).contains(&records);
        inode.check(is_valid, "bb_numrecs", format_args!("1 to {room}"), records)?;
        let pointers = room.saturating_mul(8).saturating_add(4);
        let pointers = raw.get(pointers..).unwrap_or_default();
        let below = level.saturating_sub(1);
        let mut pending = children(pointers, records, below);
        while let Some(node) = pending.pop() {
            let left = self.blocks_left.checked_sub(1);
            inode.check(left.is_some(), "extents", "a tree without loops", "one")?;
            self.blocks_left = left.unwrap_or(0);
            match self.node(inode, node, &mut pending, visit) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.tolerate(Err(error))?,
            }
        }
        Ok(())
    }

    fn node(
        &self,
        inode: &Inode,
        (block, level): (u64, u16),
        pending: &mut Vec<(u64, u16)>,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        let (raw, header_len) = self.read(inode, block, level)?;
        let body = raw.get(header_len..).unwrap_or_default();
        let room = body.len() / RECORD_LEN;
        let records = usize::from(be16(&raw, 6));
        let is_valid = (1..=room).contains(&records);
        inode.check(is_valid, "bb_numrecs of a block", room, records)?;
        if level > 0 {
            let pointers = body.get(room.saturating_mul(8)..).unwrap_or_default();
            pending.extend(children(pointers, records, level.saturating_sub(1)));
            return Ok(true);
        }
        for record in body.chunks_exact(RECORD_LEN).take(records) {
            if !self.record(inode, record, visit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A block of the tree, and the length of its header.
    fn read(&self, inode: &Inode, block: u64, level: u16) -> Result<(Vec<u8>, usize)> {
        let extent = self.superblock.numbered(block, 1);
        let expected = "blocks of the volume";
        inode.check(extent.is_some(), "bb_ptrs", expected, block)?;
        let offset_bytes = extent.map_or(0, Extent::offset_bytes);
        let len = usize::try_from(self.superblock.block_bytes).unwrap_or(usize::MAX);
        let raw = read_vec(self.device, offset_bytes, len)?;
        let is_v5 = self.superblock.features.is_v5();
        let magic = u32::from_be_bytes(if is_v5 { *b"BMA3" } else { *b"BMAP" });
        let bad = |field, expected: u64, found: u64| {
            let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
            Err(Corrupt::new(STRUCTURE, field, offset_bytes, expected, found).into())
        };
        if be32(&raw, 0) != magic {
            return bad("bb_magic", magic.into(), be32(&raw, 0).into());
        }
        if be16(&raw, 4) != level {
            return bad("bb_level", level.into(), be16(&raw, 4).into());
        }
        if !is_v5 {
            return Ok((raw, 24));
        }
        checksum::check(STRUCTURE, offset_bytes, &raw, 64)?;
        if be64(&raw, 24) != offset_bytes / 512 {
            return bad("bb_blkno", offset_bytes / 512, be64(&raw, 24));
        }
        if be64(&raw, 56) != inode.number {
            return bad("bb_owner", inode.number, be64(&raw, 56));
        }
        Ok((raw, 72))
    }
}

/// The blocks that the first `records` of `pointers` name, all of level `level`, the last first.
fn children(pointers: &[u8], records: usize, level: u16) -> Vec<(u64, u16)> {
    let pointers = pointers.chunks_exact(8).take(records);
    let mut children: Vec<_> = pointers.map(|pointer| (be64(pointer, 0), level)).collect();
    children.reverse();
    children
}
