//! Which blocks of a device are changed: a bitmap for each region in which any is.

use crate::extent::{Extent, ExtentMap};
use std::collections::BTreeMap;

/// The unit in which changes are known.
pub(super) const BLOCK_BYTES: u64 = 4096;

const WORDS: usize = 512;
const WORD_BLOCKS: u64 = 64;
/// Blocks of one bitmap, which has 4 KiB.
const REGION_BLOCKS: u64 = WORDS as u64 * WORD_BLOCKS;

/// Changed blocks.
#[derive(Debug, Default)]
pub(super) struct Changed {
    regions: BTreeMap<u64, Box<[u64; WORDS]>>,
    blocks: u64,
}

/// A run of bytes that are all changed, or all as they were.
pub(super) struct Run {
    pub(super) is_changed: bool,
    pub(super) end_bytes: u64,
}

impl Changed {
    /// Whether the block of that byte is changed.
    pub(super) fn has(&self, offset_bytes: u64) -> bool {
        let block = offset_bytes / BLOCK_BYTES;
        let region = self.regions.get(&(block / REGION_BLOCKS));
        region.is_some_and(|words| words[word(block)] & bit(block) != 0)
    }

    /// Whether the byte at `start_bytes` is in a changed block, and up to where, but not behind `end_bytes`,
    /// the same holds of what follows.
    pub(super) fn run(&self, start_bytes: u64, end_bytes: u64) -> Run {
        let is_changed = self.has(start_bytes);
        let mut block = start_bytes / BLOCK_BYTES + 1;
        let end_block = end_bytes.div_ceil(BLOCK_BYTES);
        while block < end_block && self.has(block * BLOCK_BYTES) == is_changed {
            block = match self.regions.contains_key(&(block / REGION_BLOCKS)) {
                true => block + 1,
                // None of the region is.
                false => (block / REGION_BLOCKS + 1) * REGION_BLOCKS,
            };
        }
        let at = block.saturating_mul(BLOCK_BYTES);
        Run {
            is_changed,
            end_bytes: at.min(end_bytes),
        }
    }

    /// All blocks that have a byte of `extent` are changed from now on.
    pub(super) fn insert(&mut self, extent: Extent) {
        let last = (extent.end_bytes() - 1) / BLOCK_BYTES;
        for block in extent.offset_bytes() / BLOCK_BYTES..=last {
            let region = self.regions.entry(block / REGION_BLOCKS);
            let words = region.or_insert_with(|| Box::new([0; WORDS]));
            let word = &mut words[word(block)];
            self.blocks += u64::from(*word & bit(block) == 0);
            *word |= bit(block);
        }
    }

    /// The parts of `within` that are changed.
    pub(super) fn within(&self, within: Extent) -> ExtentMap {
        let mut found = Vec::new();
        let mut at = within.offset_bytes();
        while at < within.end_bytes() {
            let Run {
                is_changed,
                end_bytes,
            } = self.run(at, within.end_bytes());
            if is_changed {
                found.extend(Extent::between(at, end_bytes));
            }
            at = end_bytes;
        }
        found.into_iter().collect()
    }

    pub(super) const fn total_bytes(&self) -> u64 {
        self.blocks * BLOCK_BYTES
    }
}

const fn word(block: u64) -> usize {
    (block % REGION_BLOCKS / WORD_BLOCKS) as usize
}

const fn bit(block: u64) -> u64 {
    1 << (block % WORD_BLOCKS)
}
