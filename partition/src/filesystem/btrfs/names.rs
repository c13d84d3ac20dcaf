//! Names of files, found from below: the references of an inode to the directories that name it.
//!
//! `struct btrfs_inode_ref`, `struct btrfs_inode_extref`: btrfs on-disk format, "INODE_REF",
//! "INODE_EXTREF".

use super::ids::{ANY_TREE, Node, ROOT_DIRECTORY};
use super::subvolumes::Subvolumes;
use super::superblock::Root;
use super::tree::{Block, Key, Pointer, Tree};
use crate::bytes::{le16, le64};
use crate::error::Result;
use crate::filesystem::owners::Links;
use std::collections::HashMap;
use std::rc::Rc;

const INODE_REF: u8 = 12;
const INODE_EXTREF: u8 = 13;
/// Blocks that are held: 16 MiB of the largest.
const CACHED_MAX: usize = 256;

/// Looks names up.
pub(super) struct Names<'a> {
    tree: &'a Tree<'a>,
    subvolumes: &'a Subvolumes,
    cached: HashMap<u64, Rc<Block>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(tree: &'a Tree<'a>, subvolumes: &'a Subvolumes) -> Self {
        Self {
            tree,
            subvolumes,
            cached: HashMap::new(),
        }
    }

    /// Adds links from a file up to the root of the filesystem, as far as there are any.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] or [`crate::Error::Io`] when a block on the way is bad.
    pub(super) fn climb(&mut self, file: Node, links: &mut Links<Node>) -> Result<()> {
        let mut at = file;
        // What is linked already ends this: no directory is looked up twice. The root directory
        // of a subvolume is in another one.
        loop {
            if let Some(parent) = links.parent(at).filter(|_| at.inode == ROOT_DIRECTORY) {
                if at == Node::top() || self.is_known(parent, links) {
                    return Ok(());
                }
                at = parent;
                continue;
            }
            if at.inode == ROOT_DIRECTORY || links.parent(at).is_some() {
                return Ok(());
            }
            let Some((parent, name)) = self.look_up(at)? else {
                return Ok(());
            };
            if !links.add(at, parent, &name) {
                return Ok(());
            }
            at = parent;
        }
    }

    /// Whether there is nothing left to look up for a directory that holds a subvolume.
    fn is_known(&self, node: Node, links: &Links<Node>) -> bool {
        node.inode != ROOT_DIRECTORY && links.parent(node).is_some()
    }

    /// One name of a file, and the directory that has it.
    fn look_up(&mut self, node: Node) -> Result<Option<(Node, Vec<u8>)>> {
        let Some(&root) = self.subvolumes.get(&node.tree) else {
            return Ok(None);
        };
        let key = Key {
            objectid: node.inode,
            kind: INODE_REF,
            offset: 0,
        };
        let Some((found, data)) = self.first_from(root, key)? else {
            return Ok(None);
        };
        let is_of_inode = found.objectid == node.inode;
        let (inode, len_at) = match found.kind {
            INODE_REF if is_of_inode && data.len() >= 10 => (found.offset, 8),
            INODE_EXTREF if is_of_inode && data.len() >= 18 => (le64(&data, 0), 16),
            _ => return Ok(None),
        };
        let start = len_at + 2;
        let end = usize::from(le16(&data, len_at)).saturating_add(start);
        let name = data.get(start..end).map(<[u8]>::to_vec);
        let parent = Node {
            tree: node.tree,
            inode,
        };
        Ok(name.map(|name| (parent, name)))
    }

    /// The first item with that key or a later one.
    fn first_from(&mut self, root: Root, key: Key) -> Result<Option<(Key, Vec<u8>)>> {
        let mut at = Pointer::from(root);
        // Where to go on when a leaf has earlier keys only; levels descend from one to the next.
        let mut next = None;
        loop {
            let block = self.block(at)?;
            let count = block.items();
            if block.level() == 0 {
                let index = partition_point(count, |index| block.key(index) < key);
                if index < count {
                    let item = block.item(index)?;
                    return Ok(Some((item.key, item.data.to_vec())));
                }
                match next.take() {
                    Some(pointer) => at = pointer,
                    None => return Ok(None),
                }
                continue;
            }
            let after = partition_point(count, |index| block.key(index) <= key).max(1);
            if after < count {
                next = Some(block.child(ANY_TREE, after));
            }
            at = block.child(ANY_TREE, after.saturating_sub(1));
        }
    }

    fn block(&mut self, pointer: Pointer) -> Result<Rc<Block>> {
        let logical = pointer.root.logical;
        if let Some(block) = self.cached.get(&logical)
            && block.level() == pointer.root.level
        {
            return Ok(Rc::clone(block));
        }
        let block = Rc::new(self.tree.read_any(pointer)?);
        if self.cached.len() >= CACHED_MAX {
            self.cached.clear();
        }
        self.cached.insert(logical, Rc::clone(&block));
        Ok(block)
    }
}

/// How many of the first `count` indices `is_before` holds for, all of which come first.
fn partition_point(count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    low
}
