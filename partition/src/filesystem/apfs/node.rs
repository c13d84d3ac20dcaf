//! One node of a B-tree: its table of contents, keys and values.
//!
//! Layouts of `btree_node_phys_t`, `kvloc_t`, `kvoff_t` and `btree_info_t`: Apple File System
//! Reference, "B-Trees".

use super::object::{BTREE, BTREE_NODE, Kind, Object};
use crate::bytes::le64;
use crate::error::Checked;

/// `btn_flags`: `BTNODE_ROOT`, `BTNODE_LEAF`, `BTNODE_FIXED_KV_SIZE`.
const ROOT: u16 = 1;
const LEAF: u16 = 2;
const FIXED: u16 = 4;
/// `btree_node_phys_t` before `btn_data`, and `btree_info_t` at the end of a root.
const HEADER_BYTES: usize = 56;
const INFO_BYTES: usize = 40;
/// More than the levels of any tree: each has many times the nodes of the one above.
const LEVEL_MAX: u16 = 15;
/// `OBJ_ID_MASK` and `OBJ_TYPE_SHIFT` of a `j_key_t`.
const ID_MASK: u64 = (1 << 60) - 1;
const TYPE_SHIFT: u32 = 60;

/// What trees of a kind are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// What errors call a node.
    pub(super) structure: &'static str,
    /// `o_subtype` of its nodes.
    pub(super) subtype: u32,
    /// The length of keys and values of leaves where all have the same, or else the least.
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
}

impl Layout {
    /// What the root must be.
    pub(super) const fn root(self) -> Kind {
        self.kind(BTREE)
    }

    /// What all other nodes must be.
    pub(super) const fn below_root(self) -> Kind {
        self.kind(BTREE_NODE)
    }

    const fn kind(self, number: u32) -> Kind {
        Kind {
            structure: self.structure,
            number,
            subtype: self.subtype,
        }
    }
}

/// `OBJECT_TYPE_OMAP`: virtual objects, by identifier and transaction.
pub(super) const OBJECTS: Layout = Layout {
    structure: "APFS object map node",
    subtype: 11,
    key_bytes: 16,
    value_bytes: 16,
};
/// `OBJECT_TYPE_OMAP_SNAPSHOT`.
pub(super) const OMAP_SNAPSHOTS: Layout = Layout {
    structure: "APFS object map snapshot node",
    subtype: 19,
    key_bytes: 8,
    value_bytes: 16,
};
/// `OBJECT_TYPE_BLOCKREFTREE`: extents of files, by address.
pub(super) const EXTENTS: Layout = Layout {
    structure: "APFS extent reference node",
    subtype: 15,
    key_bytes: 8,
    value_bytes: 20,
};
/// `OBJECT_TYPE_SNAPMETATREE`.
pub(super) const SNAPSHOTS: Layout = Layout {
    structure: "APFS snapshot metadata node",
    subtype: 16,
    key_bytes: 8,
    value_bytes: 8,
};

/// A key, in the order of trees: identifier and transaction in an object map, otherwise identifier
/// and type of a `j_key_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) id: u64,
    pub(super) second: u64,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({:#x} {:#x})", self.id, self.second)
    }
}

/// A node whose table of contents is inside of it.
pub(super) struct Node {
    pub(super) object: Object,
    layout: Layout,
    /// 0 for a leaf.
    pub(super) level: u16,
    pub(super) records: usize,
    is_fixed: bool,
    /// Where keys start, and where values end; they are placed from there.
    keys_at: usize,
    values_end: usize,
}

impl Node {
    /// Takes `object`, of the kind that `layout` says, for a node.
    ///
    /// # Errors
    /// [`crate::error::Corrupt`] when its header contradicts itself.
    pub(super) fn parse(object: Object, layout: Layout, is_root: bool) -> Checked<Self> {
        let (btn_flags, btn_level) = (object.u16(32), object.u16(34));
        let btn_nkeys = object.u32(36) as usize;
        let (table_off, table_len) = (object.u16(40), usize::from(object.u16(42)));
        let found = btn_flags & ROOT != 0;
        object.check(found == is_root, "btn_flags", is_root, found)?;
        let expected = format!("at most {LEVEL_MAX}");
        object.check(btn_level <= LEVEL_MAX, "btn_level", expected, btn_level)?;
        let is_leaf = btn_flags & LEAF != 0;
        let expected = if is_leaf { "0" } else { "above 0" };
        let is_level = is_leaf == (btn_level == 0);
        object.check(is_level, "btn_level", expected, btn_level)?;
        let is_fixed = btn_flags & FIXED != 0;
        let info_bytes = if is_root { INFO_BYTES } else { 0 };
        // A node is a block, of 4096 bytes or more.
        let values_end = object.raw.len() - info_bytes;
        object.check(table_off == 0, "btn_table_space", 0, table_off)?;
        let keys_at = HEADER_BYTES + table_len;
        let is_inside = btn_nkeys <= table_len / entry_bytes(is_fixed) && keys_at <= values_end;
        let expected = "all records in the table, and that in the node";
        object.check(is_inside, "btn_nkeys", expected, btn_nkeys)?;
        if is_root {
            let (size, bt_node_size) = (object.raw.len(), object.u32(values_end + 4));
            let is_block = bt_node_size as usize == size;
            object.check(is_block, "bt_node_size", size, bt_node_size)?;
        }
        Ok(Self {
            layout,
            level: btn_level,
            records: btn_nkeys,
            is_fixed,
            keys_at,
            values_end,
            object,
        })
    }

    /// The key and the value of a record. Above the leaves the value is a child's address.
    ///
    /// # Errors
    /// [`crate::error::Corrupt`] when it is not inside of the node.
    pub(super) fn record(&self, index: usize) -> Checked<(Key, &[u8])> {
        let at = HEADER_BYTES + index * entry_bytes(self.is_fixed);
        let field = |offset: usize| usize::from(self.object.u16(at + offset));
        let is_leaf = self.level == 0;
        let value_min = if is_leaf { self.layout.value_bytes } else { 8 };
        // kvoff_t has two offsets; kvloc_t a length after each of them.
        let (key_at, key_bytes, value_at, value_bytes) = if self.is_fixed {
            (field(0), self.layout.key_bytes, field(2), value_min)
        } else {
            (field(0), field(2), field(4), field(6))
        };
        let key_at = self.keys_at + key_at;
        let key = self.part(key_at, key_bytes, self.layout.key_bytes);
        let value = self
            .values_end
            .checked_sub(value_at)
            .filter(|&at| at >= self.keys_at)
            .and_then(|at| self.part(at, value_bytes, value_min));
        let (Some(key), Some(value)) = (key, value) else {
            let found = format!("{key_bytes} bytes at {key_at} and {value_bytes} at -{value_at}");
            let expected = "a key and a value in the node";
            return Err(self.object.corrupt("btn_data", expected, found));
        };
        Ok((self.key(key), value))
    }

    fn part(&self, at: usize, len: usize, len_min: usize) -> Option<&[u8]> {
        let end = at.checked_add(len).filter(|&end| end <= self.values_end)?;
        self.object.raw.get(at..end).filter(|_| len >= len_min)
    }

    fn key(&self, raw: &[u8]) -> Key {
        let first = le64(raw, 0);
        if self.layout.subtype == OBJECTS.subtype {
            let (id, second) = (first, le64(raw, 8));
            return Key { id, second };
        }
        Key {
            id: first & ID_MASK,
            second: first >> TYPE_SHIFT,
        }
    }
}

/// A `kvoff_t`, or a `kvloc_t`.
const fn entry_bytes(is_fixed: bool) -> usize {
    if is_fixed { 4 } else { 8 }
}
