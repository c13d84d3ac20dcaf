//! Forks as headers and records hold them: the first eight runs (TN1150, "Fork Data Structure").

use super::address::{Block, Blocks, Run};
use crate::bytes::{be32, be64};

/// Length of `HFSPlusForkData`, and of the `HFSPlusExtentRecord` in it.
pub(super) const LEN_BYTES: usize = 80;
pub(super) const EXTENT_RECORD_BYTES: usize = 64;

/// The runs of an extent record of 64 bytes, up to the first empty one.
pub(super) fn runs(record: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let descriptors = record.as_chunks::<8>().0.iter();
    descriptors
        .take(8)
        .map(|raw| {
            let (start_block, block_count) = (be32(raw, 0), be32(raw, 4));
            Run {
                first: Block(start_block),
                blocks: block_count,
            }
        })
        .take_while(|run| run.blocks > 0)
}

/// A fork as a header or a catalog record has it: its first eight runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForkData {
    /// `logicalSize`
    pub(super) logical_bytes: u64,
    /// `totalBlocks`
    pub(super) blocks: u32,
    pub(super) runs: Vec<Run>,
}

impl ForkData {
    /// Reads 80 bytes.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let (logical_size, total_blocks) = (be64(raw, 0), be32(raw, 12));
        let extents = raw.get(16..LEN_BYTES).unwrap_or_default();
        Self {
            logical_bytes: logical_size,
            blocks: total_blocks,
            runs: runs(extents).collect(),
        }
    }

    /// How many blocks its first runs have.
    pub(super) fn listed_blocks(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.blocks)).sum()
    }

    /// Whether its first runs are all that it has.
    pub(super) fn is_whole(&self) -> bool {
        self.listed_blocks() == u64::from(self.blocks)
    }

    /// What is impossible in it on a volume of `blocks`.
    pub(super) fn fault(&self, blocks: Blocks) -> Option<Fault> {
        if let Some(run) = self.runs.iter().find(|run| !blocks.has(**run)) {
            let found = format!("{} blocks from {} on", run.blocks, run.first);
            let expected = format!("extents in {} blocks", blocks.count);
            return Some(Fault { expected, found });
        }
        let listed = self.listed_blocks();
        if listed > u64::from(self.blocks) {
            let expected = format!("extents of {} blocks in all", self.blocks);
            let found = listed.to_string();
            return Some(Fault { expected, found });
        }
        let room_bytes = blocks.len_bytes(self.blocks);
        if self.logical_bytes > room_bytes {
            let expected = format!("a logicalSize of at most {room_bytes} bytes");
            let found = self.logical_bytes.to_string();
            return Some(Fault { expected, found });
        }
        None
    }
}

/// What is impossible in a fork.
pub(super) struct Fault {
    pub(super) expected: String,
    pub(super) found: String,
}
