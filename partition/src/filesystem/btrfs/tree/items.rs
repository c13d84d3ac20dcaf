//! The items of a tree, one after the other.

use super::{Block, Item, Key, Leaves, Reading, Tree};
use crate::error::Result;
use crate::filesystem::btrfs::superblock::Root;

/// Every item below a root in the order of their keys, read as they are asked for.
pub(in crate::filesystem::btrfs) struct Items<'a> {
    leaves: Leaves<'a>,
    leaf: Option<Block>,
    /// Of the next item in the leaf.
    index: usize,
    last_key: Option<Key>,
}

impl<'a> Items<'a> {
    pub(in crate::filesystem::btrfs) const fn new(tree: Tree<'a>, root: Root) -> Self {
        Self {
            leaves: Leaves::new(tree, root, Reading::Strict),
            leaf: None,
            index: 0,
            last_key: None,
        }
    }

    /// The next item; `None` behind the last one.
    ///
    /// Keys ascend from the first item to the last, so no block is visited twice.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a block fails a check; [`crate::Error::Io`] when the device
    /// fails.
    pub(in crate::filesystem::btrfs) fn next(&mut self) -> Result<Option<Item<'_>>> {
        while self
            .leaf
            .as_ref()
            .is_none_or(|leaf| self.index >= leaf.items())
        {
            self.leaf = self.leaves.next(&|_| true)?;
            self.index = 0;
            if self.leaf.is_none() {
                return Ok(None);
            }
        }
        let Some(leaf) = &self.leaf else {
            return Ok(None);
        };
        let item = leaf.item(self.index)?;
        leaf.check_order(&mut self.last_key, item.key)?;
        self.index += 1;
        Ok(Some(item))
    }
}
