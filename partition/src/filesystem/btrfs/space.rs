//! What is in use: the extent tree, checked against the chunks and the block groups.

use super::chunk::{Chunk, DATA, METADATA, SYSTEM};
use super::chunks::EXTENTS_MAX;
use super::roots::Roots;
use super::tree::{Item, Tree};
use crate::bytes::le64;
use crate::error::{Corrupt, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

const EXTENT_ITEM: u8 = 168;
const METADATA_ITEM: u8 = 169;
const BLOCK_GROUP_ITEM: u8 = 192;
/// Owners and references of extents that stand beside their extent item.
const REFERENCES: [u8; 5] = [172, 176, 178, 182, 184];

/// Sizes of `struct btrfs_extent_item` and `struct btrfs_block_group_item`.
const EXTENT_ITEM_BYTES: usize = 24;
const BLOCK_GROUP_ITEM_BYTES: usize = 24;
/// `BTRFS_EXTENT_FLAG_*`.
const FLAG_DATA: u64 = 1 << 0;
const FLAG_TREE_BLOCK: u64 = 1 << 1;

/// Which extents are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// Tree blocks and the space cache.
    Metadata,
}

/// Walks the extent tree and the block groups: logical addresses in use.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an extent overlaps another, lies outside of a chunk of its kind,
/// or when the extents of a chunk are not as many bytes as its block group counts, and as
/// [`Tree::walk`].
pub(super) fn space(tree: &Tree<'_>, wanted: Wanted) -> Result<ExtentMap> {
    let roots = Roots::read(tree)?;
    let mut walk = Walk {
        tree,
        wanted,
        space_cache: &roots.space_cache,
        groups: vec![Group::default(); tree.chunks.all().len()],
        found: ExtentMapBuilder::with_limit(EXTENTS_MAX),
        end_bytes: 0,
    };
    let is_apart = roots.block_group_tree.is_some();
    tree.walk(roots.extent_tree, &mut |item| match item.key.kind {
        EXTENT_ITEM | METADATA_ITEM => walk.extent(&item),
        BLOCK_GROUP_ITEM if !is_apart => walk.block_group(&item),
        kind if REFERENCES.contains(&kind) => Ok(()),
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
    tree: &'a Tree<'a>,
    wanted: Wanted,
    space_cache: &'a ExtentMap,
    /// Parallel to the chunks.
    groups: Vec<Group>,
    found: ExtentMapBuilder,
    /// Where the last extent ends.
    end_bytes: u64,
}

impl Walk<'_> {
    fn chunk(&mut self, logical: u64) -> Option<(Chunk, &mut Group)> {
        let index = self.tree.chunks.index_ending_after(logical);
        let chunk = self.tree.chunks.all().get(index)?;
        Some((*chunk, self.groups.get_mut(index)?))
    }

    fn extent(&mut self, item: &Item<'_>) -> Result<()> {
        item.check_len(EXTENT_ITEM_BYTES)?;
        let is_tree_block = is_tree_block(item)?;
        let extent = self.range(item)?;
        if extent.offset_bytes() < self.end_bytes {
            let expected = format!("{:#x} or more, where another extent ends", self.end_bytes);
            return Err(item.corrupt("key.objectid", expected, extent));
        }
        self.end_bytes = extent.end_bytes();
        let found = self.chunk(extent.offset_bytes());
        let Some((chunk, group)) = found.filter(|(chunk, _)| chunk.logical.contains(extent)) else {
            return Err(item.corrupt("key", "a range in one chunk", extent));
        };
        let wanted = if is_tree_block {
            SYSTEM | METADATA
        } else {
            DATA
        };
        if chunk.flags & wanted == 0 {
            let expected = format!("an extent for a chunk of type {:#x}", chunk.flags);
            let found = format!("{:#x}", le64(item.data, 16));
            return Err(item.corrupt("flags", expected, found));
        }
        // Extents don't overlap, so the sum is at most the chunk.
        group.sum_bytes = group.sum_bytes.saturating_add(extent.len_bytes());
        if self.wanted == Wanted::All || is_tree_block || self.space_cache.overlaps(extent) {
            self.found.push(extent);
        }
        Ok(())
    }

    /// Which logical addresses an extent item is about.
    fn range(&self, item: &Item<'_>) -> Result<Extent> {
        let (start, sector_bytes) = (
            item.key.objectid,
            u64::from(self.tree.superblock.sector_bytes),
        );
        let len_bytes = match item.key.kind {
            METADATA_ITEM => self.tree.superblock.node_bytes.into(),
            _ => item.key.offset,
        };
        let is_whole = start.is_multiple_of(sector_bytes) && len_bytes.is_multiple_of(sector_bytes);
        Extent::new(start, len_bytes)
            .filter(|_| is_whole)
            .ok_or_else(|| item.corrupt("key", "a range of whole sectors", len_bytes))
    }

    fn block_group(&mut self, item: &Item<'_>) -> Result<()> {
        item.check_len(BLOCK_GROUP_ITEM_BYTES)?;
        let (used_bytes, flags) = (le64(item.data, 0), le64(item.data, 16));
        let range = Extent::new(item.key.objectid, item.key.offset);
        let Some((chunk, group)) = self.chunk(item.key.objectid) else {
            return Err(item.corrupt("key", "that of a chunk", item.key));
        };
        if Some(chunk.logical) != range {
            return Err(item.corrupt("key", format!("chunk {}", chunk.logical), item.key));
        }
        if chunk.flags != flags {
            let expected = format!("{:#x}", chunk.flags);
            return Err(item.corrupt("flags", expected, format!("{flags:#x}")));
        }
        group.used_bytes = Some(used_bytes);
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
            let place = chunk.stripes().next();
            let offset_bytes = place.map_or(0, Extent::offset_bytes);
            let structure = "btrfs block group";
            return Err(Corrupt::new(structure, "used", offset_bytes, expected, found).into());
        }
        Ok(())
    }
}

/// Whether an extent holds a tree block, not data.
fn is_tree_block(item: &Item<'_>) -> Result<bool> {
    let flags = le64(item.data, 16);
    match (item.key.kind, flags & (FLAG_DATA | FLAG_TREE_BLOCK)) {
        (_, FLAG_TREE_BLOCK) => Ok(true),
        (EXTENT_ITEM, FLAG_DATA) => Ok(false),
        _ => Err(item.corrupt("flags", "data or tree block", format!("{flags:#x}"))),
    }
}
