//! Trees: every item from the first key to the last, each block checked against its parent.
//!
//! `struct btrfs_header`, `struct btrfs_item`, `struct btrfs_key_ptr`: btrfs on-disk format,
//! "Header", "Leaf node", "Internal node".

mod block;

pub(super) use block::Block;

use super::chunk::{METADATA, SYSTEM};
use super::chunks::Chunks;
use super::superblock::{Root, Superblock};
use crate::bytes::{le64, u8_at};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;

/// `struct btrfs_disk_key`, ordered as trees are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) objectid: u64,
    /// `type`.
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    fn parse(raw: &[u8], at: usize) -> Self {
        Self {
            objectid: le64(raw, at),
            kind: u8_at(raw, at.saturating_add(8)),
            offset: le64(raw, at.saturating_add(9)),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({:#x} {} {:#x})", self.objectid, self.kind, self.offset)
    }
}

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

impl Tree<'_> {
    /// Gives every item below `root` to `visit`, in the order of their keys.
    ///
    /// Keys ascend from the first item to the last and levels descend from parent to child, so a
    /// block that was visited before is an error; and no more blocks are read than the device has.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a block fails a check; [`Error::Io`] when the device fails; what
    /// `visit` fails with.
    pub(super) fn walk(
        &self,
        root: Root,
        visit: &mut dyn FnMut(Item<'_>) -> Result<()>,
    ) -> Result<()> {
        let node_bytes = u64::from(self.superblock.node_bytes);
        let mut blocks_left = self.superblock.device.total_bytes / node_bytes.max(1);
        let mut last_key = None;
        let mut pending = vec![Pointer::from(root)];
        while let Some(pointer) = pending.pop() {
            let block = self.read(pointer)?;
            blocks_left = blocks_left
                .checked_sub(1)
                .ok_or_else(|| block.corrupt("blockptr", "a tree without cycles", "a cycle"))?;
            if block.level() == 0 {
                for index in 0..block.items() {
                    let item = block.item(index)?;
                    block.check_order(&mut last_key, item.key)?;
                    visit(item)?;
                }
            } else {
                push_children(&block, pointer.root, &mut pending)?;
            }
        }
        Ok(())
    }

    /// Reads the first copy of a block. A bad one is not made up for by the second: a volume that
    /// needs a scrub is copied whole.
    fn read(&self, pointer: Pointer) -> Result<Block> {
        let [first, _] = self.places(pointer.root)?;
        Block::read(self, pointer, first)
    }

    /// Reads a block, its second copy if the first is bad.
    ///
    /// # Errors
    /// What is wrong with the first copy, when both are bad.
    pub(super) fn read_any(&self, pointer: Pointer) -> Result<Block> {
        let [first, second] = self.places(pointer.root)?;
        Block::read(self, pointer, first)
            .or_else(|error| Block::read(self, pointer, second).map_err(|_| error))
    }

    /// Where both copies of a block are; in the same place when there is one.
    fn places(&self, root: Root) -> Result<[Extent; 2]> {
        let len_bytes = self.superblock.node_bytes;
        let places = Extent::new(root.logical, len_bytes.into())
            .filter(|extent| {
                extent
                    .offset_bytes()
                    .is_multiple_of(self.superblock.sector_bytes.into())
            })
            .and_then(|extent| {
                let chunk = self.chunks.holding(extent)?;
                let is_for_trees = chunk.flags & (SYSTEM | METADATA) != 0;
                let mut copies = chunk.physical(extent);
                let first = copies.next().filter(|_| is_for_trees)?;
                Some([first, copies.next().unwrap_or(first)])
            });
        let Some(places) = places else {
            let expected = "an address in a metadata or system chunk";
            let found = format!("{:#x} of tree {}", root.logical, root.tree);
            let offset_bytes = super::superblock::OFFSET_BYTES;
            let corrupt = Corrupt::new("btrfs tree", "blockptr", offset_bytes, expected, found);
            return Err(corrupt.into());
        };
        Ok(places)
    }
}

/// Appends the children of a block so that the first is the last.
///
/// # Errors
/// [`Error::Corrupt`] when their keys don't ascend.
pub(super) fn push_children(block: &Block, parent: Root, pending: &mut Vec<Pointer>) -> Result<()> {
    let mut last_key = None;
    let first = pending.len();
    for index in 0..block.items() {
        let child = block.child(parent.tree, index);
        if let Some(key) = child.first_key {
            block.check_order(&mut last_key, key)?;
        }
        pending.push(child);
    }
    // The last one pushed is the next one read.
    if let Some(children) = pending.get_mut(first..) {
        children.reverse();
    }
    Ok(())
}
