//! The used map: what no group's tree of free extents names.
//!
//! XFS Algorithms & Data Structures, "AG Free Space B+trees": the tree that is sorted by block
//! (`bnobt`), with short pointers; `xfs_alloc_rec`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::AgBlock;
use super::btree::{Shape, Tree};
use super::group::FreeSpace;
use super::superblock::Superblock;
use crate::bytes::be32;
use crate::device::ReadAt;
use crate::error::{Checked, Corrupt, Result};
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
    for number in superblock.group_numbers() {
        let space = FreeSpace::read(superblock, device, number)?;
        let tree = Tree {
            superblock,
            device,
            group: space.group,
            shape: &SHAPE,
            root: space.tree,
            gaps: None,
        };
        let mut walk = Walk {
            tree: &tree,
            taken: taken(superblock, &space),
            space: &space,
            map: &mut map,
            next: AgBlock(0),
            free_blocks: 0,
            longest_blocks: 0,
        };
        tree.records(&mut |record, block_bytes| {
            let ar_startblock = AgBlock(be32(record, 0));
            let ar_blockcount = be32(record, 4);
            walk.free(block_bytes, ar_startblock, ar_blockcount)
        })?;
        walk.end()?;
    }
    Ok(map.finish())
}

/// The bytes of the group that can't be free: headers, roots, AGFL and log.
fn taken(superblock: &Superblock, space: &FreeSpace) -> ExtentMap {
    let number = space.group.number;
    let start_bytes = superblock.group_byte(number, AgBlock(0));
    let headers = Extent::new(start_bytes, superblock.header_bytes());
    let blocks = space.taken.iter();
    let blocks = blocks.filter_map(|&block| superblock.extent(number, block, 1));
    blocks.chain(headers).chain(superblock.log).collect()
}

struct Walk<'a> {
    tree: &'a Tree<'a>,
    space: &'a FreeSpace,
    taken: ExtentMap,
    map: &'a mut ExtentMapBuilder,
    /// The first block that may be free or not: nothing told so far.
    next: AgBlock,
    free_blocks: u64,
    longest_blocks: u32,
}

impl Walk<'_> {
    /// Notes `blocks` free blocks from `start` on, as the tree's block at `block_bytes` has them.
    fn free(&mut self, block_bytes: u64, start: AgBlock, blocks: u32) -> Result<()> {
        let (tree, group) = (self.tree, self.space.group);
        let extent = tree.superblock.extent(group.number, start, blocks);
        let found = format_args!("{blocks} blocks from {start} on");
        let Some(extent) = extent.filter(|_| start >= self.next) else {
            let expected = format_args!("free blocks from {} to {}", self.next, group.blocks);
            let corrupt = tree
                .structure(block_bytes)
                .corrupt("records", expected, found);
            return Err(corrupt.into());
        };
        let is_taken = self.taken.overlaps(extent);
        let expected = "headers, roots, AGFL and log in use";
        tree.structure(block_bytes)
            .check(!is_taken, "records", expected, found)?;
        self.push_used(start);
        // The extent ends within the group, and none overlaps another.
        self.next = AgBlock(start.0 + blocks);
        self.free_blocks += u64::from(blocks);
        self.longest_blocks = self.longest_blocks.max(blocks);
        Ok(())
    }

    /// Notes the blocks up to `end` as used.
    fn push_used(&mut self, end: AgBlock) {
        let number = self.space.group.number;
        let [start, end] = [self.next, end].map(|at| self.tree.superblock.group_byte(number, at));
        Extent::between(start, end)
            .into_iter()
            .for_each(|used| self.map.push(used));
    }

    /// Notes what is used behind the last free block, and compares the counters of the group.
    fn end(&mut self) -> Checked {
        self.push_used(AgBlock(self.space.group.blocks));
        let agf = |field, tree: u64, counter: u32| {
            if tree == counter.into() {
                return Ok(());
            }
            let expected = format!("{tree} as in the free space btree");
            let agf_bytes = self.space.agf_bytes;
            Err(Corrupt::new("XFS AGF", field, agf_bytes, expected, counter))
        };
        agf("agf_freeblks", self.free_blocks, self.space.free_blocks)?;
        let longest = self.longest_blocks.into();
        agf("agf_longest", longest, self.space.longest_blocks)
    }
}
