//! Forks as headers and records hold them: the first eight runs (TN1150, "Fork Data Structure").

use crate::bytes::{be32, be64};

/// Length of `HFSPlusForkData`, and of the `HFSPlusExtentRecord` in it.
pub(super) const LEN_BYTES: usize = 80;
pub(super) const EXTENT_RECORD_BYTES: usize = 64;

/// Allocation blocks in a row (`HFSPlusExtentDescriptor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) blocks: u64,
}

impl Run {
    /// Whether all of it lies on a volume of so many blocks.
    pub(super) const fn is_within(self, blocks: u64) -> bool {
        self.first.saturating_add(self.blocks) <= blocks
    }
}

/// The runs of an extent record of 64 bytes, up to the first empty one.
pub(super) fn runs(record: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let descriptors = record.as_chunks::<8>().0.iter();
    descriptors
        .take(8)
        .map(|raw| Run {
            first: be32(raw, 0).into(),
            blocks: be32(raw, 4).into(),
        })
        .take_while(|run| run.blocks > 0)
}

/// A fork as a header or a catalog record has it: its first eight runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForkData {
    pub(super) logical_bytes: u64,
    pub(super) blocks: u64,
    pub(super) runs: Vec<Run>,
}

impl ForkData {
    /// Reads 80 bytes.
    pub(super) fn parse(raw: &[u8]) -> Self {
        Self {
            logical_bytes: be64(raw, 0),
            blocks: be32(raw, 12).into(),
            runs: runs(raw.get(16..LEN_BYTES).unwrap_or_default()).collect(),
        }
    }

    /// How many blocks its first runs have.
    pub(super) fn listed_blocks(&self) -> u64 {
        self.runs.iter().map(|run| run.blocks).sum()
    }

    /// What of it can't be, on a volume of `blocks` blocks: what was expected, and what is there.
    pub(super) fn fault(&self, block_bytes: u64, blocks: u64) -> Option<(String, String)> {
        if let Some(run) = self.runs.iter().find(|run| !run.is_within(blocks)) {
            let found = format!("{} blocks from {} on", run.blocks, run.first);
            return Some((format!("extents in {blocks} blocks"), found));
        }
        let listed = self.listed_blocks();
        if listed > self.blocks {
            let expected = format!("extents of {} blocks in all", self.blocks);
            return Some((expected, listed.to_string()));
        }
        let room_bytes = self.blocks.saturating_mul(block_bytes);
        if self.logical_bytes > room_bytes {
            let expected = format!("a logicalSize of at most {room_bytes} bytes");
            return Some((expected, self.logical_bytes.to_string()));
        }
        None
    }
}
