//! Trees of physical nodes, read record by record, with a limit for all of a container together.

use super::node::{Key, Layout, Node};
use super::object::{Kind, Object};
use super::superblock::{Blocks, Superblock};
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
        let block_bytes = u64::from(superblock.block_size_bytes).max(1);
        Self {
            superblock,
            device,
            used,
            blocks_left: used.total_bytes() / block_bytes,
            found: Gather::new(),
            is_full: false,
        }
    }

    /// Where blocks named by `field` of `whose` are.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when not all of them are in use.
    pub(super) fn used(
        &self,
        blocks: Blocks,
        whose: &Object,
        field: &'static str,
    ) -> Result<Extent> {
        let extent = self.superblock.extent(blocks);
        let extent = extent.filter(|&extent| blocks.start > 0 && self.used.contains(extent));
        let found = || format!("{}+{}", blocks.start, blocks.count);
        let missing = || whose.corrupt(field, "blocks in use", found());
        Ok(extent.ok_or_else(missing)?)
    }

    /// Takes blocks named by `field` of `whose` for an object's.
    ///
    /// # Errors
    /// As [`Self::used`].
    pub(super) fn push(
        &mut self,
        blocks: Blocks,
        whose: &Object,
        field: &'static str,
    ) -> Result<()> {
        let extent = self.used(blocks, whose, field)?;
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

    /// Reads the object at the block `number`, which has the identifier `oid` and is named by
    /// `field` of `whose`.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the block is free, the object is not of this kind, fails its
    /// checks or is newer than the checkpoint, or when more was read than is in use;
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn object(
        &mut self,
        (structure, kind): (&'static str, Kind),
        (number, oid): (u64, u64),
        (whose, field): (&Object, &'static str),
    ) -> Result<Object> {
        let count = 1;
        let start = number;
        self.push(Blocks { start, count }, whose, field)?;
        let left = self.blocks_left.checked_sub(1);
        let repeated = || whose.corrupt(field, "an object of one tree", number);
        self.blocks_left = left.ok_or_else(repeated)?;
        let block = self.superblock.block(number, whose, field)?;
        let object = Object::read(structure, kind, (block, oid), self.device)?;
        object.check_age(self.superblock.xid())?;
        Ok(object)
    }

    /// Gives every record of the tree whose root is at the block `root` to `visit`, in the order
    /// of keys.
    ///
    /// # Errors
    /// As [`Self::object`]; [`crate::Error::Corrupt`] when a node contradicts itself or its
    /// parent, or keys descend; what `visit` fails with.
    pub(super) fn walk(
        &mut self,
        layout: Layout,
        root: u64,
        (whose, field): (&Object, &'static str),
        visit: &mut dyn FnMut(&mut Self, Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let root = self.node(layout, true, root, (whose, field))?;
        let mut last = None;
        let mut pending = Vec::new();
        self.visit(Rc::new(root), &mut last, &mut pending, visit)?;
        while let Some(child) = pending.pop().filter(|_| !self.is_full) {
            let node = self.node(
                layout,
                false,
                child.block,
                (&child.parent.object, "btn_data"),
            )?;
            let expected = child.parent.level.saturating_sub(1);
            let is_below = node.level == expected;
            node.object
                .check(is_below, "btn_level", expected, node.level)?;
            self.visit(Rc::new(node), &mut last, &mut pending, visit)?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        layout: Layout,
        is_root: bool,
        number: u64,
        named: (&Object, &'static str),
    ) -> Result<Node> {
        let kind = Node::kind(layout, is_root);
        let object = self.object((layout.structure, kind), (number, number), named)?;
        Ok(Node::parse(object, layout, is_root)?)
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
                let (block, parent) = (le64(value, 0), Rc::clone(&node));
                pending.push(Child { block, parent });
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

/// A record of a leaf.
pub(super) struct Record<'a> {
    /// The node that it is in.
    pub(super) object: &'a Object,
    pub(super) key: Key,
    pub(super) value: &'a [u8],
}

/// A node that is still to be read.
struct Child {
    block: u64,
    parent: Rc<Node>,
}
