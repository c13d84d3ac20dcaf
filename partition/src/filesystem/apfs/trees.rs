//! Trees of physical nodes, read record by record, with a limit for all of a container together.

use super::address::{Blocks, Oid, Paddr};
use super::node::{Key, Layout, Node};
use super::object::{Field, Kind, Object};
use super::superblock::Superblock;
use crate::bytes::le64;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::gather::Gather;
use std::rc::Rc;

/// Reads objects, and keeps where they are.
pub(super) struct Trees<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) device: &'a dyn ReadAt,
    pub(super) used: &'a ExtentMap,
    /// How many more blocks may be read: there are no more objects than blocks in use, and each is
    /// part of one thing only.
    blocks_left: u64,
    /// Where objects are, those that are only named as well.
    found: Gather,
    is_full: bool,
}

impl<'a> Trees<'a> {
    pub(super) fn new(
        superblock: &'a Superblock,
        device: &'a dyn ReadAt,
        used: &'a ExtentMap,
    ) -> Self {
        let block_bytes = u64::from(superblock.container.block_size_bytes);
        Self {
            superblock,
            device,
            used,
            blocks_left: used.total_bytes() / block_bytes,
            found: Gather::new(),
            is_full: false,
        }
    }

    /// Where blocks that `field` names are.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when not all of them are in use.
    pub(super) fn used(&self, blocks: Blocks, field: Field<'_>) -> Result<Extent> {
        let extent = self.superblock.container.extent(blocks);
        let is_used = |extent: &Extent| blocks.start != Paddr(0) && self.used.contains(*extent);
        let missing = || field.corrupt("blocks in use", blocks);
        Ok(extent.filter(is_used).ok_or_else(missing)?)
    }

    /// Takes blocks that `field` names for an object's.
    ///
    /// # Errors
    /// As [`Self::used`].
    pub(super) fn push(&mut self, blocks: Blocks, field: Field<'_>) -> Result<()> {
        let extent = self.used(blocks, field)?;
        self.is_full |= !self.found.push(extent);
        Ok(())
    }

    /// Where all objects are that were read or named; `None` when those are in too many pieces.
    pub(super) fn finish(self) -> Option<ExtentMap> {
        self.found.finish().filter(|_| !self.is_full)
    }

    /// Whether there is no use in going on.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Reads the physical object at the address that `field` has.
    ///
    /// # Errors
    /// As [`Self::object`].
    pub(super) fn physical(
        &mut self,
        kind: Kind,
        address: Paddr,
        field: Field<'_>,
    ) -> Result<Object> {
        let oid = address.oid();
        self.object(kind, Mapped { address, oid }, field)
    }

    /// Reads the object that `field` names.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the block is free, the object is not of this kind, fails its
    /// checks or is newer than the checkpoint, or when more was read than is in use;
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn object(
        &mut self,
        kind: Kind,
        Mapped { address, oid }: Mapped,
        field: Field<'_>,
    ) -> Result<Object> {
        self.push(Blocks::one(address), field)?;
        let left = self.blocks_left.checked_sub(1);
        let repeated = || field.corrupt("an object of one tree", address);
        self.blocks_left = left.ok_or_else(repeated)?;
        let block = self.superblock.block(address, field)?;
        let object = Object::read(kind, block, oid, self.device)?;
        object.check_age(self.superblock.xid())?;
        Ok(object)
    }

    /// Gives every record of the tree whose root is at the address that `field` has to `visit`,
    /// in the order of keys.
    ///
    /// # Errors
    /// As [`Self::object`]; [`crate::Error::Corrupt`] when a node contradicts itself or its
    /// parent, or keys descend; what `visit` fails with.
    pub(super) fn walk(
        &mut self,
        layout: Layout,
        root: Paddr,
        field: Field<'_>,
        visit: &mut dyn FnMut(&mut Self, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let root = self.physical(layout.root(), root, field)?;
        let root = Node::parse(root, layout, true)?;
        let mut last = None;
        let mut pending = Vec::new();
        self.visit(Rc::new(root), &mut last, &mut pending, visit)?;
        while let Some(child) = pending.pop().filter(|_| !self.is_full) {
            let field = child.parent.object.field("btn_data");
            let node = self.physical(layout.below_root(), child.address, field)?;
            let node = Node::parse(node, layout, false)?;
            // A node with children is above level 0.
            let expected = child.parent.level.saturating_sub(1);
            let is_below = node.level == expected;
            node.object
                .check(is_below, "btn_level", expected, node.level)?;
            self.visit(Rc::new(node), &mut last, &mut pending, visit)?;
        }
        Ok(())
    }

    /// Gives the records of a leaf to `visit`, or takes in the children of another node.
    fn visit(
        &mut self,
        node: Rc<Node>,
        last: &mut Option<Key>,
        pending: &mut Vec<Child>,
        visit: &mut dyn FnMut(&mut Self, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        if node.level > 0 {
            // The last one pushed is the next one read.
            for index in (0..node.records).rev() {
                let (_, value) = node.record(index)?;
                let (address, parent) = (Paddr(le64(value, 0)), Rc::clone(&node));
                pending.push(Child { address, parent });
            }
            return Ok(());
        }
        let object = &node.object;
        for index in 0..node.records {
            let (key, value) = node.record(index)?;
            if let Some(before) = last.filter(|&before| before > key) {
                let expected = format!("a key after {before}");
                return Err(object.corrupt("btn_data", expected, key).into());
            }
            *last = Some(key);
            visit(self, Record { object, key, value })?;
        }
        Ok(())
    }
}

/// Where an object is, and which identifier it has there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    pub(super) address: Paddr,
    pub(super) oid: Oid,
}

/// A record of a leaf.
pub(super) struct Record<'a> {
    /// The node that it is in.
    pub(super) object: &'a Object,
    pub(super) key: Key,
    pub(super) value: &'a [u8],
}

/// A node that is still to be read.
struct Child {
    address: Paddr,
    parent: Rc<Node>,
}
