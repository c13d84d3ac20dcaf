//! The used map: what no group's tree of free extents names.
//!
//! XFS Algorithms & Data Structures, "AG Free Space B+trees": the tree that is sorted by block
//! (`bnobt`), with short pointers.

use super::btree::{Shape, Tree};
use super::group::Group;
use super::superblock::Superblock;
use crate::bytes::be32;
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

static SHAPE: Shape = Shape {
    structure: "XFS free space btree block",
    magic: [*b"ABTB", *b"AB3B"],
    record_len: 8,
    key_len: 8,
};

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
        let tree = Tree {
            superblock,
            device,
            group: &group,
            shape: &SHAPE,
            root: group.root,
            levels: group.levels,
            gaps: None,
        };
        let mut walk = Walk {
            tree: &tree,
            taken: taken(superblock, &group),
            map: &mut map,
            next_block: 0,
            free_blocks: 0,
            longest_blocks: 0,
        };
        tree.records(&mut |record, block_bytes| {
            walk.free(block_bytes, be32(record, 0), be32(record, 4))
        })?;
        walk.finish()?;
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

struct Walk<'a> {
    tree: &'a Tree<'a>,
    taken: ExtentMap,
    map: &'a mut ExtentMapBuilder,
    /// The first block of which it isn't known yet whether it is free.
    next_block: u32,
    free_blocks: u64,
    longest_blocks: u32,
}

impl Walk<'_> {
    /// Notes `blocks` free blocks from `start` on.
    fn free(&mut self, block_bytes: u64, start: u32, blocks: u32) -> Result<()> {
        let end = start.checked_add(blocks);
        let is_inside = end.is_some_and(|end| end <= self.tree.group.blocks);
        let is_valid = blocks > 0 && is_inside && start >= self.next_block;
        let found = format_args!("{blocks} blocks from {start} on");
        let expected = format_args!(
            "free blocks from {} to {}",
            self.next_block, self.tree.group.blocks
        );
        let field = ("records", block_bytes);
        self.tree.check(is_valid, field, expected, found)?;
        let number = self.tree.group.number;
        let extent = self.tree.superblock.extent(number, start, blocks);
        let is_taken = extent.is_some_and(|extent| self.taken.overlaps(extent));
        let expected = "headers, roots, AGFL and log in use";
        self.tree.check(!is_taken, field, expected, found)?;
        self.push_used(start);
        self.next_block = start.saturating_add(blocks);
        self.free_blocks = self.free_blocks.saturating_add(blocks.into());
        self.longest_blocks = self.longest_blocks.max(blocks);
        Ok(())
    }

    /// Notes the blocks up to `end` as used.
    fn push_used(&mut self, end: u32) {
        let blocks = end.saturating_sub(self.next_block);
        let number = self.tree.group.number;
        let used = self.tree.superblock.extent(number, self.next_block, blocks);
        used.into_iter().for_each(|used| self.map.push(used));
    }

    fn finish(&mut self) -> Result<()> {
        self.push_used(self.tree.group.blocks);
        let agf_bytes = self.tree.group.agf_bytes;
        let agf = |is_valid, field, expected: u64, found: u32| {
            if is_valid {
                return Ok(());
            }
            let expected = format!("{expected} as in the free space btree");
            Err(Corrupt::new("XFS AGF", field, agf_bytes, expected, found))
        };
        let (tree, counter) = (self.free_blocks, self.tree.group.free_blocks);
        agf(tree == u64::from(counter), "agf_freeblks", tree, counter)?;
        let (tree, counter) = (self.longest_blocks, self.tree.group.longest_blocks);
        agf(tree == counter, "agf_longest", tree.into(), counter)?;
        Ok(())
    }
}
