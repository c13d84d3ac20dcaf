//! Which files hold given bytes: the extents of all files of all subvolumes, then their names.
//!
//! `struct btrfs_file_extent_item` (btrfs on-disk format, "EXTENT_DATA").

use super::address::Logical;
use super::file_extent::{EXTENT_DATA, FileExtent, INLINE_AT, OnDisk, Place};
use super::ids::{Node, TreeId, is_free_objectid};
use super::names::Names;
use super::subvolumes::subvolumes;
use super::tree::{Block, Item, Leaves, Reading, Tree};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::extents::Copies;
use crate::filesystem::files::Hit;
use crate::filesystem::owners::{FILES_MAX, Gaps, Links};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Leaves that are remembered, so that other subvolumes pass over them.
const BARREN_MAX: usize = 1 << 20;

/// The bytes in question, and how many files are looked for.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) extents: &'a ExtentMap,
    pub(super) files_max: usize,
}

/// A file that holds bytes in question.
#[derive(Clone, Copy)]
struct Found {
    hit: Hit<Node>,
    /// SHA-256 of contents that are in an item.
    inline_sha256: Option<[u8; 32]>,
}

/// The files that hold bytes in question, and at most that many: by the extents of their data, and
/// by their contents inline in leaves. Other tree blocks are no file's.
///
/// A byte of a compressed extent counts as where the file has the extent's first byte. A file is
/// listed once for each subvolume and snapshot that it is in. One without a name is called by its
/// inode, as in `/<257>`. A file with several names is listed under one of
/// them.
pub(super) fn owners(tree: Tree<'_>, question: Question<'_>, gaps: &Gaps) -> Vec<Owner> {
    let question = Question {
        files_max: question.files_max.min(FILES_MAX),
        ..question
    };
    if question.extents.is_empty() || question.files_max == 0 {
        return Vec::new();
    }
    let mut links = Links::new(Node::top());
    let subvolumes = subvolumes(tree, &mut links, gaps);
    let mut search = Search {
        tree,
        question,
        gaps,
        hits: Vec::new(),
        are_shared: subvolumes.len() > 1,
        barren: HashSet::new(),
    };
    for (&subvolume, &root) in &subvolumes {
        search.subvolume(subvolume, Leaves::new(tree, root, Reading::Tolerant));
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
    tree: Tree<'a>,
    question: Question<'a>,
    gaps: &'a Gaps,
    hits: Vec<Found>,
    /// Whether snapshots may have leaves in common.
    are_shared: bool,
    /// Leaves without a byte in question.
    barren: HashSet<Logical>,
}

/// The first byte in question of a file extent.
struct First {
    /// Where it is in the extent.
    in_extent_bytes: u64,
    /// That byte and those in question that follow it, on the volume.
    extent: Extent,
}

impl Search<'_> {
    fn subvolume(&mut self, subvolume: TreeId, mut leaves: Leaves<'_>) {
        while let Some(leaf) = {
            let barren = &self.barren;
            leaves.next_sound(self.gaps, &|logical| !barren.contains(&logical))
        } {
            let mut is_barren = true;
            for index in 0..leaf.items() {
                if self.hits.len() >= self.question.files_max {
                    return;
                }
                let item = leaf.item(index);
                let visited = item.and_then(|item| self.item(subvolume, &leaf, &item));
                is_barren &= self.gaps.tolerate(visited) == Some(false);
            }
            if is_barren && self.are_shared && self.barren.len() < BARREN_MAX {
                self.barren.insert(leaf.logical());
            }
        }
    }

    /// Whether an item is of a file that holds bytes in question, which is noted.
    fn item(&mut self, subvolume: TreeId, leaf: &Block, item: &Item<'_>) -> Result<bool> {
        let key = item.key;
        if key.kind != EXTENT_DATA || !is_free_objectid(key.objectid) {
            return Ok(false);
        }
        let node = Node {
            tree: subvolume,
            inode: key.objectid,
        };
        // Items of a file follow each other.
        if self.hits.last().is_some_and(|found| found.hit.file == node) {
            return Ok(true);
        }
        let file_extent = FileExtent::parse(item)?;
        let (first, inline_sha256) = match file_extent.place {
            Place::Inline => (self.inline(leaf, item), inline_sha256(item)),
            Place::OnDisk(on_disk) => {
                let first = self.on_disk(on_disk, file_extent.is_compressed, item)?;
                (first, None)
            }
            Place::Hole => (None, None),
        };
        let Some(first) = first else {
            return Ok(false);
        };
        let in_extent_bytes = if file_extent.is_compressed {
            0
        } else {
            first.in_extent_bytes
        };
        self.hits.push(Found {
            hit: Hit {
                file: node,
                file_offset_bytes: key.offset.saturating_add(in_extent_bytes),
                extent: first.extent,
            },
            inline_sha256,
        });
        Ok(true)
    }

    fn on_disk(
        &self,
        on_disk: OnDisk,
        is_compressed: bool,
        item: &Item<'_>,
    ) -> Result<Option<First>> {
        let part = if is_compressed {
            Some(on_disk.extent)
        } else {
            on_disk.used()
        };
        let copies = part.and_then(|part| self.tree.chunks.holding(part)?.physical(part));
        let Some(copies) = copies else {
            let found = on_disk.extent.start();
            return Err(item.corrupt("disk_bytenr", "an address in a chunk", found));
        };
        Ok(self.first(copies))
    }

    /// The first hit in contents that a leaf holds, in either copy of it.
    fn inline(&self, leaf: &Block, item: &Item<'_>) -> Option<First> {
        let in_leaf_bytes = item.offset_bytes.checked_sub(leaf.offset_bytes())?;
        let start = leaf.logical().checked_add(in_leaf_bytes)?;
        let start = start.checked_add(INLINE_AT as u64)?;
        let len_bytes = item.data.len().checked_sub(INLINE_AT)?;
        let part = start.range(len_bytes as u64)?;
        self.first(self.tree.chunks.holding(part)?.physical(part)?)
    }

    fn first(&self, copies: Copies) -> Option<First> {
        copies.iter().find_map(|copy| {
            let extent = self.question.extents.within(copy).next()?;
            let in_extent_bytes = extent.offset_bytes().checked_sub(copy.offset_bytes())?;
            Some(First {
                in_extent_bytes,
                extent,
            })
        })
    }
}

/// The digest of contents in an item, and of how they are packed there.
fn inline_sha256(item: &Item<'_>) -> Option<[u8; 32]> {
    // The first field is the generation, which every change of the inode sets.
    let contents = item.data.get(8..)?;
    Some(Sha256::digest(contents).into())
}
