//! One tree block: header, items, pointers.
//!
//! `struct btrfs_header`, `struct btrfs_item`, `struct btrfs_key_ptr` (btrfs on-disk format,
//! "Header", "Leaf node", "Internal node").

use super::{Item, Key, Pointer, Tree};
use crate::bytes::{le32, le64, u8_at};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::btrfs::address::Logical;
use crate::filesystem::btrfs::ids::TreeId;
use crate::filesystem::btrfs::superblock::{Root, uuid};

/// Sizes of `struct btrfs_header`, `struct btrfs_item` and `struct btrfs_key_ptr`. Offsets of items
/// count from the end of the header.
const HEADER_BYTES: usize = 101;
const ITEM_BYTES: usize = 25;
const POINTER_BYTES: usize = 33;

/// A tree block that is the one its parent points to.
pub(in crate::filesystem::btrfs) struct Block {
    raw: Vec<u8>,
    /// Where on the volume it lies.
    offset_bytes: u64,
    logical: Logical,
    items: usize,
}

impl Block {
    /// Checks the header of the block in `raw`, which was read at `offset_bytes` of the volume.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not the one that `pointer` points to.
    pub(super) fn check(
        tree: Tree<'_>,
        pointer: Pointer,
        raw: Vec<u8>,
        offset_bytes: u64,
    ) -> Result<Self> {
        let nritems = le32(&raw, 0x60);
        let block = Self {
            raw,
            offset_bytes,
            logical: pointer.root.logical,
            items: nritems as usize,
        };
        block.check_header(tree, pointer)?;
        block.check_items(pointer)?;
        Ok(block)
    }

    fn check_header(&self, tree: Tree<'_>, pointer: Pointer) -> Result<()> {
        let (raw, root) = (&self.raw, pointer.root);
        if let Err(mismatch) = tree.superblock.checksum.verify(raw) {
            return Err(self.corrupt("csum", mismatch.computed, mismatch.stored));
        }
        let (fsid, bytenr) = (uuid(raw, 0x20), le64(raw, 0x30));
        let (generation, owner, level) = (le64(raw, 0x50), le64(raw, 0x58), u8_at(raw, 0x64));
        let expected = tree.superblock.tree_uuid;
        if fsid != expected {
            let expected = uuid::Uuid::from_bytes(expected);
            return Err(self.corrupt("fsid", expected, uuid::Uuid::from_bytes(fsid)));
        }
        self.check_field("bytenr", root.logical.bytenr(), bytenr)?;
        self.check_field("generation", root.generation, generation)?;
        if let Some(expected) = root.owner {
            self.check_field("owner", expected.objectid(), owner)?;
        }
        self.check_field("level", root.level.into(), level.into())
    }

    fn check_items(&self, pointer: Pointer) -> Result<()> {
        let items_max = self.body().len() / self.unit();
        // Only a tree without any item has an empty block.
        let items_min = usize::from(pointer.first_key.is_some() || self.level() != 0);
        if !(items_min..=items_max).contains(&self.items) {
            let expected = format!("{items_min} to {items_max}");
            return Err(self.corrupt("nritems", expected, self.items));
        }
        match pointer.first_key {
            Some(key) if key != self.key(0) => {
                Err(self.corrupt("key", format!("{key} first"), self.key(0)))
            }
            _ => Ok(()),
        }
    }

    fn check_field(&self, field: &'static str, expected: u64, found: u64) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        Err(self.corrupt(field, format!("{expected:#x}"), format!("{found:#x}")))
    }

    /// Says that a field of this block is not as it must be.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        let structure = "btrfs tree block";
        Corrupt::new(structure, field, self.offset_bytes, expected, found).into()
    }

    /// Fails unless `key` comes after `last`. Then it is the last one.
    pub(super) fn check_order(&self, last: &mut Option<Key>, key: Key) -> Result<()> {
        match *last {
            Some(before) if before >= key => {
                Err(self.corrupt("key", format!("one after {before}"), key))
            }
            _ => {
                *last = Some(key);
                Ok(())
            }
        }
    }

    /// 0 for a leaf.
    pub(in crate::filesystem::btrfs) fn level(&self) -> u8 {
        u8_at(&self.raw, 0x64)
    }

    /// The number of items of a leaf, or of pointers.
    pub(in crate::filesystem::btrfs) const fn items(&self) -> usize {
        self.items
    }

    pub(in crate::filesystem::btrfs) const fn logical(&self) -> Logical {
        self.logical
    }

    /// Where on the volume it lies.
    pub(in crate::filesystem::btrfs) const fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// All behind the header.
    fn body(&self) -> &[u8] {
        self.raw.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The size of each of the records behind the header.
    fn unit(&self) -> usize {
        if self.level() == 0 {
            ITEM_BYTES
        } else {
            POINTER_BYTES
        }
    }

    /// An item without its data, or a pointer.
    fn record(&self, index: usize) -> &[u8] {
        let mut records = self.body().chunks_exact(self.unit());
        records.nth(index).unwrap_or_default()
    }

    pub(in crate::filesystem::btrfs) fn key(&self, index: usize) -> Key {
        Key::parse(self.record(index))
    }

    /// How many items or pointers have keys up to `key`.
    pub(in crate::filesystem::btrfs) fn count_up_to(&self, key: Key) -> usize {
        let mut range = 0..self.items;
        while let Some(middle) = range.len().checked_div(2).filter(|_| !range.is_empty()) {
            let middle = range.start + middle;
            if self.key(middle) <= key {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        range.start
    }

    /// A child of a block that isn't a leaf. It must name `owner`, if that is known.
    pub(in crate::filesystem::btrfs) fn child(
        &self,
        owner: Option<TreeId>,
        index: usize,
    ) -> Pointer {
        let record = self.record(index);
        let (blockptr, generation) = (le64(record, 17), le64(record, 25));
        Pointer {
            root: Root {
                owner,
                logical: Logical::new(blockptr),
                generation,
                level: self.level().saturating_sub(1),
            },
            first_key: Some(Key::parse(record)),
        }
    }

    /// An item of a leaf.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its data lies outside of the block or in the list of items.
    pub(in crate::filesystem::btrfs) fn item(&self, index: usize) -> Result<Item<'_>> {
        let record = self.record(index);
        let (offset, size) = (le32(record, 17), le32(record, 21));
        let body = self.body();
        let data = body
            .get(offset as usize..)
            .and_then(|rest| rest.get(..size as usize))
            .filter(|_| offset as usize >= self.items * ITEM_BYTES);
        let Some(data) = data else {
            let expected = "data after the items, in the block";
            let found = format!("{offset}+{size} of item {}", self.key(index));
            return Err(self.corrupt("offset", expected, found));
        };
        let in_block_bytes = HEADER_BYTES as u64 + u64::from(offset);
        Ok(Item {
            key: self.key(index),
            data,
            offset_bytes: self.offset_bytes + in_block_bytes,
        })
    }
}
