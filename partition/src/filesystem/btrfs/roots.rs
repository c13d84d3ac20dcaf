//! The root tree: where the other trees start, and the extents of the version 1 space cache.
//!
//! `struct btrfs_root_item` (btrfs on-disk format, "ROOT_ITEM").

use super::address::{Logical, LogicalMap, LogicalRange};
use super::file_extent::{EXTENT_DATA, FileExtent, Place};
use super::ids::TreeId;
use super::superblock::{LEVEL_MAX, Root};
use super::tree::{Item, Tree};
use crate::bytes::{le32, le64, u8_at};
use crate::error::{Corrupt, Result};

/// `BTRFS_ROOT_ITEM_KEY`.
pub(super) const ROOT_ITEM: u8 = 132;
/// Size of the first version of `struct btrfs_root_item`.
const ROOT_ITEM_BYTES: usize = 239;
/// Extents of the space cache that are told apart. Of more, small gaps between them are closed.
const CACHE_EXTENTS_MAX: usize = 1 << 18;

/// What the root tree says.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) extent_tree: Root,
    /// The tree of checksums of data, where there is one.
    checksum_tree: Option<Root>,
    /// The tree of block groups. Without one, their items are in the extent tree.
    pub(super) block_group_tree: Option<Root>,
    /// Where the space cache is: files of the filesystem's own.
    pub(super) space_cache: LogicalMap,
}

impl Roots {
    /// Walks the root tree.
    ///
    /// # Errors
    /// As [`Tree::walk`]; [`crate::Error::Corrupt`] when a root that must be there is missing.
    pub(super) fn read(tree: Tree<'_>) -> Result<Self> {
        let mut extent_tree = None;
        let mut checksum_tree = None;
        let mut block_group_tree = None;
        let mut cache = Vec::new();
        let mut joined = LogicalMap::default();
        tree.walk(tree.superblock.root_tree, &mut |item| {
            let key = item.key;
            match (TreeId::new(key.objectid), key.kind, key.offset) {
                (TreeId::EXTENT, ROOT_ITEM, 0) => extent_tree = Some(RootItem::parse(&item)?.root),
                (TreeId::CHECKSUM, ROOT_ITEM, 0) => {
                    checksum_tree = Some(RootItem::parse(&item)?.root);
                }
                (TreeId::BLOCK_GROUP, ROOT_ITEM, 0) => {
                    block_group_tree = Some(RootItem::parse(&item)?.root);
                }
                (_, EXTENT_DATA, _) => cache.extend(cached(&item)?),
                _ => {}
            }
            if cache.len() >= CACHE_EXTENTS_MAX {
                let more = cache.drain(..).collect();
                joined = joined.union(&more).bounded(CACHE_EXTENTS_MAX);
            }
            Ok(())
        })?;
        let has_group_tree = tree.superblock.features.has_block_group_tree();
        Ok(Self {
            extent_tree: extent_tree.ok_or_else(|| missing(tree, "the extent tree"))?,
            checksum_tree,
            block_group_tree: block_group_tree.filter(|_| has_group_tree),
            space_cache: joined.union(&cache.into_iter().collect()),
        })
    }

    /// The tree of checksums of data.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there is none.
    pub(super) fn checksum_tree(&self, tree: Tree<'_>) -> Result<Root> {
        let root = self.checksum_tree;
        root.ok_or_else(|| missing(tree, "the checksum tree").into())
    }
}

fn missing(tree: Tree<'_>, which: &str) -> Corrupt {
    let root = tree.superblock.root_tree;
    let range = root.logical.range(tree.superblock.node_bytes.into());
    let copies = range.and_then(|range| tree.chunks.holding(range)?.physical(range));
    let offset_bytes = copies.map_or(0, |copies| copies.first.offset_bytes());
    let expected = format!("the root of {which}");
    Corrupt::new("btrfs root tree", "items", offset_bytes, expected, "none")
}

/// A root item: where a tree starts, and whether it is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct RootItem {
    pub(super) root: Root,
    /// 0 for a subvolume that is being deleted.
    pub(super) refs: u32,
}

impl RootItem {
    /// Parses a `ROOT_ITEM`.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when it is too short or the level is impossible.
    pub(super) fn parse(item: &Item<'_>) -> Result<Self> {
        item.check_len(ROOT_ITEM_BYTES)?;
        let (generation, bytenr) = (le64(item.data, 160), le64(item.data, 176));
        let (refs, level) = (le32(item.data, 216), u8_at(item.data, 238));
        if level > LEVEL_MAX {
            return Err(item.corrupt("level", "0 to 7", level));
        }
        let root = Root {
            owner: Some(TreeId::new(item.key.objectid)),
            logical: Logical::new(bytenr),
            generation,
            level,
        };
        Ok(Self { root, refs })
    }
}

/// Where a part of the space cache is.
fn cached(item: &Item<'_>) -> Result<Option<LogicalRange>> {
    match FileExtent::parse(item)?.place {
        Place::OnDisk(on_disk) => Ok(Some(on_disk.extent)),
        Place::Inline | Place::Hole => Ok(None),
    }
}
