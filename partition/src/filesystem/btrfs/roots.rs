//! The root tree: where the other trees start, and the extents of the version 1 space cache.

use super::ids::{BLOCK_GROUP_TREE, EXTENT_TREE};
use super::superblock::Root;
use super::tree::{Item, Tree};
use crate::bytes::{le64, u8_at};
use crate::error::{Corrupt, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

pub(super) const ROOT_ITEM: u8 = 132;
pub(super) const EXTENT_DATA: u8 = 108;
/// `struct btrfs_root_item` in its first version.
const ROOT_ITEM_BYTES: usize = 239;
/// `struct btrfs_file_extent_item` of an extent that isn't inline.
pub(super) const FILE_EXTENT_BYTES: usize = 53;
/// Extents of the space cache that are told apart; more than that are joined by `ExtentMap`.
const CACHE_EXTENTS_MAX: usize = 1 << 18;

/// What the root tree says.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) extent_tree: Root,
    /// Where there is one. Without it block group items are in the extent tree.
    pub(super) block_group_tree: Option<Root>,
    /// Logical addresses of the space cache: files of the filesystem itself.
    pub(super) space_cache: ExtentMap,
}

impl Roots {
    /// Walks the root tree.
    ///
    /// # Errors
    /// As [`Tree::walk`]; [`crate::Error::Corrupt`] when a root that must be there is missing.
    pub(super) fn read(tree: &Tree<'_>) -> Result<Self> {
        let mut extent_tree = None;
        let mut block_group_tree = None;
        let mut cache = Vec::new();
        let mut joined = ExtentMap::new();
        tree.walk(tree.superblock.root_tree, &mut |item| {
            let key = item.key;
            match (key.objectid, key.kind, key.offset) {
                (EXTENT_TREE, ROOT_ITEM, 0) => extent_tree = Some(root(&item)?),
                (BLOCK_GROUP_TREE, ROOT_ITEM, 0) => block_group_tree = Some(root(&item)?),
                (_, EXTENT_DATA, _) => cache.extend(file_extent(&item)?),
                _ => {}
            }
            if cache.len() >= CACHE_EXTENTS_MAX {
                joined = bounded(joined.union(&cache.drain(..).collect()));
            }
            Ok(())
        })?;
        let has_group_tree = tree.superblock.features.has_block_group_tree();
        if has_group_tree && block_group_tree.is_none() {
            return Err(missing(tree, "the block group tree").into());
        }
        Ok(Self {
            extent_tree: extent_tree.ok_or_else(|| missing(tree, "the extent tree"))?,
            block_group_tree: block_group_tree.filter(|_| has_group_tree),
            space_cache: joined.union(&cache.into_iter().collect()),
        })
    }
}

/// No more than a fixed number of extents, small gaps between them closed for that.
fn bounded(map: ExtentMap) -> ExtentMap {
    let mut builder = ExtentMapBuilder::with_limit(CACHE_EXTENTS_MAX);
    map.iter().for_each(|extent| builder.push(extent));
    builder.finish()
}

fn missing(tree: &Tree<'_>, which: &str) -> Corrupt {
    let root = tree.superblock.root_tree;
    let place = Extent::new(root.logical, tree.superblock.node_bytes.into());
    let offset_bytes = place.and_then(|extent| {
        let chunk = tree.chunks.holding(extent)?;
        Some(chunk.physical(extent).next()?.offset_bytes())
    });
    let offset_bytes = offset_bytes.unwrap_or_default();
    let expected = format!("the root of {which}");
    Corrupt::new("btrfs root tree", "items", offset_bytes, expected, "none")
}

/// Where the tree of a root item starts.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the item is none.
pub(super) fn root(item: &Item<'_>) -> Result<Root> {
    item.check_len(ROOT_ITEM_BYTES)?;
    let level = u8_at(item.data, 238);
    if level > 7 {
        return Err(item.corrupt("level", "0 to 7", level));
    }
    Ok(Root {
        tree: item.key.objectid,
        logical: le64(item.data, 176),
        generation: le64(item.data, 160),
        level,
    })
}

fn file_extent(item: &Item<'_>) -> Result<Option<Extent>> {
    item.check_len(21)?;
    // type: 0 is inline.
    if u8_at(item.data, 20) == 0 {
        return Ok(None);
    }
    item.check_len(FILE_EXTENT_BYTES)?;
    let (start, len_bytes) = (le64(item.data, 21), le64(item.data, 29));
    if start == 0 {
        // A hole.
        return Ok(None);
    }
    let extent = Extent::new(start, len_bytes);
    let extent = extent.ok_or_else(|| item.corrupt("disk_num_bytes", "a range", len_bytes))?;
    Ok(Some(extent))
}
