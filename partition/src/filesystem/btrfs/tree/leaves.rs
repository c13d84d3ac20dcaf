//! The leaves of a tree, one after the other; strict, or around blocks that are bad.

use super::ahead::Ahead;
use super::{Block, Pointer, Tree};
use crate::error::{Corrupt, Result};
use crate::filesystem::btrfs::address::Logical;
use crate::filesystem::btrfs::ids::TreeId;
use crate::filesystem::btrfs::superblock::Root;
use crate::filesystem::owners::Gaps;

/// Which copy of a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filesystem::btrfs) enum Reading {
    /// The first copy, and leaves in large reads. A volume whose first copy is bad needs a scrub,
    /// so nothing is proven by its second one.
    Strict,
    /// The second copy where the first is bad. Only what is asked for is read.
    Tolerant,
}

/// The leaves below a root in the order of their keys, read as they are asked for.
pub(in crate::filesystem::btrfs) struct Leaves<'a> {
    tree: Tree<'a>,
    reading: Reading,
    /// Blocks to be read; the last one is next.
    pending: Vec<Pointer>,
    root: Option<Root>,
    blocks: u64,
    ahead: Ahead,
}

impl<'a> Leaves<'a> {
    pub(in crate::filesystem::btrfs) const fn new(
        tree: Tree<'a>,
        root: Root,
        reading: Reading,
    ) -> Self {
        Self {
            tree,
            reading,
            pending: Vec::new(),
            root: Some(root),
            blocks: 0,
            ahead: Ahead::new(),
        }
    }

    /// The next leaf at an address that `wants` holds for; `None` behind the last one.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a block fails a check or blocks point in a circle;
    /// [`crate::Error::Io`] when the device fails. The next call goes on behind a bad block.
    pub(in crate::filesystem::btrfs) fn next(
        &mut self,
        wants: &dyn Fn(Logical) -> bool,
    ) -> Result<Option<Block>> {
        self.pending.extend(self.root.take().map(Pointer::from));
        while let Some(pointer) = self.pending.pop() {
            if pointer.root.level == 0 && !wants(pointer.root.logical) {
                continue;
            }
            self.count(pointer)?;
            let block = self.read(pointer)?;
            if block.level() == 0 {
                return Ok(Some(block));
            }
            self.push_children(&block, pointer.root.owner)?;
        }
        Ok(None)
    }

    /// The next leaf that can be read. What is wrong with blocks before it is noted in `gaps`.
    pub(in crate::filesystem::btrfs) fn next_sound(
        &mut self,
        gaps: &Gaps,
        wants: &dyn Fn(Logical) -> bool,
    ) -> Option<Block> {
        loop {
            let next = self.next(wants);
            if let Some(next) = gaps.tolerate(next) {
                return next;
            }
        }
    }

    /// Levels descend from parent to child, and no more blocks are read than the device has room
    /// for: a circle ends.
    fn count(&mut self, pointer: Pointer) -> Result<()> {
        if self.blocks >= self.tree.superblock.tree_blocks_max() {
            self.pending.clear();
            let expected = "a tree without cycles";
            let found = format!("a cycle at {}", pointer.root.logical);
            return Err(Corrupt::new("btrfs tree", "blockptr", 0, expected, found).into());
        }
        self.blocks += 1;
        Ok(())
    }

    fn read(&mut self, pointer: Pointer) -> Result<Block> {
        if self.reading == Reading::Tolerant {
            return self.tree.read_any(pointer);
        }
        let first = self.tree.copies(pointer.root)?.first;
        if pointer.root.level != 0 {
            return self.tree.read(pointer, first);
        }
        let siblings = self.pending.iter().rev();
        let mut leaves = siblings
            .take_while(|sibling| sibling.root.level == 0)
            .map_while(|sibling| Some(self.tree.copies(sibling.root).ok()?.first));
        let raw = self.ahead.read(self.tree.device, first, &mut leaves)?;
        Block::check(self.tree, pointer, raw, first.offset_bytes())
    }

    /// Has the children of a block read next.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when their keys don't ascend. The ones before are read.
    fn push_children(&mut self, block: &Block, owner: Option<TreeId>) -> Result<()> {
        let mut last_key = None;
        let mut children = Vec::with_capacity(block.items());
        let checked = (0..block.items()).try_for_each(|index| {
            block.check_order(&mut last_key, block.key(index))?;
            children.push(block.child(owner, index));
            Ok(())
        });
        self.pending.extend(children.into_iter().rev());
        checked
    }
}
