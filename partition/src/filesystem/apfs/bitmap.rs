//! Which blocks are in use: the bitmaps of all chunks, read many at once.

use super::address::{Block, Blocks, Paddr};
use super::chunks::{Chunk, Chunks};
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

/// A bitmap that is still to be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    block: Paddr,
    /// Which of the pending chunks it is of.
    index: usize,
}

struct Bitmaps<'a> {
    chunks: &'a Chunks<'a>,
    /// Chunks whose bitmaps are still to be read.
    pending: Vec<Chunk>,
    /// Addresses of bitmaps.
    seen: HashSet<Paddr>,
    found: ExtentMapBuilder,
    free_blocks: u64,
}

impl Bitmaps<'_> {
    /// Takes in the pending chunks.
    fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut order: Vec<Wanted> = (0..)
            .zip(&pending)
            .filter_map(|(index, chunk)| chunk.bitmap.map(|block| Wanted { block, index }))
            .collect();
        order.sort_unstable();
        let mut bitmaps: Vec<Vec<u8>> = vec![Vec::new(); pending.len()];
        let mut rest = order.as_slice();
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(self.together(rest));
            self.read(first.block, now, &mut bitmaps)?;
            rest = later;
        }
        for (chunk, bitmap) in pending.iter().zip(&bitmaps) {
            self.chunk(*chunk, bitmap)?;
        }
        Ok(())
    }

    /// How many bitmaps, the first of `order` among them, are read at once.
    fn together(&self, order: &[Wanted]) -> usize {
        let blocks_max = READ_BYTES_MAX / self.chunks.superblock.block_len() as u64;
        let is_near = |pair: &&[Wanted]| match (order.first(), pair) {
            (Some(first), [before, next]) => {
                next.block.since(before.block) <= GAP_BLOCKS
                    && next.block.since(first.block) < blocks_max
            }
            _ => false,
        };
        order.windows(2).take_while(is_near).count() + 1
    }

    /// Reads the bitmaps of `order`. The first is at `start`.
    fn read(&mut self, start: Paddr, order: &[Wanted], bitmaps: &mut [Vec<u8>]) -> Result<()> {
        let superblock = self.chunks.superblock;
        let field = self.chunks.spaceman.object.field("ci_bitmap_addr");
        let last = order.last().map_or(start, |last| last.block);
        superblock.block(last, field)?;
        let first = superblock.block(start, field)?;
        // Not further apart than what is read together.
        let len = (last.since(start) as usize + 1) * superblock.block_len();
        let raw = read_vec(self.chunks.device, first.offset_bytes(), len)?;
        for &Wanted { block, index } in order {
            let is_new = self.seen.insert(block);
            field.check(is_new, "a block of its own", block)?;
            let at = block.since(start) as usize;
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
            // No more bits than the chunk has blocks, and the container has all of these.
            used_blocks += count;
            let start = Paddr(chunk.start.0 + first);
            let container = self.chunks.superblock.container;
            let extent = container.extent(Blocks { start, count });
            extent.into_iter().for_each(|run| self.found.push(run));
        });
        let free_blocks = chunk.blocks - used_blocks;
        if free_blocks != chunk.free_blocks {
            return Err(self.wrong_count(chunk, free_blocks).into());
        }
        self.free_blocks += free_blocks;
        Ok(())
    }

    fn wrong_count(&self, chunk: Chunk, free_blocks: u64) -> Corrupt {
        let container = self.chunks.superblock.container;
        let bitmap = chunk.bitmap.and_then(|bitmap| container.block(bitmap));
        let offset_bytes = bitmap.map_or(0, Block::offset_bytes);
        let expected = format!("{} free", chunk.free_blocks);
        let found = format!("{free_blocks} free from block {} on", chunk.start);
        Corrupt::new("APFS bitmap", "bits", offset_bytes, expected, found)
    }
}
