//! Which blocks a file maps: extent trees and indirect blocks, in bounded time.

use super::checksum::crc32c;
use super::inode::Inode;
use super::superblock::{Checked, Superblock};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;

const EXTENT_MAGIC: u16 = 0xf30a;
const DEPTH_MAX: u16 = 5;
const ENTRY_LEN: usize = 12;
/// `ee_len` above this marks blocks that are allocated and not yet written.
const WRITTEN_MAX: u16 = 1 << 15;

/// Blocks that follow each other both in a file and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block within the file; `None` for a block of the map itself.
    pub(super) file_block: Option<u64>,
    pub(super) block: u64,
    pub(super) blocks: u64,
    /// Whether the blocks were written since they were allocated.
    pub(super) is_written: bool,
}

/// Told of each run; whether to go on.
pub(super) type Visit<'a> = dyn FnMut(Run) -> bool + 'a;

/// Reads block maps of inodes, and altogether no more of their blocks than the filesystem has.
pub(super) struct BlockMaps<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    nodes_left: u64,
}

/// A node of an extent tree, checked but for what it points at.
struct Node<'a> {
    raw: &'a [u8],
    depth: u16,
    entries: u16,
}

impl<'a> BlockMaps<'a> {
    pub(super) const fn new(superblock: &'a Superblock, device: &'a dyn ReadAt) -> Self {
        Self {
            superblock,
            device,
            nodes_left: superblock.blocks,
        }
    }

    /// Visits every run of `inode` in order, blocks of the map itself included; whether all were
    /// visited.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the map fails its checks, points outside the filesystem or
    /// visits more blocks than there are.
    pub(super) fn visit(&mut self, inode: &Inode, visit: &mut Visit<'_>) -> Result<bool> {
        if !inode.has_blocks {
            return Ok(true);
        }
        if inode.has_extents {
            let root = self.node(inode, &inode.block_map, None)?;
            return self.visit_node(inode, &root, visit);
        }
        let mut file_block = 0_u64;
        for slot in 0..15 {
            let block = le32(&inode.block_map, slot * 4);
            let level = u32::try_from(slot).unwrap_or(0).saturating_sub(11);
            if !self.visit_indirect(inode, (block, level), file_block, visit)? {
                return Ok(false);
            }
            file_block = file_block.saturating_add(self.reach(level));
        }
        Ok(true)
    }

    /// The block of the volume that holds the first block of the file.
    pub(super) fn first_block(&mut self, inode: &Inode) -> Result<Option<u64>> {
        let mut first = None;
        self.visit(inode, &mut |run| {
            if run.file_block == Some(0) {
                first = Some(run.block);
            }
            run.file_block.is_none()
        })?;
        Ok(first)
    }

    /// File blocks below one pointer of an indirection level; 1 for a direct one.
    fn reach(&self, level: u32) -> u64 {
        u64::from(self.superblock.block_bytes / 4).saturating_pow(level)
    }

    fn visit_indirect(
        &mut self,
        inode: &Inode,
        (block, level): (u32, u32),
        file_block: u64,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        if block == 0 {
            return Ok(true);
        }
        let block = u64::from(block);
        self.check_blocks(inode, block, 1)?;
        if level == 0 {
            return Ok(visit(Run {
                file_block: Some(file_block),
                block,
                blocks: 1,
                is_written: true,
            }));
        }
        let raw = self.read(inode, block)?;
        if !visit(Run {
            file_block: None,
            block,
            blocks: 1,
            is_written: true,
        }) {
            return Ok(false);
        }
        let below = level.saturating_sub(1);
        let mut file_block = file_block;
        for pointer in raw.as_chunks::<4>().0 {
            let child = (u32::from_le_bytes(*pointer), below);
            if !self.visit_indirect(inode, child, file_block, visit)? {
                return Ok(false);
            }
            file_block = file_block.saturating_add(self.reach(below));
        }
        Ok(true)
    }

    fn visit_node(
        &mut self,
        inode: &Inode,
        node: &Node<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        let entries = node.raw.as_chunks::<ENTRY_LEN>().0.iter().skip(1);
        for entry in entries.take(node.entries.into()) {
            let goes_on = if node.depth == 0 {
                let run = leaf(entry);
                self.check_blocks(inode, run.block, run.blocks)?;
                visit(run)
            } else {
                self.visit_child(inode, node.depth, entry, visit)?
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn visit_child(
        &mut self,
        inode: &Inode,
        depth: u16,
        entry: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        let block = u64::from(le16(entry, 8)) << 32 | u64::from(le32(entry, 4));
        self.check_blocks(inode, block, 1)?;
        let raw = self.read(inode, block)?;
        if !visit(Run {
            file_block: None,
            block,
            blocks: 1,
            is_written: true,
        }) {
            return Ok(false);
        }
        let child = self.node(inode, &raw, Some(depth.saturating_sub(1)))?;
        self.visit_node(inode, &child, visit)
    }

    /// Checks the header of the node in `raw`, whose depth its parent gives.
    fn node<'n>(&self, inode: &Inode, raw: &'n [u8], depth: Option<u16>) -> Result<Node<'n>> {
        let (magic, entries, max) = (le16(raw, 0), le16(raw, 2), le16(raw, 4));
        let found_depth = le16(raw, 6);
        let fitting = raw.len() / ENTRY_LEN - 1;
        if magic != EXTENT_MAGIC {
            let expected = format!("{EXTENT_MAGIC:#x}");
            return Err(inode
                .corrupt("eh_magic", expected, format!("{magic:#x}"))
                .into());
        }
        if entries > max || usize::from(max) > fitting {
            let found = format!("{entries} of {max}");
            return Err(inode
                .corrupt("eh_entries", format!("at most {fitting}"), found)
                .into());
        }
        if depth.map_or(found_depth > DEPTH_MAX, |depth| found_depth != depth) {
            let expected = depth.unwrap_or(DEPTH_MAX);
            return Err(inode.corrupt("eh_depth", expected, found_depth).into());
        }
        if depth.is_some() && self.superblock.features.has_metadata_csum() {
            check_node_checksum(inode, raw, max)?;
        }
        Ok(Node {
            raw,
            depth: found_depth,
            entries,
        })
    }

    fn read(&mut self, inode: &Inode, block: u64) -> Result<Vec<u8>> {
        let Some(left) = self.nodes_left.checked_sub(1) else {
            let expected = "no more map blocks than the filesystem has blocks";
            return Err(inode.corrupt("i_block", expected, "more, in a loop").into());
        };
        self.nodes_left = left;
        let len = usize::try_from(self.superblock.block_bytes).unwrap_or(usize::MAX);
        read_vec(self.device, self.superblock.byte(block), len)
    }

    fn check_blocks(&self, inode: &Inode, block: u64, blocks: u64) -> Checked {
        let end = block.checked_add(blocks);
        let is_inside = end.is_some_and(|end| end <= self.superblock.blocks);
        if is_inside && block > self.superblock.first_data_block {
            return Ok(());
        }
        let expected = format!("blocks below {}", self.superblock.blocks);
        Err(inode.corrupt("i_block", expected, format!("{blocks} from {block}")))
    }
}

fn leaf(entry: &[u8]) -> Run {
    let len = le16(entry, 4);
    let is_unwritten = len > WRITTEN_MAX;
    let blocks = if is_unwritten {
        len.saturating_sub(WRITTEN_MAX)
    } else {
        len
    };
    Run {
        file_block: Some(le32(entry, 0).into()),
        block: u64::from(le16(entry, 6)) << 32 | u64::from(le32(entry, 8)),
        blocks: blocks.into(),
        is_written: !is_unwritten,
    }
}

fn check_node_checksum(inode: &Inode, raw: &[u8], max: u16) -> Checked {
    let tail = usize::from(max).saturating_add(1).saturating_mul(ENTRY_LEN);
    let (Some(covered), Some(stored)) = (raw.get(..tail), raw.get(tail..tail.saturating_add(4)))
    else {
        return Err(inode.corrupt("eh_max", "room for a checksum", max));
    };
    let (stored, computed) = (le32(stored, 0), crc32c(inode.checksum_seed, covered));
    if stored == computed {
        return Ok(());
    }
    let expected = format!("{computed:#x}");
    Err(inode.corrupt("et_checksum", expected, format!("{stored:#x}")))
}
