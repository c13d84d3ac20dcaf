//! Single leaves of a tree by key, with the blocks that were read last at hand.

use super::ahead::Ahead;
use super::{Block, Key, Pointer, Tree};
use crate::error::Result;
use crate::filesystem::btrfs::superblock::Root;
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks at hand, of 4 to 64 KiB each.
const BLOCKS_MAX: usize = 32;

/// Looks for leaves of one tree. What is asked for in the order of keys is read ahead.
pub(in crate::filesystem::btrfs) struct Search<'a> {
    tree: Tree<'a>,
    root: Root,
    ahead: Ahead,
    /// Inner blocks, and leaves: apart, so that leaves don't push out what leads to them. Those that
    /// were used last are in front.
    recent: [VecDeque<Arc<Block>>; 2],
    /// The first key behind the leaf that was read last.
    next_key: Option<Key>,
}

/// A leaf, and where it ends.
pub(in crate::filesystem::btrfs) struct Leaf {
    pub(in crate::filesystem::btrfs) block: Arc<Block>,
    /// The first key of the leaf that follows; `None` behind the last one.
    pub(in crate::filesystem::btrfs) next_key: Option<Key>,
}

impl<'a> Search<'a> {
    pub(in crate::filesystem::btrfs) const fn new(tree: Tree<'a>, root: Root) -> Self {
        Self {
            tree,
            root,
            ahead: Ahead::new(),
            recent: [VecDeque::new(), VecDeque::new()],
            next_key: None,
        }
    }

    /// The leaf that holds the last item up to `key`, or the first leaf when there is none.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when both copies of a block fail a check,
    /// [`crate::Error::Io`] when the device can't read them.
    pub(in crate::filesystem::btrfs) fn leaf(&mut self, key: Key) -> Result<Leaf> {
        let mut next_key = None;
        let mut pointer = Pointer::from(self.root);
        let mut siblings = Vec::new();
        loop {
            let block = self.block(pointer, &siblings)?;
            if block.level() == 0 {
                self.next_key = next_key;
                return Ok(Leaf { block, next_key });
            }
            let index = block.count_up_to(key).saturating_sub(1);
            let owner = pointer.root.owner;
            let behind = index.saturating_add(1)..block.items();
            if !behind.is_empty() {
                next_key = Some(block.key(behind.start));
            }
            pointer = block.child(owner, index);
            // What follows is worth reading when this one follows the last one.
            let is_next = pointer.first_key.is_some() && pointer.first_key == self.next_key;
            siblings = match block.level() == 1 && is_next {
                true => behind.map(|index| block.child(owner, index)).collect(),
                false => Vec::new(),
            };
        }
    }

    /// A block that was at hand, or is read now.
    fn block(&mut self, pointer: Pointer, siblings: &[Pointer]) -> Result<Arc<Block>> {
        let [inner, leaves] = &mut self.recent;
        let recent = if pointer.root.level == 0 {
            leaves
        } else {
            inner
        };
        let is_it = |block: &Arc<Block>| block.logical() == pointer.root.logical;
        let block = match recent
            .iter()
            .position(is_it)
            .and_then(|at| recent.remove(at))
        {
            Some(block) if block.level() == pointer.root.level => block,
            _ => Arc::new(read(self.tree, pointer, siblings, &mut self.ahead)?),
        };
        recent.push_front(Arc::clone(&block));
        recent.truncate(BLOCKS_MAX);
        Ok(block)
    }
}

/// Reads a block, or its second copy if the first is bad. A leaf is read together with the `siblings` that
/// follow it.
fn read(
    tree: Tree<'_>,
    pointer: Pointer,
    siblings: &[Pointer],
    ahead: &mut Ahead,
) -> Result<Block> {
    if pointer.root.level > 0 {
        return tree.read_any(pointer);
    }
    let first = tree.copies(pointer.root)?.first;
    let mut next = siblings
        .iter()
        .map_while(|sibling| Some(tree.copies(sibling.root).ok()?.first));
    let raw = ahead.read(tree.device, first, &mut next);
    raw.and_then(|raw| Block::check(tree, pointer, raw, first.offset_bytes()))
        .or_else(|_| tree.read_any(pointer))
}
