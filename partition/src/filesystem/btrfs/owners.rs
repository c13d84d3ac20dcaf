//! Which files hold given bytes: the extents of all files of all subvolumes, then their names.
//!
//! `struct btrfs_file_extent_item`: btrfs on-disk format, "EXTENT_DATA".

use super::ids::{Node, is_free_objectid};
use super::names::Names;
use super::roots::{EXTENT_DATA, FILE_EXTENT_BYTES};
use super::subvolumes::subvolumes;
use super::tree::{Block, Item, Tree};
use super::walk_around::{Visitor, leaves};
use crate::bytes::{le64, u8_at};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::files::Hit;
use crate::filesystem::owners::{FILES_MAX, Gaps, Links};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Where the contents of an inline extent start in its item.
const INLINE_AT: usize = 21;
/// Leaves that are remembered for other subvolumes to pass over.
const BARREN_MAX: usize = 1 << 20;

/// A file that holds bytes in question; of one whose contents are in an item, their digest.
#[derive(Clone, Copy)]
struct Found {
    hit: Hit<Node>,
    inline_sha256: Option<[u8; 32]>,
}

/// The files that hold bytes of the extents, and at most that many: by the extents of their data,
/// and by what of them is inline in leaves. Of a compressed extent, each byte counts as where the
/// file has the first of it. Other tree blocks are no file's. A file is listed once for each
/// subvolume and snapshot that it is in; one without a name is called by its inode, as in
/// `/<257>`. With several names, one is given.
pub(super) fn owners(
    tree: &Tree<'_>,
    (extents, files_max): (&ExtentMap, usize),
    gaps: &Gaps,
) -> Vec<Owner> {
    let files_max = files_max.min(FILES_MAX);
    if extents.is_empty() || files_max == 0 {
        return Vec::new();
    }
    let mut links = Links::new(Node::top());
    let subvolumes = subvolumes(tree, &mut links, gaps);
    let mut search = Search {
        tree,
        extents,
        files_max,
        gaps,
        subvolume: 0,
        hits: Vec::new(),
        are_shared: subvolumes.len() > 1,
        barren: HashSet::new(),
    };
    for (&subvolume, &root) in &subvolumes {
        search.subvolume = subvolume;
        leaves(tree, root, gaps, &mut search);
    }
    let mut names = Names::new(tree, &subvolumes);
    let hits = search.hits.into_iter();
    hits.map(|found| {
        let hit = found.hit;
        let climbed = names.climb(hit.file, &mut links);
        gaps.tolerate(climbed);
        Owner {
            path: links.path(hit.file, Node::number),
            file_offset_bytes: hit.file_offset_bytes,
            extent: hit.extent,
            inline_sha256: found.inline_sha256,
        }
    })
    .collect()
}

struct Search<'a> {
    tree: &'a Tree<'a>,
    extents: &'a ExtentMap,
    files_max: usize,
    gaps: &'a Gaps,
    subvolume: u64,
    hits: Vec<Found>,
    are_shared: bool,
    /// Leaves without a byte in question, which snapshots have as well.
    barren: HashSet<u64>,
}

impl Search<'_> {
    /// Whether an item is of a file that holds bytes in question, which is noted.
    fn item(&mut self, leaf: (u64, &Block), item: &Item<'_>) -> Result<bool> {
        let key = item.key;
        if key.kind != EXTENT_DATA || !is_free_objectid(key.objectid) {
            return Ok(false);
        }
        let node = Node {
            tree: self.subvolume,
            inode: key.objectid,
        };
        // Items of a file follow each other.
        if self.hits.last().is_some_and(|found| found.hit.file == node) {
            return Ok(true);
        }
        let found = self.found(leaf, item)?;
        if let Some((in_extent, extent)) = found {
            self.hits.push(Found {
                hit: Hit {
                    file: node,
                    file_offset_bytes: key.offset.saturating_add(in_extent),
                    extent,
                },
                inline_sha256: inline_sha256(item),
            });
        }
        Ok(found.is_some())
    }

    /// The first byte in question of a file extent: where in it, and where on the volume.
    fn found(&self, leaf: (u64, &Block), item: &Item<'_>) -> Result<Option<(u64, Extent)>> {
        item.check_len(INLINE_AT)?;
        let (compression, kind) = (u8_at(item.data, 16), u8_at(item.data, 20));
        let is_plain = compression == 0;
        if kind == 0 {
            let found = self.inline(leaf, item);
            return Ok(found.map(|(at, extent)| (if is_plain { at } else { 0 }, extent)));
        }
        item.check_len(FILE_EXTENT_BYTES)?;
        let field = |at: usize| le64(item.data, at);
        let (start, len_bytes, offset, used_bytes) = (field(21), field(29), field(37), field(45));
        if start == 0 {
            // A hole.
            return Ok(None);
        }
        let part = if is_plain {
            Extent::new(start.saturating_add(offset), used_bytes)
        } else {
            Extent::new(start, len_bytes)
        };
        let chunk = part.and_then(|part| self.tree.chunks.holding(part));
        let (Some(part), Some(chunk)) = (part, chunk) else {
            let expected = "an address in a chunk";
            return Err(item.corrupt("disk_bytenr", expected, format!("{start:#x}")));
        };
        let found = chunk.physical(part).find_map(|place| self.within(place));
        Ok(found.map(|(at, extent)| (if is_plain { at } else { 0 }, extent)))
    }

    /// The same for contents in a leaf, in either copy of it.
    fn inline(&self, (logical, block): (u64, &Block), item: &Item<'_>) -> Option<(u64, Extent)> {
        let in_leaf = item.offset_bytes.checked_sub(block.offset_bytes())?;
        let start = logical
            .checked_add(in_leaf)?
            .checked_add(INLINE_AT as u64)?;
        let len_bytes = item.data.len().checked_sub(INLINE_AT)?;
        let part = Extent::new(start, len_bytes as u64)?;
        let chunk = self.tree.chunks.holding(part)?;
        chunk.physical(part).find_map(|place| self.within(place))
    }

    fn within(&self, place: Extent) -> Option<(u64, Extent)> {
        let extent = self.extents.within(place).next()?;
        let at = extent.offset_bytes().checked_sub(place.offset_bytes())?;
        Some((at, extent))
    }
}

/// Of a file whose contents are in the item itself, with how they are packed there.
fn inline_sha256(item: &Item<'_>) -> Option<[u8; 32]> {
    let is_inline = item.data.len() >= INLINE_AT && u8_at(item.data, 20) == 0;
    // Behind the number of the transaction, which every change of the inode sets.
    let contents = item.data.get(8..).filter(|_| is_inline)?;
    Some(Sha256::digest(contents).into())
}

impl Visitor for Search<'_> {
    fn wants(&mut self, logical: u64) -> bool {
        !self.barren.contains(&logical)
    }

    fn leaf(&mut self, logical: u64, block: &Block) -> bool {
        let mut is_barren = true;
        for index in 0..block.items() {
            if self.hits.len() >= self.files_max {
                return false;
            }
            let item = block.item(index);
            let visited = item.and_then(|item| self.item((logical, block), &item));
            is_barren &= self.gaps.tolerate(visited) == Some(false);
        }
        if is_barren && self.are_shared && self.barren.len() < BARREN_MAX {
            self.barren.insert(logical);
        }
        true
    }
}
