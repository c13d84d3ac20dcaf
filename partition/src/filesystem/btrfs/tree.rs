//! Trees: every item from the first key to the last, each block checked against its parent.
//!
//! `struct btrfs_header`, `struct btrfs_item`, `struct btrfs_key_ptr` (btrfs on-disk format,
//! "Header", "Leaf node", "Internal node").

mod ahead;
mod block;
mod items;
mod key;
mod leaves;
mod search;

pub(super) use block::Block;
pub(super) use items::Items;
pub(super) use key::Key;
pub(super) use leaves::{Leaves, Reading};
pub(super) use search::Search;

use super::chunk::{METADATA, SYSTEM};
use super::chunks::Chunks;
use super::superblock::{Root, Superblock};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::filesystem::extents::Copies;

/// An item of a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) key: Key,
    pub(super) data: &'a [u8],
    /// Where on the volume the data lies.
    pub(super) offset_bytes: u64,
}

impl Item<'_> {
    /// Says that a field of this item is not as it must be.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        let found = format!("{found} in item {}", self.key);
        Corrupt::new("btrfs item", field, self.offset_bytes, expected, found).into()
    }

    /// Says that an item of this type has no place in this tree.
    pub(super) fn unexpected(&self, expected: &'static str) -> Error {
        self.corrupt("key.type", expected, self.key.kind)
    }

    /// Fails unless there are `len_bytes` bytes of data.
    pub(super) fn check_len(&self, len_bytes: usize) -> Result<()> {
        if self.data.len() >= len_bytes {
            return Ok(());
        }
        let expected = format!("at least {len_bytes} bytes");
        Err(self.corrupt("size", expected, self.data.len()))
    }
}

/// What is known of a block before it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer {
    pub(super) root: Root,
    /// The first key of the block; the top block has none to compare with.
    pub(super) first_key: Option<Key>,
}

impl From<Root> for Pointer {
    fn from(root: Root) -> Self {
        let first_key = None;
        Self { root, first_key }
    }
}

/// What it takes to read trees.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) chunks: &'a Chunks,
    pub(super) device: &'a dyn ReadAt,
}

impl<'a> Tree<'a> {
    /// Gives every item below `root` to `visit`, in the order of their keys.
    ///
    /// # Errors
    /// As [`Items::next`]; what `visit` fails with.
    pub(super) fn walk(
        self,
        root: Root,
        visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut items = Items::new(self, root);
        while let Some(item) = items.next()? {
            visit(item)?;
        }
        Ok(())
    }

    /// Reads a block, its second copy if the first is bad.
    ///
    /// # Errors
    /// What is wrong with the first copy, when both are bad.
    pub(super) fn read_any(self, pointer: Pointer) -> Result<Block> {
        let Copies { first, second } = self.copies(pointer.root)?;
        self.read(pointer, first)
            .or_else(|error| self.read(pointer, second.ok_or(error)?))
    }

    /// Reads the copy of a block that lies at `extent` of the volume.
    fn read(self, pointer: Pointer, extent: Extent) -> Result<Block> {
        let raw = read_vec(self.device, extent.offset_bytes(), self.node_len())?;
        Block::check(self, pointer, raw, extent.offset_bytes())
    }

    /// The length of every block.
    const fn node_len(self) -> usize {
        self.superblock.node_bytes as usize
    }

    /// Where the copies of a block are.
    fn copies(self, root: Root) -> Result<Copies> {
        let (sector_bytes, node_bytes) = (self.superblock.sector_bytes, self.superblock.node_bytes);
        let copies = root
            .logical
            .range(node_bytes.into())
            .filter(|range| range.start().bytenr().is_multiple_of(sector_bytes.into()))
            .and_then(|range| {
                let chunk = self.chunks.holding(range)?;
                let is_for_trees = chunk.flags & (SYSTEM | METADATA) != 0;
                chunk.physical(range).filter(|_| is_for_trees)
            });
        copies.ok_or_else(|| {
            let expected = "an address in a metadata or system chunk";
            let owner = root
                .owner
                .map(|owner| format!(" of tree {}", owner.objectid()));
            let found = format!("{}{}", root.logical, owner.unwrap_or_default());
            let offset_bytes = super::superblock::OFFSET_BYTES;
            Corrupt::new("btrfs tree", "blockptr", offset_bytes, expected, found).into()
        })
    }
}
