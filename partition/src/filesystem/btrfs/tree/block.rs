//! One tree block: header, items, pointers.

use super::super::ids::ANY_TREE;
use super::{Item, Key, Pointer, Tree};
use crate::bytes::{le32, le64, u8_at};
use crate::device::read_vec;
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::filesystem::btrfs::superblock::{Root, uuid};

/// `struct btrfs_header`; offsets of items count from its end.
const HEADER_BYTES: usize = 101;
const ITEM_BYTES: usize = 25;
const POINTER_BYTES: usize = 33;

/// A tree block that is the one that its parent points to.
pub(in crate::filesystem::btrfs) struct Block {
    raw: Vec<u8>,
    /// Where on the volume it lies.
    offset_bytes: u64,
    items: usize,
}

impl Block {
    /// Reads the block at `extent` of the volume and checks its header.
    pub(super) fn read(tree: &Tree<'_>, pointer: Pointer, extent: Extent) -> Result<Self> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or_default();
        let raw = read_vec(tree.device, extent.offset_bytes(), len)?;
        let items = usize::try_from(le32(&raw, 0x60)).unwrap_or(usize::MAX);
        let block = Self {
            raw,
            offset_bytes: extent.offset_bytes(),
            items,
        };
        block.check_header(tree, pointer)?;
        block.check_items(pointer)?;
        Ok(block)
    }

    fn check_header(&self, tree: &Tree<'_>, pointer: Pointer) -> Result<()> {
        let (raw, root) = (&self.raw, pointer.root);
        if let Err((expected, found)) = tree.superblock.checksum.verify(raw) {
            return Err(self.corrupt("csum", expected, found));
        }
        let expected = tree.superblock.tree_uuid;
        let found = uuid(raw, 0x20);
        if found != expected {
            let expected = uuid::Uuid::from_bytes(expected);
            return Err(self.corrupt("fsid", expected, uuid::Uuid::from_bytes(found)));
        }
        self.check("bytenr", root.logical, le64(raw, 0x30))?;
        self.check("generation", root.generation, le64(raw, 0x50))?;
        if root.tree != ANY_TREE {
            self.check("owner", root.tree, le64(raw, 0x58))?;
        }
        self.check("level", root.level.into(), self.level().into())
    }

    fn check_items(&self, pointer: Pointer) -> Result<()> {
        let unit = if self.level() == 0 {
            ITEM_BYTES
        } else {
            POINTER_BYTES
        };
        let items_max = self.raw.len().saturating_sub(HEADER_BYTES) / unit;
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

    fn check(&self, field: &'static str, expected: u64, found: u64) -> Result<()> {
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

    /// Fails unless `key` comes after `last`, which it then is.
    pub(in crate::filesystem::btrfs) fn check_order(
        &self,
        last: &mut Option<Key>,
        key: Key,
    ) -> Result<()> {
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

    /// Number of items of a leaf, or of pointers.
    pub(in crate::filesystem::btrfs) const fn items(&self) -> usize {
        self.items
    }

    fn at(&self, index: usize) -> usize {
        let unit = if self.level() == 0 {
            ITEM_BYTES
        } else {
            POINTER_BYTES
        };
        HEADER_BYTES.saturating_add(index.saturating_mul(unit))
    }

    pub(in crate::filesystem::btrfs) fn key(&self, index: usize) -> Key {
        Key::parse(&self.raw, self.at(index))
    }

    /// A child of a block that isn't a leaf: its first key, `blockptr` and `generation`.
    pub(in crate::filesystem::btrfs) fn child(&self, tree: u64, index: usize) -> Pointer {
        let at = self.at(index);
        Pointer {
            root: Root {
                tree,
                logical: le64(&self.raw, at.saturating_add(17)),
                generation: le64(&self.raw, at.saturating_add(25)),
                level: self.level().saturating_sub(1),
            },
            first_key: Some(self.key(index)),
        }
    }

    /// Where on the volume it lies.
    pub(in crate::filesystem::btrfs) const fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// An item of a leaf.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its data lies outside of the block or in the list of items.
    pub(in crate::filesystem::btrfs) fn item(&self, index: usize) -> Result<Item<'_>> {
        let at = self.at(index);
        let field = |offset: usize| {
            let value = le32(&self.raw, at.saturating_add(offset));
            usize::try_from(value).unwrap_or(usize::MAX)
        };
        let (offset, size) = (field(17), field(21));
        let start = offset.saturating_add(HEADER_BYTES);
        let data = start
            .checked_add(size)
            .and_then(|end| self.raw.get(start..end))
            .filter(|_| start >= self.at(self.items));
        let Some(data) = data else {
            let expected = "data after the items, in the block";
            let found = format!("{offset}+{size} of item {}", self.key(index));
            return Err(self.corrupt("offset", expected, found));
        };
        let start = u64::try_from(start).unwrap_or(u64::MAX);
        Ok(Item {
            key: self.key(index),
            data,
            offset_bytes: self.offset_bytes.saturating_add(start),
        })
    }
}
