//! Which blocks are in use: the bitmaps of all chunks, read many at once.

use super::chunks::{Chunk, Chunks};
use super::superblock::Blocks;
use crate::device::read_vec;
use crate::error::{Corrupt, Result};
use crate::extent::{ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run_or_missing};
use std::collections::HashSet;

/// How much of bitmaps is held at once.
const BATCH_BYTES: usize = 8 << 20;
/// Bitmaps that are no further apart than this are read together.
const GAP_BLOCKS: u64 = 16;
/// The most that is read together.
const READ_BYTES_MAX: u64 = 1 << 20;

/// The blocks that the bitmaps have in use, as bytes of the volume.
///
/// Freed blocks that wait in a free queue, because an older checkpoint has them, still have their
/// bit, and so count as used.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a bitmap has another number of free blocks than its chunk, the
/// chunks another than the space manager, or two chunks one bitmap; and as [`Chunks::walk`].
pub(super) fn used(chunks: &Chunks<'_>) -> Result<ExtentMap> {
    let mut bitmaps = Bitmaps {
        chunks,
        pending: Vec::new(),
        seen: HashSet::new(),
        found: ExtentMapBuilder::new(),
        free_blocks: 0,
    };
    let batch = (BATCH_BYTES / chunks.superblock.block_len()).max(1);
    chunks.walk(&mut |infos| {
        for part in infos.chunks(batch) {
            if bitmaps.pending.len().saturating_add(part.len()) > batch {
                bitmaps.flush()?;
            }
            bitmaps.pending.extend(part);
        }
        Ok(())
    })?;
    bitmaps.flush()?;
    let (object, expected) = (&chunks.spaceman.object, chunks.spaceman.free_blocks);
    let found = bitmaps.free_blocks;
    object.check(found == expected, "sm_free_count", found, expected)?;
    Ok(bitmaps.found.finish())
}

struct Bitmaps<'a> {
    chunks: &'a Chunks<'a>,
    /// Chunks whose bitmaps are still to be read.
    pending: Vec<Chunk>,
    /// Addresses of bitmaps.
    seen: HashSet<u64>,
    found: ExtentMapBuilder,
    free_blocks: u64,
}

impl Bitmaps<'_> {
    /// Takes in the pending chunks.
    fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut order: Vec<(u64, usize)> = pending
            .iter()
            .enumerate()
            .filter_map(|(index, chunk)| Some((chunk.bitmap?, index)))
            .collect();
        order.sort_unstable();
        let mut bitmaps: Vec<Vec<u8>> = vec![Vec::new(); pending.len()];
        let mut rest = order.as_slice();
        while let Some(&(start, _)) = rest.first() {
            let (now, later) = rest.split_at(self.together(rest));
            self.read(start, now, &mut bitmaps)?;
            rest = later;
        }
        for (chunk, bitmap) in pending.iter().zip(&bitmaps) {
            self.chunk(*chunk, bitmap)?;
        }
        Ok(())
    }

    /// How many bitmaps, the first of `order` among them, are read at once.
    fn together(&self, order: &[(u64, usize)]) -> usize {
        let blocks_max = READ_BYTES_MAX / u64::from(self.chunks.superblock.block_size_bytes);
        let start = order.first().map_or(0, |first| first.0);
        let is_near = |pair: &&[(u64, usize)]| match pair {
            [(before, _), (block, _)] => {
                block.saturating_sub(*before) <= GAP_BLOCKS
                    && block.saturating_sub(start) < blocks_max
            }
            _ => false,
        };
        order.windows(2).take_while(is_near).count() + 1
    }

    /// Reads the bitmaps of `order`, of which the first is at `start`.
    fn read(&mut self, start: u64, order: &[(u64, usize)], bitmaps: &mut [Vec<u8>]) -> Result<()> {
        let superblock = self.chunks.superblock;
        let whose = &self.chunks.spaceman.object;
        let last = order.last().map_or(start, |last| last.0);
        superblock.block(last, whose, "ci_bitmap_addr")?;
        let first = superblock.block(start, whose, "ci_bitmap_addr")?;
        let count = last.saturating_sub(start).saturating_add(1);
        let len = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .saturating_mul(superblock.block_len());
        let raw = read_vec(self.chunks.device, first.offset_bytes(), len)?;
        for &(block, index) in order {
            let is_new = self.seen.insert(block);
            whose.check(is_new, "ci_bitmap_addr", "a block of its own", block)?;
            let at = usize::try_from(block.saturating_sub(start)).unwrap_or(usize::MAX);
            let bitmap = raw.chunks_exact(superblock.block_len()).nth(at);
            if let (Some(place), Some(bitmap)) = (bitmaps.get_mut(index), bitmap) {
                *place = bitmap.to_vec();
            }
        }
        Ok(())
    }

    /// Takes in a chunk with its bitmap, which is empty when it has none.
    fn chunk(&mut self, chunk: Chunk, bitmap: &[u8]) -> Result<()> {
        let mut used_blocks = 0_u64;
        let bits = chunk.bitmap.map_or(0, |_| chunk.blocks);
        for_each_run_or_missing(bitmap, Order::LeastFirst, bits, &mut |first, count| {
            used_blocks = used_blocks.saturating_add(count);
            let start = chunk.start.saturating_add(first);
            let extent = self.chunks.superblock.extent(Blocks { start, count });
            if let Some(extent) = extent {
                self.found.push(extent);
            }
        });
        let free_blocks = chunk.blocks.saturating_sub(used_blocks);
        if free_blocks != chunk.free_blocks {
            return Err(self.wrong_count(chunk, free_blocks).into());
        }
        self.free_blocks = self.free_blocks.saturating_add(free_blocks);
        Ok(())
    }

    fn wrong_count(&self, chunk: Chunk, free_blocks: u64) -> Corrupt {
        let block_bytes = u64::from(self.chunks.superblock.block_size_bytes);
        let offset_bytes = chunk.bitmap.unwrap_or(0).saturating_mul(block_bytes);
        let expected = format!("{} free", chunk.free_blocks);
        let found = format!("{free_blocks} free from block {} on", chunk.start);
        Corrupt::new("APFS bitmap", "bits", offset_bytes, expected, found)
    }
}
