//! The used map: what no group's tree of free extents names.
//!
//! XFS Algorithms & Data Structures, "AG Free Space B+trees": the tree that is sorted by block
//! (`bnobt`), with short pointers.

use super::checksum;
use super::group::Group;
use super::superblock::{Superblock, uuid};
use crate::bytes::{be16, be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

const STRUCTURE: &str = "XFS free space btree block";
const NULL_BLOCK: u32 = u32::MAX;

/// Every byte that the filesystem has in use, its own structures included. What lies past its
/// end is not part of it.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a group's header or a block of its tree fails a check, when the
/// tree and the counters of the AGF disagree, or when the tree names a structure as free.
pub(super) fn used(superblock: &Superblock, device: &dyn ReadAt) -> Result<ExtentMap> {
    let mut map = ExtentMapBuilder::new();
    for number in 0..superblock.groups {
        let group = Group::read(superblock, device, number)?;
        let taken = taken(superblock, &group);
        let mut walk = Walk {
            superblock,
            device,
            group: &group,
            taken,
            map: &mut map,
            next_block: 0,
            free_blocks: 0,
            longest_blocks: 0,
            right: None,
        };
        walk.tree()?;
    }
    Ok(map.finish())
}

/// What of the group can't be free: headers, roots, AGFL and log.
fn taken(superblock: &Superblock, group: &Group) -> ExtentMap {
    let start_bytes = superblock.group_byte(group.number, 0);
    let headers = Extent::new(start_bytes, superblock.header_bytes());
    let blocks = group.taken.iter();
    let blocks = blocks.filter_map(|&block| superblock.extent(group.number, block, 1));
    let log = superblock.log_extent();
    blocks.chain(headers).chain(log).collect()
}

/// A block of the tree.
struct Node {
    offset_bytes: u64,
    raw: Vec<u8>,
    header_len: usize,
    records: usize,
}

struct Walk<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    group: &'a Group,
    taken: ExtentMap,
    map: &'a mut ExtentMapBuilder,
    /// The first block of which it isn't known yet whether it is free.
    next_block: u32,
    free_blocks: u64,
    longest_blocks: u32,
    /// The leaf that must come next: of the last one, where it says it is and which its sibling.
    right: Option<u32>,
}

impl Walk<'_> {
    /// Walks the tree in the order of blocks.
    ///
    /// It ends: levels decrease on the way down, and each leaf has at least one extent, which
    /// lies after all earlier ones.
    fn tree(&mut self) -> Result<()> {
        let mut pending = vec![(self.group.root, self.group.levels.saturating_sub(1))];
        while let Some((block, level)) = pending.pop() {
            let node = self.read(block, level)?;
            if level == 0 {
                self.leaf(&node, block)?;
            } else {
                let children = self.children(&node)?;
                let below = level.saturating_sub(1);
                pending.extend(children.into_iter().rev().map(|child| (child, below)));
            }
        }
        self.finish()
    }

    fn read(&self, block: u32, level: u32) -> Result<Node> {
        let superblock = self.superblock;
        let offset_bytes = superblock.group_byte(self.group.number, block);
        let len = usize::try_from(superblock.block_bytes).unwrap_or(usize::MAX);
        let raw = read_vec(self.device, offset_bytes, len)?;
        let header_len = self.check_identity(&raw, offset_bytes)?;
        let found = be16(&raw, 4);
        let is_valid = u32::from(found) == level;
        check(is_valid, ("bb_level", offset_bytes), level, found)?;
        let record_len = if level == 0 { 8 } else { 12 };
        let room = len.saturating_sub(header_len) / record_len;
        let records = usize::from(be16(&raw, 6));
        // An empty root is a group without free space.
        let is_empty_root = level == 0 && self.group.levels == 1;
        let is_valid = records <= room && (records > 0 || is_empty_root);
        let expected = format!("1 to {room}");
        check(is_valid, ("bb_numrecs", offset_bytes), expected, records)?;
        Ok(Node {
            offset_bytes,
            raw,
            header_len,
            records,
        })
    }

    /// Checks what a block says of itself, and gives the length of its header.
    fn check_identity(&self, raw: &[u8], offset_bytes: u64) -> Result<usize> {
        let is_v5 = self.superblock.features.is_v5();
        let magic = u32::from_be_bytes(if is_v5 { *b"AB3B" } else { *b"ABTB" });
        let expected = format!("{magic:#x}");
        let found = be32(raw, 0);
        check(found == magic, ("bb_magic", offset_bytes), expected, found)?;
        if !is_v5 {
            return Ok(16);
        }
        checksum::check(STRUCTURE, offset_bytes, raw, 52)?;
        // Disk addresses count 512 bytes whatever the sector.
        let (expected, found) = (offset_bytes / 512, be64(raw, 16));
        let is_valid = expected == found;
        check(is_valid, ("bb_blkno", offset_bytes), expected, found)?;
        let (expected, found) = (self.group.number, be32(raw, 48));
        let is_valid = expected == found;
        check(is_valid, ("bb_owner", offset_bytes), expected, found)?;
        let is_valid = uuid(raw, 32) == self.superblock.meta_uuid;
        let found = be32(raw, 32);
        check(
            is_valid,
            ("bb_uuid", offset_bytes),
            "the superblock's",
            found,
        )?;
        Ok(56)
    }

    fn children(&self, node: &Node) -> Result<Vec<u32>> {
        // Pointers come after room for as many keys as fit.
        let room = node.raw.len().saturating_sub(node.header_len) / 12;
        let pointers = room.saturating_mul(8).saturating_add(node.header_len);
        let pointers = node.raw.get(pointers..).unwrap_or_default();
        let children = pointers.chunks_exact(4).take(node.records);
        let children: Vec<u32> = children.map(|pointer| be32(pointer, 0)).collect();
        for &child in &children {
            let is_valid = self.group.is_block(self.superblock, child);
            let field = ("pointers", node.offset_bytes);
            check(is_valid, field, "a block of the group", child)?;
        }
        Ok(children)
    }

    fn leaf(&mut self, node: &Node, block: u32) -> Result<()> {
        if let Some(expected) = self.right {
            let is_valid = expected == block;
            check(
                is_valid,
                ("bb_rightsib", node.offset_bytes),
                expected,
                block,
            )?;
        }
        self.right = Some(be32(&node.raw, 12));
        let records = node.raw.get(node.header_len..).unwrap_or_default();
        for record in records.chunks_exact(8).take(node.records) {
            self.free(node, be32(record, 0), be32(record, 4))?;
        }
        Ok(())
    }

    /// Notes `blocks` free blocks from `start` on.
    fn free(&mut self, node: &Node, start: u32, blocks: u32) -> Result<()> {
        let end = start.checked_add(blocks);
        let is_inside = end.is_some_and(|end| end <= self.group.blocks);
        let is_valid = blocks > 0 && is_inside && start >= self.next_block;
        let found = format!("{blocks} blocks from {start} on");
        let expected = format!(
            "free blocks after {} and before {}",
            self.next_block, self.group.blocks
        );
        check(is_valid, ("records", node.offset_bytes), expected, &found)?;
        let extent = self.superblock.extent(self.group.number, start, blocks);
        let is_taken = extent.is_some_and(|extent| self.taken.overlaps(extent));
        let expected = "headers, roots, AGFL and log in use";
        check(!is_taken, ("records", node.offset_bytes), expected, found)?;
        self.push_used(start);
        self.next_block = start.saturating_add(blocks);
        self.free_blocks = self.free_blocks.saturating_add(blocks.into());
        self.longest_blocks = self.longest_blocks.max(blocks);
        Ok(())
    }

    /// Notes the blocks up to `end` as used.
    fn push_used(&mut self, end: u32) {
        let blocks = end.saturating_sub(self.next_block);
        let used = self
            .superblock
            .extent(self.group.number, self.next_block, blocks);
        used.into_iter().for_each(|used| self.map.push(used));
    }

    fn finish(&mut self) -> Result<()> {
        self.push_used(self.group.blocks);
        let agf_bytes = self.group.agf_bytes;
        let agf = |is_valid, field, expected: u64, found: u32| {
            if is_valid {
                return Ok(());
            }
            let expected = format!("{expected} as in the free space btree");
            Err(Corrupt::new("XFS AGF", field, agf_bytes, expected, found))
        };
        let (tree, counter) = (self.free_blocks, self.group.free_blocks);
        agf(tree == u64::from(counter), "agf_freeblks", tree, counter)?;
        let (tree, counter) = (self.longest_blocks, self.group.longest_blocks);
        agf(tree == counter, "agf_longest", tree.into(), counter)?;
        let right = self.right.unwrap_or(NULL_BLOCK);
        let offset_bytes = self
            .superblock
            .group_byte(self.group.number, self.group.root);
        let is_last = right == NULL_BLOCK;
        check(is_last, ("bb_rightsib", offset_bytes), NULL_BLOCK, right)?;
        Ok(())
    }
}

fn check(
    is_valid: bool,
    (field, offset_bytes): (&'static str, u64),
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> std::result::Result<(), Corrupt> {
    if is_valid {
        return Ok(());
    }
    Err(Corrupt::new(
        STRUCTURE,
        field,
        offset_bytes,
        expected,
        found,
    ))
}
