//! Items of the extent tree, each checked against the one before it and against its chunk.
//!
//! `struct btrfs_extent_item` (btrfs on-disk format, "EXTENT_ITEM", "METADATA_ITEM").

use super::address::{Logical, LogicalRange};
use super::chunk::{Chunk, DATA, METADATA, SYSTEM};
use super::tree::{Item, Tree};
use crate::bytes::le64;
use crate::error::Result;

/// `BTRFS_EXTENT_ITEM_KEY`, `BTRFS_METADATA_ITEM_KEY`.
pub(super) const EXTENT_ITEM: u8 = 168;
pub(super) const METADATA_ITEM: u8 = 169;
/// `BTRFS_BLOCK_GROUP_ITEM_KEY`.
pub(super) const BLOCK_GROUP_ITEM: u8 = 192;
/// Owners and references that stand beside their extent item: `BTRFS_EXTENT_OWNER_REF_KEY`,
/// `BTRFS_TREE_BLOCK_REF_KEY`, `BTRFS_EXTENT_DATA_REF_KEY`, `BTRFS_SHARED_BLOCK_REF_KEY`,
/// `BTRFS_SHARED_DATA_REF_KEY`.
const REFERENCES: [u8; 5] = [172, 176, 178, 182, 184];

/// Size of `struct btrfs_extent_item`.
const LEN_BYTES: usize = 24;
/// `BTRFS_EXTENT_FLAG_*`.
const FLAG_DATA: u64 = 1 << 0;
const FLAG_TREE_BLOCK: u64 = 1 << 1;

/// Whether items of this type stand beside extent items and say who refers to them.
pub(super) fn is_reference(kind: u8) -> bool {
    REFERENCES.contains(&kind)
}

/// Addresses in use, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtentItem {
    pub(super) range: LogicalRange,
    /// The transaction that allocated it.
    pub(super) generation: u64,
    pub(super) flags: u64,
    /// Whether it holds a tree block, not data.
    pub(super) is_tree_block: bool,
    /// The chunk that holds all of it, and its index.
    pub(super) chunk: Chunk,
    pub(super) chunk_index: usize,
}

/// Parses extent items in the order of their keys.
pub(super) struct ExtentItems<'a> {
    tree: Tree<'a>,
    /// Where the last extent ends.
    end: Logical,
}

impl<'a> ExtentItems<'a> {
    pub(super) const fn new(tree: Tree<'a>) -> Self {
        Self {
            tree,
            end: Logical::ZERO,
        }
    }

    /// Parses an `EXTENT_ITEM` or `METADATA_ITEM`.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the extent overlaps the one before, or lies outside of a chunk
    /// of its kind.
    pub(super) fn parse(&mut self, item: &Item<'_>) -> Result<ExtentItem> {
        item.check_len(LEN_BYTES)?;
        let (generation, flags) = (le64(item.data, 8), le64(item.data, 16));
        let is_tree_block = is_tree_block(item, flags)?;
        let range = self.range(item)?;
        if range.start() < self.end {
            let expected = format!("{} or more, where another extent ends", self.end);
            return Err(item.corrupt("key.objectid", expected, range));
        }
        self.end = range.end();
        let chunk_index = self.tree.chunks.index_ending_after(range.start());
        let chunk = self.tree.chunks.all().get(chunk_index);
        let Some(chunk) = chunk.filter(|chunk| chunk.logical.contains(range)) else {
            return Err(item.corrupt("key", "a range in one chunk", range));
        };
        let wanted = if is_tree_block {
            SYSTEM | METADATA
        } else {
            DATA
        };
        if chunk.flags & wanted == 0 {
            let expected = format!("an extent for a chunk of type {:#x}", chunk.flags);
            return Err(item.corrupt("flags", expected, format!("{flags:#x}")));
        }
        Ok(ExtentItem {
            range,
            generation,
            flags,
            is_tree_block,
            chunk: *chunk,
            chunk_index,
        })
    }

    /// Which addresses the item is about.
    fn range(&self, item: &Item<'_>) -> Result<LogicalRange> {
        let superblock = self.tree.superblock;
        // The key's offset is the length of an extent, or the level of a tree block.
        let len_bytes = match item.key.kind {
            METADATA_ITEM => superblock.node_bytes.into(),
            _ => item.key.offset,
        };
        Logical::new(item.key.objectid)
            .range(len_bytes)
            .filter(|range| range.is_aligned(superblock.sector_bytes.into()))
            .ok_or_else(|| item.corrupt("key", "a range of whole sectors", len_bytes))
    }
}

fn is_tree_block(item: &Item<'_>, flags: u64) -> Result<bool> {
    match (item.key.kind, flags & (FLAG_DATA | FLAG_TREE_BLOCK)) {
        (_, FLAG_TREE_BLOCK) => Ok(true),
        (EXTENT_ITEM, FLAG_DATA) => Ok(false),
        _ => Err(item.corrupt("flags", "data or tree block", format!("{flags:#x}"))),
    }
}
