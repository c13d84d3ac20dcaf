//! Blocks of B+trees with short pointers, which stay within an allocation group.
//!
//! XFS Algorithms & Data Structures, "Short Format B+trees".

use super::checksum;
use super::group::Group;
use super::superblock::{Superblock, uuid};
use crate::bytes::{be16, be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::owners::Gaps;

const NULL_BLOCK: u32 = u32::MAX;

/// What distinguishes one kind of tree from another.
pub(super) struct Shape {
    pub(super) structure: &'static str,
    /// Magic numbers of versions 4 and 5.
    pub(super) magic: [[u8; 4]; 2],
    pub(super) record_len: usize,
    pub(super) key_len: usize,
}

/// A tree of a group.
pub(super) struct Tree<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) device: &'a dyn ReadAt,
    pub(super) group: &'a Group,
    pub(super) shape: &'static Shape,
    pub(super) root: u32,
    pub(super) levels: u32,
    /// Where blocks that fail a check are noted; without it, they are errors.
    pub(super) gaps: Option<&'a Gaps>,
}

/// Told of each record, and where its block starts.
pub(super) type Visit<'a> = dyn FnMut(&[u8], u64) -> Result<()> + 'a;

/// A block of the tree.
struct Node {
    offset_bytes: u64,
    raw: Vec<u8>,
    header_len: usize,
    records: usize,
}

impl Tree<'_> {
    /// Gives `visit` each record in order, with where its block starts.
    ///
    /// Levels decrease on the way down and each leaf but an only one has a record, so this ends
    /// if `visit` refuses records that don't ascend; and no more blocks are read than the group
    /// has.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a block fails a check; what `visit` returns. Where gaps are
    /// noted, both are, and it goes on with the next block or record.
    pub(super) fn records(&self, visit: &mut Visit<'_>) -> Result<()> {
        let mut pending = vec![(self.root, self.levels.saturating_sub(1))];
        let mut right = None;
        let mut blocks_left = self.group.blocks;
        while let Some(at) = pending.pop() {
            let is_valid = blocks_left > 0;
            let field = (
                "pointers",
                self.superblock.group_byte(self.group.number, at.0),
            );
            self.check(is_valid, field, "a tree without loops", "one")?;
            blocks_left = blocks_left.saturating_sub(1);
            let visited = self.node(at, &mut right, &mut pending, visit);
            if visited.is_err() {
                right = None;
            }
            self.tolerate(visited)?;
        }
        if self.gaps.is_some() {
            return Ok(());
        }
        let right = right.unwrap_or(NULL_BLOCK);
        let root_bytes = self.superblock.group_byte(self.group.number, self.root);
        let field = ("bb_rightsib", root_bytes);
        self.check(right == NULL_BLOCK, field, NULL_BLOCK, right)
    }

    fn node(
        &self,
        (block, level): (u32, u32),
        right: &mut Option<u32>,
        pending: &mut Vec<(u32, u32)>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let node = self.read(block, level)?;
        if level > 0 {
            let children = self.children(&node)?;
            let below = level.saturating_sub(1);
            pending.extend(children.into_iter().rev().map(|child| (child, below)));
            return Ok(());
        }
        let expected = right.unwrap_or(block);
        let field = ("bb_rightsib", node.offset_bytes);
        self.check(expected == block, field, expected, block)?;
        *right = Some(be32(&node.raw, 12));
        let records = node.raw.get(node.header_len..).unwrap_or_default();
        for record in records
            .chunks_exact(self.shape.record_len)
            .take(node.records)
        {
            self.tolerate(visit(record, node.offset_bytes))?;
        }
        Ok(())
    }

    fn tolerate(&self, result: Result<()>) -> Result<()> {
        match self.gaps {
            Some(gaps) => gaps.tolerate(result).map_or(Ok(()), Ok),
            None => result,
        }
    }

    fn read(&self, block: u32, level: u32) -> Result<Node> {
        let superblock = self.superblock;
        let offset_bytes = superblock.group_byte(self.group.number, block);
        let len = usize::try_from(superblock.block_bytes).unwrap_or(usize::MAX);
        let raw = read_vec(self.device, offset_bytes, len)?;
        let header_len = self.check_identity(&raw, offset_bytes)?;
        let found = be16(&raw, 4);
        let is_valid = u32::from(found) == level;
        self.check(is_valid, ("bb_level", offset_bytes), level, found)?;
        let record_len = if level == 0 {
            self.shape.record_len
        } else {
            self.shape.key_len.saturating_add(4)
        };
        let room = room(len, header_len, record_len);
        let records = usize::from(be16(&raw, 6));
        // An empty root is a group with nothing to name.
        let is_empty_root = level == 0 && self.levels == 1;
        let is_valid = records <= room && (records > 0 || is_empty_root);
        let expected = format!("1 to {room}");
        self.check(is_valid, ("bb_numrecs", offset_bytes), expected, records)?;
        Ok(Node {
            offset_bytes,
            raw,
            header_len,
            records,
        })
    }

    /// Checks what a block says of itself, and gives the length of its header.
    fn check_identity(&self, raw: &[u8], offset_bytes: u64) -> Result<usize> {
        let is_v5 = self.superblock.features.is_v5();
        let [v4, v5] = self.shape.magic.map(u32::from_be_bytes);
        let magic = if is_v5 { v5 } else { v4 };
        let found = be32(raw, 0);
        let expected = format!("{magic:#x}");
        self.check(found == magic, ("bb_magic", offset_bytes), expected, found)?;
        if !is_v5 {
            return Ok(16);
        }
        checksum::check(self.shape.structure, offset_bytes, raw, 52)?;
        // Disk addresses count 512 bytes whatever the sector.
        let (expected, found) = (offset_bytes / 512, be64(raw, 16));
        let is_valid = expected == found;
        self.check(is_valid, ("bb_blkno", offset_bytes), expected, found)?;
        let (expected, found) = (self.group.number, be32(raw, 48));
        let is_valid = expected == found;
        self.check(is_valid, ("bb_owner", offset_bytes), expected, found)?;
        let is_valid = uuid(raw, 32) == self.superblock.meta_uuid;
        let (expected, found) = ("the superblock's", be32(raw, 32));
        self.check(is_valid, ("bb_uuid", offset_bytes), expected, found)?;
        Ok(56)
    }

    fn children(&self, node: &Node) -> Result<Vec<u32>> {
        // Pointers come after room for as many keys as fit.
        let key_len = self.shape.key_len;
        let room = room(node.raw.len(), node.header_len, key_len.saturating_add(4));
        let pointers = room.saturating_mul(key_len).saturating_add(node.header_len);
        let pointers = node.raw.get(pointers..).unwrap_or_default();
        let children = pointers.chunks_exact(4).take(node.records);
        let children: Vec<u32> = children.map(|pointer| be32(pointer, 0)).collect();
        for &child in &children {
            let is_valid = self.group.is_block(self.superblock, child);
            let field = ("pointers", node.offset_bytes);
            self.check(is_valid, field, "a block of the group", child)?;
        }
        Ok(children)
    }

    /// Says what is wrong with a block of this tree.
    pub(super) fn check(
        &self,
        is_valid: bool,
        (field, offset_bytes): (&'static str, u64),
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        if is_valid {
            return Ok(());
        }
        let structure = self.shape.structure;
        Err(Corrupt::new(structure, field, offset_bytes, expected, found).into())
    }
}

/// How many entries of `entry_len` (not 0) fit in a block after its header.
fn room(len: usize, header_len: usize, entry_len: usize) -> usize {
    let room = len.saturating_sub(header_len);
    room.checked_div(entry_len).unwrap_or(0)
}
