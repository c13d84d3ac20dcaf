//! Where the contents of regular files are, so that all else that is in use is metadata.
//!
//! XFS Algorithms & Data Structures, "Data Extents": extent lists and the trees (`bmbt`) of long
//! ones.

use super::checksum;
use super::group::Group;
use super::inode::{self, Inode};
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::gather::Gather;

const STRUCTURE: &str = "XFS extent btree block";
const RECORD_LEN: usize = 16;
const FORMAT_EXTENTS: u8 = 2;
const FORMAT_BTREE: u8 = 3;
/// `XFS_BTREE_MAXLEVELS`
const LEVELS_MAX: u16 = 9;

/// The bytes that hold contents of regular files and nothing else; `None` when those are in too
/// many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an inode, or a block that says where one's contents are, fails
/// a check.
pub(super) fn contents(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
    let mut walk = Walk {
        superblock,
        device,
        gather: Gather::new(),
        is_full: false,
        blocks_left: superblock.blocks,
    };
    for number in 0..superblock.groups {
        let group = Group::read(superblock, device, number)?;
        inode::inodes(superblock, device, &group, &mut |inode| walk.inode(inode))?;
        if walk.is_full {
            return Ok(None);
        }
    }
    Ok(walk.gather.finish())
}

struct Walk<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    gather: Gather,
    is_full: bool,
    /// Blocks of trees that may still be read: no block is part of two.
    blocks_left: u64,
}

impl Walk<'_> {
    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let is_internal = self.superblock.internal_inodes.contains(&inode.number);
        if !inode.is_regular() || is_internal || inode.is_realtime() {
            return Ok(());
        }
        match inode.format() {
            FORMAT_EXTENTS => self.list(inode),
            FORMAT_BTREE => self.tree(inode),
            _ => Ok(()),
        }
    }

    fn list(&mut self, inode: &Inode) -> Result<()> {
        let fork = inode.fork();
        let room = fork.len() / RECORD_LEN;
        let count = usize::try_from(inode.extents()).unwrap_or(usize::MAX);
        let expected = format_args!("at most {room}");
        inode.check(count <= room, "di_nextents", expected, count)?;
        for record in fork.chunks_exact(RECORD_LEN).take(count) {
            let found = self.push(record);
            inode.check(found, "extents", "blocks of one group", "others")?;
        }
        Ok(())
    }

    /// Notes the blocks of an extent: its flag, then 54 bits of offset, 52 of block and 21 of
    /// length.
    fn push(&mut self, record: &[u8]) -> bool {
        let (upper, lower) = (be64(record, 0), be64(record, 8));
        let block = (upper & 0x1ff) << 43 | lower >> 21;
        let blocks = u32::try_from(lower & 0x1f_ffff).unwrap_or(0);
        let Some(extent) = self.superblock.numbered(block, blocks) else {
            return false;
        };
        self.is_full |= !self.gather.push(extent);
        true
    }

    fn tree(&mut self, inode: &Inode) -> Result<()> {
        let fork = inode.fork();
        let field = |offset: usize| fork.get(offset..offset.saturating_add(2));
        let [level, records] = [0, 2].map(|offset| field(offset).map_or(0, |raw| be16(raw, 0)));
        let is_valid = (1..=LEVELS_MAX).contains(&level);
        inode.check(is_valid, "bb_level", "1 to 9", level)?;
        let room = fork.len().saturating_sub(4) / RECORD_LEN;
        let records = usize::from(records);
        let is_valid = (1..=room).contains(&records);
        inode.check(is_valid, "bb_numrecs", format_args!("1 to {room}"), records)?;
        let pointers = room.saturating_mul(8).saturating_add(4);
        let pointers = fork.get(pointers..).unwrap_or_default();
        let below = level.saturating_sub(1);
        let mut pending = children(pointers, records, below);
        while let Some((block, level)) = pending.pop() {
            let (raw, header_len) = self.read(inode, block, level)?;
            let body = raw.get(header_len..).unwrap_or_default();
            let room = body.len() / RECORD_LEN;
            let records = usize::from(be16(&raw, 6));
            let is_valid = (1..=room).contains(&records);
            inode.check(is_valid, "bb_numrecs of a block", room, records)?;
            if level > 0 {
                let pointers = body.get(room.saturating_mul(8)..).unwrap_or_default();
                pending.extend(children(pointers, records, level.saturating_sub(1)));
                continue;
            }
            for record in body.chunks_exact(RECORD_LEN).take(records) {
                let found = self.push(record);
                inode.check(found, "extents", "blocks of one group", "others")?;
            }
        }
        Ok(())
    }

    /// A block of the tree, and the length of its header.
    fn read(&mut self, inode: &Inode, block: u64, level: u16) -> Result<(Vec<u8>, usize)> {
        let left = self.blocks_left.checked_sub(1);
        inode.check(left.is_some(), "extents", "a tree without loops", "one")?;
        self.blocks_left = left.unwrap_or(0);
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

/// The blocks that the first `records` of `pointers` name, all of level `level`.
fn children(pointers: &[u8], records: usize, level: u16) -> Vec<(u64, u16)> {
    let pointers = pointers.chunks_exact(8).take(records);
    pointers.map(|pointer| (be64(pointer, 0), level)).collect()
}
