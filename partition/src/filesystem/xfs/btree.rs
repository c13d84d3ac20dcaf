//! Blocks of B+trees with short pointers, which stay within an allocation group.
//!
//! XFS Algorithms & Data Structures, "Short Format B+trees": `xfs_btree_sblock`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::AgBlock;
use super::checksum;
use super::group::{Group, Root};
use super::superblock::{Superblock, uuid};
use crate::bytes::{be16, be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Result, Structure};
use crate::filesystem::owners::Gaps;

/// `NULLAGBLOCK`
const NULL_BLOCK: AgBlock = AgBlock(u32::MAX);
const POINTER_LEN: usize = 4;

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
    pub(super) group: Group,
    pub(super) shape: &'static Shape,
    pub(super) root: Root,
    /// Where blocks that fail a check are noted; without it, they are errors.
    pub(super) gaps: Option<&'a Gaps>,
}

/// Gets each record, and where its block starts.
pub(super) type Visit<'a> = dyn FnMut(&[u8], u64) -> Result<()> + 'a;

/// A block of the tree that is still to be read.
#[derive(Clone, Copy)]
struct Child {
    block: AgBlock,
    /// 0 for a leaf.
    level: u32,
}

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
    /// The walk ends. No more blocks are read than the group has. Besides, levels decrease on the
    /// way down, and each leaf but an only one has a record, so that a `visit` that refuses records
    /// that don't ascend ends it, too.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a block fails a check; what `visit` returns. With `gaps`, both
    /// are noted there, and the walk goes on with the next block or record.
    pub(super) fn records(&self, visit: &mut Visit<'_>) -> Result<()> {
        let mut pending = vec![Child {
            block: self.root.block,
            level: self.root.levels.saturating_sub(1),
        }];
        let mut right = None;
        let mut blocks_left = self.group.blocks;
        while let Some(child) = pending.pop() {
            let Some(left) = blocks_left.checked_sub(1) else {
                let offset_bytes = self.byte(child.block);
                let expected = "a tree without loops";
                return Err(self
                    .structure(offset_bytes)
                    .corrupt("pointers", expected, "one")
                    .into());
            };
            blocks_left = left;
            let visited = self.node(child, &mut right, &mut pending, visit);
            if visited.is_err() {
                right = None;
            }
            self.tolerate(visited)?;
        }
        let right = right.unwrap_or(NULL_BLOCK);
        if self.gaps.is_some() || right == NULL_BLOCK {
            return Ok(());
        }
        let offset_bytes = self.byte(self.root.block);
        let corrupt = self
            .structure(offset_bytes)
            .corrupt("bb_rightsib", NULL_BLOCK, right);
        Err(corrupt.into())
    }

    /// Visits the records of a leaf, or adds the children of another block to `pending`. `right` is
    /// the leaf that must come next, as far as the one before named it.
    fn node(
        &self,
        child: Child,
        right: &mut Option<AgBlock>,
        pending: &mut Vec<Child>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let node = self.read(child)?;
        if let Some(level) = child.level.checked_sub(1) {
            let children = self.children(&node)?.into_iter().rev();
            pending.extend(children.map(|block| Child { block, level }));
            return Ok(());
        }
        let (expected, found) = (right.unwrap_or(child.block), child.block);
        if expected != found {
            let block = self.structure(node.offset_bytes);
            let corrupt = block.corrupt("bb_rightsib", expected, found);
            return Err(corrupt.into());
        }
        let bb_rightsib = be32(&node.raw, 12);
        *right = Some(AgBlock(bb_rightsib));
        let records = node.raw.get(node.header_len..).unwrap_or_default();
        let records = records.chunks_exact(self.shape.record_len);
        for record in records.take(node.records) {
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

    fn byte(&self, block: AgBlock) -> u64 {
        self.superblock.group_byte(self.group.number, block)
    }

    fn read(&self, child: Child) -> Result<Node> {
        let offset_bytes = self.byte(child.block);
        let raw = read_vec(self.device, offset_bytes, self.superblock.block_len())?;
        let header_len = self.check_identity(&raw, offset_bytes)?;
        let block = self.structure(offset_bytes);
        let bb_level = be16(&raw, 4);
        let bb_numrecs = usize::from(be16(&raw, 6));
        let is_valid = u32::from(bb_level) == child.level;
        block.check(is_valid, "bb_level", child.level, bb_level)?;
        let record_len = if child.level == 0 {
            self.shape.record_len
        } else {
            self.shape.key_len + POINTER_LEN
        };
        let room = raw.len().saturating_sub(header_len) / record_len;
        // An empty root is a group with nothing to name.
        let is_empty_root = child.level == 0 && self.root.levels == 1;
        let is_valid = bb_numrecs <= room && (bb_numrecs > 0 || is_empty_root);
        let expected = format_args!("1 to {room}");
        block.check(is_valid, "bb_numrecs", expected, bb_numrecs)?;
        Ok(Node {
            offset_bytes,
            raw,
            header_len,
            records: bb_numrecs,
        })
    }

    /// Checks what a block says of itself, and gives the length of its header.
    fn check_identity(&self, raw: &[u8], offset_bytes: u64) -> Result<usize> {
        let is_v5 = self.superblock.features.is_v5();
        let [v4, v5] = self.shape.magic.map(u32::from_be_bytes);
        let magic = if is_v5 { v5 } else { v4 };
        let block = self.structure(offset_bytes);
        let bb_magic = be32(raw, 0);
        let expected = format_args!("{magic:#x}");
        let is_valid = bb_magic == magic;
        block.check(is_valid, "bb_magic", expected, bb_magic)?;
        if !is_v5 {
            return Ok(16);
        }
        checksum::check(self.shape.structure, offset_bytes, raw, 52)?;
        // Disk addresses count 512 bytes, whatever the sector.
        let bb_blkno = be64(raw, 16);
        let expected = offset_bytes / 512;
        let is_valid = bb_blkno == expected;
        block.check(is_valid, "bb_blkno", expected, bb_blkno)?;
        let bb_owner = be32(raw, 48);
        let expected = self.group.number.0;
        let is_valid = bb_owner == expected;
        block.check(is_valid, "bb_owner", expected, bb_owner)?;
        let bb_uuid = uuid(raw, 32);
        let is_valid = bb_uuid == self.superblock.meta_uuid;
        let found = be32(raw, 32);
        block.check(is_valid, "bb_uuid", "the superblock's", found)?;
        Ok(56)
    }

    fn children(&self, node: &Node) -> Result<Vec<AgBlock>> {
        // Pointers come after room for as many keys as fit.
        let body = node.raw.get(node.header_len..).unwrap_or_default();
        let key_len = self.shape.key_len;
        let room = body.len() / (key_len + POINTER_LEN);
        let pointers = body.get(room * key_len..).unwrap_or_default();
        let children = pointers.chunks_exact(POINTER_LEN).take(node.records);
        let children: Vec<_> = children.map(|child| AgBlock(be32(child, 0))).collect();
        let block = self.structure(node.offset_bytes);
        for &child in &children {
            let is_valid = self.group.has(self.superblock, child);
            let expected = "a block of the group";
            block.check(is_valid, "pointers", expected, child)?;
        }
        Ok(children)
    }

    /// The block of this tree at `offset_bytes`, to say what is wrong with it.
    pub(super) const fn structure(&self, offset_bytes: u64) -> Structure {
        Structure {
            name: self.shape.structure,
            offset_bytes,
        }
    }
}
