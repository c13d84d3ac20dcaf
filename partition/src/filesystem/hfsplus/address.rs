//! Addresses: allocation blocks, which of them a volume has, and the numbers of files.

use crate::extent::Extent;
use std::fmt;

/// The number of an allocation block, as a field on the disk has it: the volume may have no such
/// block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block(pub(super) u32);

/// The number of a file or folder (TN1150, "Catalog Node ID").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) u32);

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Allocation blocks in a row (`HFSPlusExtentDescriptor`), as fields on the disk have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// `startBlock`
    pub(super) first: Block,
    /// `blockCount`
    pub(super) blocks: u32,
}

impl Run {
    /// One past its last block.
    fn end(self) -> u64 {
        u64::from(self.first.0) + u64::from(self.blocks)
    }
}

/// All allocation blocks of a volume: they lie one after another from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// `totalBlocks`
    pub(super) count: u32,
    /// `blockSize`
    pub(super) block_bytes: u32,
}

impl Blocks {
    /// Bytes of so many blocks; a product of 32-bit numbers.
    pub(super) fn len_bytes(self, blocks: u32) -> u64 {
        u64::from(blocks) * u64::from(self.block_bytes)
    }

    /// Where the last one ends.
    pub(super) fn end_bytes(self) -> u64 {
        self.len_bytes(self.count)
    }

    /// Whether the volume has all blocks of a run.
    pub(super) fn has(self, run: Run) -> bool {
        run.end() <= u64::from(self.count)
    }

    /// Where a run lies; `None` when the volume has not all of its blocks, or there are none.
    pub(super) fn extent(self, run: Run) -> Option<Extent> {
        self.part(run).filter(|_| self.has(run))
    }

    /// Where those blocks of a run lie that the volume has; `None` when that is none.
    pub(super) fn part(self, run: Run) -> Option<Extent> {
        let start_bytes = self.len_bytes(run.first.0);
        // No more blocks than 32 bits can number.
        let blocks = run.end().min(self.count.into());
        Extent::between(start_bytes, blocks * u64::from(self.block_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Blocks, Run};
    use crate::extent::Extent;

    #[test]
    fn runs_lie_on_the_volume_or_nowhere() {
        let blocks = Blocks {
            count: 100,
            block_bytes: 4096,
        };
        let run = |first, blocks| Run {
            first: Block(first),
            blocks,
        };
        assert_eq!(
            blocks.extent(run(90, 10)),
            Extent::new(90 * 4096, 10 * 4096)
        );
        assert_eq!(blocks.extent(run(90, 11)), None);
        assert_eq!(blocks.part(run(90, 11)), blocks.extent(run(90, 10)));
        for nowhere in [run(100, 1), run(5, 0), run(u32::MAX, u32::MAX)] {
            assert_eq!(blocks.part(nowhere), None, "{nowhere:?}");
        }
    }
}
