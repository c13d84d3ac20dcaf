//! Subvolumes and snapshots: the trees of files, and where each of them is in another.
//!
//! `struct btrfs_root_item`, `struct btrfs_root_ref` (btrfs on-disk format, "ROOT_ITEM",
//! "ROOT_BACKREF").

use super::ids::{Node, TreeId};
use super::roots::{ROOT_ITEM, RootItem};
use super::superblock::Root;
use super::tree::{Item, Leaves, Reading, Tree};
use crate::bytes::{le16, le64};
use crate::error::Result;
use crate::filesystem::owners::{Gaps, Links};
use std::collections::BTreeMap;

/// `BTRFS_ROOT_BACKREF_KEY`.
const ROOT_BACKREF: u8 = 144;
/// Size of `struct btrfs_root_ref`, without the name that follows it.
const ROOT_REF_BYTES: usize = 18;
/// Subvolumes that are looked at.
const SUBVOLUMES_MAX: usize = 1 << 16;

/// Where each tree of files starts.
pub(super) type Subvolumes = BTreeMap<TreeId, Root>;

/// All subvolumes that aren't being deleted; `links` gets their names.
pub(super) fn subvolumes(tree: Tree<'_>, links: &mut Links<Node>, gaps: &Gaps) -> Subvolumes {
    let mut found = Found {
        subvolumes: BTreeMap::new(),
        links,
    };
    let mut leaves = Leaves::new(tree, tree.superblock.root_tree, Reading::Tolerant);
    while let Some(leaf) = leaves.next_sound(gaps, &|_| true) {
        for index in 0..leaf.items() {
            let visited = leaf.item(index).and_then(|item| found.item(&item));
            gaps.tolerate(visited);
        }
    }
    found.subvolumes
}

struct Found<'a> {
    subvolumes: Subvolumes,
    links: &'a mut Links<Node>,
}

impl Found<'_> {
    fn item(&mut self, item: &Item<'_>) -> Result<()> {
        let tree = TreeId::new(item.key.objectid);
        match item.key.kind {
            ROOT_ITEM if tree.is_subvolume() => self.root_item(tree, item),
            ROOT_BACKREF if tree.is_subvolume() => self.root_backref(tree, item),
            _ => Ok(()),
        }
    }

    fn root_item(&mut self, tree: TreeId, item: &Item<'_>) -> Result<()> {
        let RootItem { root, refs } = RootItem::parse(item)?;
        // One that is being deleted is in part gone.
        if refs > 0 && self.subvolumes.len() < SUBVOLUMES_MAX {
            // A snapshot shares blocks with the subvolume it was made of.
            let owner = None;
            self.subvolumes.insert(tree, Root { owner, ..root });
        }
        Ok(())
    }

    fn root_backref(&mut self, tree: TreeId, item: &Item<'_>) -> Result<()> {
        item.check_len(ROOT_REF_BYTES)?;
        let (dirid, name_len) = (le64(item.data, 0), usize::from(le16(item.data, 16)));
        let parent = Node {
            tree: TreeId::new(item.key.offset),
            inode: dirid,
        };
        let end = ROOT_REF_BYTES + name_len;
        item.check_len(end)?;
        let name = item.data.get(ROOT_REF_BYTES..end).unwrap_or_default();
        self.links.add(Node::root(tree), parent, name);
        Ok(())
    }
}
