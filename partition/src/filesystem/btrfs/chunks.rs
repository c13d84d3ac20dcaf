//! The chunk map: from the superblock's system chunks to the chunk tree to all chunks.

use super::chunk::{Chunk, SYSTEM};
use super::superblock::{Superblock, corrupt};
use super::tree::{Item, Key, Tree};
use crate::bytes::{le64, u8_at};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

const CHUNK_ITEM: u8 = 228;
const DEV_ITEM: u8 = 216;
/// `BTRFS_FIRST_CHUNK_TREE_OBJECTID`, of every chunk's key.
const FIRST_CHUNK_TREE: u64 = 256;
const KEY_BYTES: usize = 17;
/// More chunks than this are left to a copy of the whole volume: 128 TiB in chunks of 1 GiB.
const CHUNKS_MAX: usize = 1 << 17;
/// Extents of a map, logical or on the device: 16 MiB at most while it is made.
pub(super) const EXTENTS_MAX: usize = 1 << 19;

/// Chunks in the order of their logical addresses, none of which overlap.
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

    /// The system chunks in the superblock, each with its key (`struct btrfs_disk_key`).
    fn system(superblock: &Superblock) -> Result<Self> {
        let mut chunks = Vec::new();
        let mut rest = superblock.system_chunks.as_slice();
        while !rest.is_empty() {
            let used = superblock.system_chunks.len().saturating_sub(rest.len());
            let at = super::superblock::OFFSET_BYTES
                .saturating_add(0x32b)
                .saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
            let Some((key, after)) = rest.split_at_checked(KEY_BYTES) else {
                return Err(corrupt("sys_chunk_array", "a key", rest.len()).into());
            };
            if (le64(key, 0), u8_at(key, 8)) != (FIRST_CHUNK_TREE, CHUNK_ITEM) {
                let found = format!("{} {}", le64(key, 0), u8_at(key, 8));
                return Err(corrupt("sys_chunk_array", "key 256 228", found).into());
            }
            let (chunk, len) = Chunk::parse(superblock, le64(key, 9), after, at)?;
            if chunk.flags & SYSTEM == 0 {
                let found = format!("{:#x}", chunk.flags);
                return Err(corrupt("sys_chunk_array", "system chunks", found).into());
            }
            chunks.push(chunk);
            rest = after.get(len..).unwrap_or_default();
        }
        chunks.sort_unstable_by_key(|chunk| chunk.logical);
        let mut system = Self::default();
        for chunk in chunks {
            system.push(chunk)?;
        }
        Ok(system)
    }

    fn push(&mut self, chunk: Chunk) -> Result<()> {
        let end_bytes = self.0.last().map_or(0, |last| last.logical.end_bytes());
        if chunk.logical.offset_bytes() < end_bytes {
            return Err(overlap("logical", chunk.logical, end_bytes));
        }
        if self.0.len() >= CHUNKS_MAX {
            return Err(Error::unsupported(
                "a btrfs filesystem with that many chunks",
                "they don't fit in memory; copy the whole volume",
            ));
        }
        self.0.push(chunk);
        Ok(())
    }

    fn check_physical(&self) -> Result<()> {
        let mut stripes: Vec<Extent> = self.0.iter().flat_map(Chunk::stripes).collect();
        stripes.sort_unstable();
        let mut end_bytes = 0;
        for stripe in stripes {
            if stripe.offset_bytes() < end_bytes {
                return Err(overlap("stripe", stripe, end_bytes));
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

    /// Index of the first chunk that ends after `logical`.
    pub(super) fn index_ending_after(&self, logical: u64) -> usize {
        self.0
            .partition_point(|chunk| chunk.logical.end_bytes() <= logical)
    }

    /// The chunk that holds all of `logical`.
    pub(super) fn holding(&self, logical: Extent) -> Option<&Chunk> {
        let index = self.index_ending_after(logical.offset_bytes());
        let chunk = self.0.get(index)?;
        chunk.logical.contains(logical).then_some(chunk)
    }

    /// Every place on the device where a byte of `logical` is. What lies in no chunk is nowhere.
    /// Beyond a limit of extents, small gaps between them are closed.
    pub(super) fn physical(&self, logical: &ExtentMap) -> ExtentMap {
        let chunks = self.0.iter();
        let mut stripes: Vec<(Extent, &Chunk)> = chunks
            .flat_map(|chunk| chunk.stripes().map(move |stripe| (stripe, chunk)))
            .collect();
        // Stripes don't overlap, so what is found stripe by stripe is in order.
        stripes.sort_unstable_by_key(|&(stripe, _)| stripe);
        let mut map = ExtentMapBuilder::with_limit(EXTENTS_MAX);
        for (stripe, chunk) in stripes {
            let parts = logical.within(chunk.logical);
            parts
                .filter_map(|part| chunk.place(stripe, part))
                .for_each(|place| map.push(place));
        }
        map.finish()
    }
}

fn tree_chunk(superblock: &Superblock, item: &Item<'_>) -> Result<Chunk> {
    let Key {
        objectid, offset, ..
    } = item.key;
    if objectid != FIRST_CHUNK_TREE {
        return Err(item.corrupt("key.objectid", FIRST_CHUNK_TREE, objectid));
    }
    let (chunk, len) = Chunk::parse(superblock, offset, item.data, item.offset_bytes)?;
    if len == item.data.len() {
        return Ok(chunk);
    }
    Err(item.corrupt("size", len, item.data.len()))
}

fn check_device(superblock: &Superblock, item: &Item<'_>) -> Result<()> {
    let id = superblock.device.id;
    if item.key.offset == id {
        return Ok(());
    }
    Err(item.corrupt("devid", format!("{id} alone"), item.key.offset))
}

fn overlap(field: &'static str, extent: Extent, end_bytes: u64) -> Error {
    let expected = format!("a start at {end_bytes:#x} or later, where another one ends");
    let offset_bytes = super::superblock::OFFSET_BYTES;
    Corrupt::new("btrfs chunk map", field, offset_bytes, expected, extent).into()
}
