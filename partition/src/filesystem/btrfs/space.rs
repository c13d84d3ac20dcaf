//! What is in use: the extent tree, checked against the chunks and the block groups.
//!
//! `struct btrfs_block_group_item` (btrfs on-disk format, "BLOCK_GROUP_ITEM").

use super::address::{Logical, LogicalMap, LogicalMapBuilder};
use super::chunks::EXTENTS_MAX;
use super::extent_item::{BLOCK_GROUP_ITEM, EXTENT_ITEM, ExtentItems, METADATA_ITEM, is_reference};
use super::roots::Roots;
use super::tree::{Item, Tree};
use crate::bytes::le64;
use crate::error::{Corrupt, Result};

/// Size of `struct btrfs_block_group_item`.
const BLOCK_GROUP_ITEM_BYTES: usize = 24;

/// Which extents are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// Tree blocks and the space cache.
    Metadata,
}

/// Walks the extent tree and the block groups: the addresses in use.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an extent overlaps another, lies outside of a chunk of its kind,
/// or when the extents of a chunk are not as many bytes as its block group counts, and as
/// [`Tree::walk`].
pub(super) fn space(tree: Tree<'_>, wanted: Wanted) -> Result<LogicalMap> {
    let roots = Roots::read(tree)?;
    let mut walk = Walk {
        tree,
        wanted,
        space_cache: &roots.space_cache,
        groups: vec![Group::default(); tree.chunks.all().len()],
        found: LogicalMapBuilder::with_limit(EXTENTS_MAX),
        extents: ExtentItems::new(tree),
    };
    let is_apart = roots.block_group_tree.is_some();
    tree.walk(roots.extent_tree, &mut |item| match item.key.kind {
        EXTENT_ITEM | METADATA_ITEM => walk.extent(&item),
        BLOCK_GROUP_ITEM if !is_apart => walk.block_group(&item),
        kind if is_reference(kind) => Ok(()),
        _ => Err(item.unexpected("an extent, a reference or a block group")),
    })?;
    if let Some(root) = roots.block_group_tree {
        tree.walk(root, &mut |item| match item.key.kind {
            BLOCK_GROUP_ITEM => walk.block_group(&item),
            _ => Err(item.unexpected("a block group")),
        })?;
    }
    walk.check_sums()?;
    Ok(walk.found.finish())
}

/// What is known of the block group of a chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Bytes in extents.
    sum_bytes: u64,
    /// Bytes in use by the block group item.
    used_bytes: Option<u64>,
}

struct Walk<'a> {
    tree: Tree<'a>,
    wanted: Wanted,
    space_cache: &'a LogicalMap,
    /// Parallel to the chunks.
    groups: Vec<Group>,
    found: LogicalMapBuilder,
    extents: ExtentItems<'a>,
}

impl Walk<'_> {
    fn extent(&mut self, item: &Item<'_>) -> Result<()> {
        let extent = self.extents.parse(item)?;
        if let Some(group) = self.groups.get_mut(extent.chunk_index) {
            // Extents don't overlap, so the sum is at most the chunk.
            group.sum_bytes += extent.range.len_bytes();
        }
        let is_cache = || self.space_cache.overlaps(extent.range);
        if self.wanted == Wanted::All || extent.is_tree_block || is_cache() {
            self.found.push(extent.range);
        }
        Ok(())
    }

    fn block_group(&mut self, item: &Item<'_>) -> Result<()> {
        item.check_len(BLOCK_GROUP_ITEM_BYTES)?;
        let (used, flags) = (le64(item.data, 0), le64(item.data, 16));
        let start = Logical::new(item.key.objectid);
        let index = self.tree.chunks.index_ending_after(start);
        let (Some(chunk), Some(group)) = (
            self.tree.chunks.all().get(index),
            self.groups.get_mut(index),
        ) else {
            return Err(item.corrupt("key", "that of a chunk", item.key));
        };
        if Some(chunk.logical) != start.range(item.key.offset) {
            return Err(item.corrupt("key", format!("chunk {}", chunk.logical), item.key));
        }
        if chunk.flags != flags {
            let expected = format!("{:#x}", chunk.flags);
            return Err(item.corrupt("flags", expected, format!("{flags:#x}")));
        }
        group.used_bytes = Some(used);
        Ok(())
    }

    fn check_sums(&self) -> Result<()> {
        for (chunk, group) in self.tree.chunks.all().iter().zip(&self.groups) {
            if group.used_bytes == Some(group.sum_bytes) {
                continue;
            }
            let expected = format!("{} bytes, as in its extents", group.sum_bytes);
            let found = group
                .used_bytes
                .map_or_else(|| "no item".to_owned(), |bytes| bytes.to_string());
            let found = format!("{found} for chunk {}", chunk.logical);
            let offset_bytes = chunk.stripes.first.offset_bytes();
            let structure = "btrfs block group";
            return Err(Corrupt::new(structure, "used", offset_bytes, expected, found).into());
        }
        Ok(())
    }
}
