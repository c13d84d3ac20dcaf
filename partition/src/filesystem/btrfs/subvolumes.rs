//! Subvolumes and snapshots: trees of files, and where each is in another.
//!
//! `struct btrfs_root_item`, `struct btrfs_root_ref`: btrfs on-disk format, "ROOT_ITEM",
//! "ROOT_BACKREF".

use super::ids::{ANY_TREE, FS_TREE, Node, is_free_objectid};
use super::roots::{ROOT_ITEM, root};
use super::superblock::Root;
use super::tree::{Block, Item, Tree};
use super::walk_around::{Visitor, leaves};
use crate::bytes::{le16, le32, le64};
use crate::error::Result;
use crate::filesystem::owners::{Gaps, Links};
use std::collections::BTreeMap;

const ROOT_BACKREF: u8 = 144;
/// Subvolumes that are looked at.
const SUBVOLUMES_MAX: usize = 1 << 16;

/// Trees of files by their object id.
pub(super) type Subvolumes = BTreeMap<u64, Root>;

/// All subvolumes that aren't being deleted; `links` gets their names.
pub(super) fn subvolumes(tree: &Tree<'_>, links: &mut Links<Node>, gaps: &Gaps) -> Subvolumes {
    let mut found = Found {
        subvolumes: BTreeMap::new(),
        links,
        gaps,
    };
    leaves(tree, tree.superblock.root_tree, gaps, &mut found);
    found.subvolumes
}

struct Found<'a> {
    subvolumes: Subvolumes,
    links: &'a mut Links<Node>,
    gaps: &'a Gaps,
}

impl Found<'_> {
    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        let tree = item.key.objectid;
        if tree != FS_TREE && !is_free_objectid(tree) {
            return Ok(());
        }
        match item.key.kind {
            ROOT_ITEM => {
                let root = root(item)?;
                // refs: 0 when it is deleted, and in part gone.
                if le32(item.data, 216) > 0 && self.subvolumes.len() < SUBVOLUMES_MAX {
                    // Snapshots share blocks with what they are of.
                    let root = Root {
                        tree: ANY_TREE,
                        ..root
                    };
                    self.subvolumes.insert(tree, root);
                }
            }
            ROOT_BACKREF => {
                item.check_len(18)?;
                let parent = Node {
                    tree: item.key.offset,
                    inode: le64(item.data, 0),
                };
                let end = usize::from(le16(item.data, 16)).saturating_add(18);
                item.check_len(end)?;
                let name = item.data.get(18..end).unwrap_or_default();
                self.links.add(Node::root(tree), parent, name);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Visitor for Found<'_> {
    fn leaf(&mut self, _logical: u64, block: &Block) -> bool {
        for index in 0..block.items() {
            let visited = block.item(index).and_then(|item| self.item(&item));
            self.gaps.tolerate(visited);
        }
        true
    }
}
