//! Names of files, found from below: the references of an inode to the directories that name it.
//!
//! `struct btrfs_inode_ref`, `struct btrfs_inode_extref` (btrfs on-disk format, "INODE_REF",
//! "INODE_EXTREF").

use super::address::Logical;
use super::ids::{Node, ROOT_DIRECTORY};
use super::subvolumes::Subvolumes;
use super::superblock::Root;
use super::tree::{Block, Key, Pointer, Tree};
use crate::bytes::{le16, le64};
use crate::error::Result;
use crate::filesystem::owners::Links;
use std::collections::HashMap;
use std::rc::Rc;

/// `BTRFS_INODE_REF_KEY`, `BTRFS_INODE_EXTREF_KEY`.
const INODE_REF: u8 = 12;
const INODE_EXTREF: u8 = 13;
/// Sizes of both structures, without the names that follow them.
const INODE_REF_BYTES: usize = 10;
const INODE_EXTREF_BYTES: usize = 18;
/// Blocks that are held: 16 MiB of the largest.
const CACHED_MAX: usize = 256;

/// Looks names up.
pub(super) struct Names<'a> {
    tree: Tree<'a>,
    subvolumes: &'a Subvolumes,
    cached: HashMap<Logical, Rc<Block>>,
}

/// A name, and the directory that has it.
struct Name {
    parent: Node,
    name: Vec<u8>,
}

/// An item that was looked up.
struct Found {
    key: Key,
    data: Vec<u8>,
}

impl<'a> Names<'a> {
    pub(super) fn new(tree: Tree<'a>, subvolumes: &'a Subvolumes) -> Self {
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
        // It ends where a link is known already: no directory is looked up twice. The root
        // directory of a subvolume is in another subvolume.
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
            let Some(Name { parent, name }) = self.look_up(at)? else {
                return Ok(());
            };
            if !links.add(at, parent, &name) {
                return Ok(());
            }
            at = parent;
        }
    }

    /// Whether nothing is left to look up for a directory that holds a subvolume.
    fn is_known(&self, node: Node, links: &Links<Node>) -> bool {
        node.inode != ROOT_DIRECTORY && links.parent(node).is_some()
    }

    /// One name of a file.
    fn look_up(&mut self, node: Node) -> Result<Option<Name>> {
        let Some(&root) = self.subvolumes.get(&node.tree) else {
            return Ok(None);
        };
        let key = Key {
            objectid: node.inode,
            kind: INODE_REF,
            offset: 0,
        };
        let found = self.first_from(root, key)?;
        Ok(found.and_then(|found| name(node, &found)))
    }

    /// The first item with that key or a later one.
    fn first_from(&mut self, root: Root, key: Key) -> Result<Option<Found>> {
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
                    return Ok(Some(Found {
                        key: item.key,
                        data: item.data.to_vec(),
                    }));
                }
                match next.take() {
                    Some(pointer) => at = pointer,
                    None => return Ok(None),
                }
                continue;
            }
            let after = partition_point(count, |index| block.key(index) <= key).max(1);
            if after < count {
                next = Some(block.child(None, after));
            }
            at = block.child(None, after - 1);
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

/// The first name in a reference of `node`; `None` when the item is another one.
fn name(node: Node, found: &Found) -> Option<Name> {
    let (key, data) = (found.key, found.data.as_slice());
    if key.objectid != node.inode {
        return None;
    }
    let (inode, name_len, start) = match key.kind {
        INODE_REF if data.len() >= INODE_REF_BYTES => {
            let name_len = le16(data, 8);
            (key.offset, name_len, INODE_REF_BYTES)
        }
        INODE_EXTREF if data.len() >= INODE_EXTREF_BYTES => {
            let (parent, name_len) = (le64(data, 0), le16(data, 16));
            (parent, name_len, INODE_EXTREF_BYTES)
        }
        _ => return None,
    };
    let name = data.get(start..)?.get(..usize::from(name_len))?.to_vec();
    let parent = Node {
        tree: node.tree,
        inode,
    };
    Some(Name { parent, name })
}

/// How many of the first `count` indices `is_before` holds for. They all come first.
fn partition_point(count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
