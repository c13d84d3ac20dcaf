//! The chunk map: from the superblock's system chunks to the chunk tree to all chunks.
//!
//! `struct btrfs_chunk` (btrfs on-disk format, "CHUNK_ITEM"), each with a `struct btrfs_disk_key`.

use super::address::{Logical, LogicalMap, LogicalRange};
use super::chunk::{Chunk, SYSTEM};
use super::superblock::{SYSTEM_CHUNKS_AT_BYTES, Superblock, corrupt};
use super::tree::{Item, Key, Tree};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

/// `BTRFS_CHUNK_ITEM_KEY`, `BTRFS_DEV_ITEM_KEY`.
const CHUNK_ITEM: u8 = 228;
const DEV_ITEM: u8 = 216;
/// `BTRFS_FIRST_CHUNK_TREE_OBJECTID`, of every chunk's key.
const FIRST_CHUNK_TREE: u64 = 256;
/// A volume with more chunks is copied whole: 128 TiB in chunks of 1 GiB.
const CHUNKS_MAX: usize = 1 << 17;
/// Extents of a map, logical or on the device: it takes at most 16 MiB while it is made.
pub(super) const EXTENTS_MAX: usize = 1 << 19;

/// Chunks in the order of their logical addresses. None of them overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks(Vec<Chunk>);

impl Chunks {
    /// All chunks of the filesystem.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a chunk is impossible, overlaps another one (logically or on the
    /// device) or is not the same in the superblock as in the tree; [`Error::Unsupported`] when
    /// one has a profile for several devices; [`Error::Io`] when the device fails.
    pub(super) fn read(superblock: &Superblock, device: &dyn ReadAt) -> Result<Self> {
        let system = Self::system(superblock)?;
        let mut all = Self::default();
        let tree = Tree {
            superblock,
            chunks: &system,
            device,
        };
        tree.walk(superblock.chunk_tree, &mut |item| {
            match item.key.kind {
                CHUNK_ITEM => all.push(tree_chunk(superblock, &item)?)?,
                DEV_ITEM => check_device(superblock, &item)?,
                _ => return Err(item.unexpected("chunk item or device item")),
            }
            Ok(())
        })?;
        all.check_physical()?;
        all.check_system(&system)?;
        Ok(all)
    }

    /// The system chunks in the superblock, each behind its key.
    fn system(superblock: &Superblock) -> Result<Self> {
        let mut chunks = Vec::new();
        let mut rest = superblock.system_chunks.as_slice();
        while !rest.is_empty() {
            let before = superblock.system_chunks.len().abs_diff(rest.len());
            let offset_bytes = SYSTEM_CHUNKS_AT_BYTES + before as u64;
            let Some((key, item)) = Key::split(rest) else {
                return Err(corrupt("sys_chunk_array", "a key", rest.len()).into());
            };
            if (key.objectid, key.kind) != (FIRST_CHUNK_TREE, CHUNK_ITEM) {
                let found = format!("{} {}", key.objectid, key.kind);
                return Err(corrupt("sys_chunk_array", "key 256 228", found).into());
            }
            let start = Logical::new(key.offset);
            let parsed = Chunk::parse(superblock, start, item, offset_bytes)?;
            let flags = parsed.chunk.flags;
            if flags & SYSTEM == 0 {
                let found = format!("{flags:#x}");
                return Err(corrupt("sys_chunk_array", "system chunks", found).into());
            }
            chunks.push(parsed.chunk);
            rest = parsed.rest;
        }
        chunks.sort_unstable_by_key(|chunk| chunk.logical);
        let mut system = Self::default();
        for chunk in chunks {
            system.push(chunk)?;
        }
        Ok(system)
    }

    fn push(&mut self, chunk: Chunk) -> Result<()> {
        let end = self
            .0
            .last()
            .map_or(Logical::ZERO, |last| last.logical.end());
        if chunk.logical.start() < end {
            return Err(overlap("logical", chunk.logical, end));
        }
        if self.0.len() >= CHUNKS_MAX {
            return Err(Error::unsupported(
                "a btrfs filesystem with so many chunks",
                "they don't fit in memory; copy the whole volume",
            ));
        }
        self.0.push(chunk);
        Ok(())
    }

    fn check_physical(&self) -> Result<()> {
        let chunks = self.0.iter();
        let mut stripes: Vec<Extent> = chunks.flat_map(|chunk| chunk.stripes.iter()).collect();
        stripes.sort_unstable();
        let mut end_bytes = 0;
        for stripe in stripes {
            if stripe.offset_bytes() < end_bytes {
                return Err(overlap("stripe", stripe, format!("{end_bytes:#x}")));
            }
            end_bytes = stripe.end_bytes();
        }
        Ok(())
    }

    fn check_system(&self, system: &Self) -> Result<()> {
        let in_tree = self.0.iter().filter(|chunk| chunk.flags & SYSTEM != 0);
        if in_tree.eq(&system.0) {
            return Ok(());
        }
        let expected = "the system chunks of the chunk tree";
        Err(corrupt("sys_chunk_array", expected, "others").into())
    }

    /// The chunks in order.
    pub(super) fn all(&self) -> &[Chunk] {
        &self.0
    }

    /// The index of the first chunk that ends after `logical`.
    pub(super) fn index_ending_after(&self, logical: Logical) -> usize {
        self.0
            .partition_point(|chunk| chunk.logical.end() <= logical)
    }

    /// The chunk that holds all of `logical`.
    pub(super) fn holding(&self, logical: LogicalRange) -> Option<&Chunk> {
        let index = self.index_ending_after(logical.start());
        let chunk = self.0.get(index)?;
        chunk.logical.contains(logical).then_some(chunk)
    }

    /// Every place on the device of the addresses in `logical`. Addresses in no chunk have none.
    /// Small gaps between the places are closed when there are too many of them.
    pub(super) fn physical(&self, logical: &LogicalMap) -> ExtentMap {
        let of_chunk = |chunk| {
            move |stripe| Stripe {
                extent: stripe,
                chunk,
            }
        };
        let chunks = self.0.iter();
        let mut stripes: Vec<Stripe<'_>> = chunks
            .flat_map(|chunk| chunk.stripes.iter().map(of_chunk(chunk)))
            .collect();
        // Stripes don't overlap, so the places found stripe by stripe are in order.
        stripes.sort_unstable_by_key(|stripe| stripe.extent);
        let mut map = ExtentMapBuilder::with_limit(EXTENTS_MAX);
        for Stripe { extent, chunk } in stripes {
            logical
                .within(chunk.logical)
                .filter_map(|part| chunk.place(extent, part))
                .for_each(|place| map.push(place));
        }
        map.finish()
    }
}

/// A place of a chunk on the device.
struct Stripe<'a> {
    extent: Extent,
    chunk: &'a Chunk,
}

fn tree_chunk(superblock: &Superblock, item: &Item<'_>) -> Result<Chunk> {
    let Key {
        objectid, offset, ..
    } = item.key;
    if objectid != FIRST_CHUNK_TREE {
        return Err(item.corrupt("key.objectid", FIRST_CHUNK_TREE, objectid));
    }
    let start = Logical::new(offset);
    let parsed = Chunk::parse(superblock, start, item.data, item.offset_bytes)?;
    if parsed.rest.is_empty() {
        return Ok(parsed.chunk);
    }
    Err(item.corrupt("size", "its stripes alone", item.data.len()))
}

fn check_device(superblock: &Superblock, item: &Item<'_>) -> Result<()> {
    let (id, devid) = (superblock.device.id, item.key.offset);
    if devid == id {
        return Ok(());
    }
    Err(item.corrupt("devid", format!("{id} alone"), devid))
}

fn overlap(
    field: &'static str,
    range: impl std::fmt::Display,
    end: impl std::fmt::Display,
) -> Error {
    let expected = format!("a start at {end} or later, where another one ends");
    let offset_bytes = super::superblock::OFFSET_BYTES;
    Corrupt::new("btrfs chunk map", field, offset_bytes, expected, range).into()
}
