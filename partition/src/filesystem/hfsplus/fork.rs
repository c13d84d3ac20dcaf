//! Forks: which allocation blocks hold the bytes of a file (TN1150, "Fork Data Structure").

use super::header::Header;
use crate::bytes::{be32, be64};
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

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

/// A fork of which all runs are known.
#[derive(Clone, Debug)]
pub(super) struct Fork {
    pub(super) logical_bytes: u64,
    /// Runs, each with the number of blocks of the fork before it.
    runs: Vec<(u64, Run)>,
}

impl Fork {
    /// Puts the runs of the extents-overflow file behind those of `data`.
    ///
    /// # Errors
    /// [`Corrupt`] when the runs are not as many blocks as the fork has.
    pub(super) fn new(
        header: &Header,
        field: &'static str,
        data: &ForkData,
        overflow: impl Iterator<Item = Run>,
    ) -> Result<Self> {
        let mut before = 0_u64;
        let mut runs = Vec::new();
        for run in data.runs.iter().copied().chain(overflow) {
            runs.push((before, run));
            before = before.saturating_add(run.blocks);
        }
        if before != data.blocks {
            let expected = format!("extents of {} blocks in all", data.blocks);
            let at = header.offset_bytes;
            return Err(Corrupt::new("HFS+ volume header", field, at, expected, before).into());
        }
        Ok(Self {
            logical_bytes: data.logical_bytes,
            runs,
        })
    }

    /// Its runs in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().map(|&(_, run)| run)
    }

    /// Where its blocks lie, in the order of the fork.
    pub(super) fn extents<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = Extent> + 'a {
        let runs = self.runs.iter();
        runs.filter_map(|(_, run)| header.extent(run.first, run.blocks))
    }

    /// Where byte `at` of the fork lies on the volume; `None` past its blocks.
    pub(super) fn place(&self, header: &Header, at: u64) -> Option<Extent> {
        let block = at / header.block_bytes;
        let index = self.runs.partition_point(|(before, _)| *before <= block);
        let (before, run) = self.runs.get(index.checked_sub(1)?)?;
        let extent = header.extent(run.first, run.blocks)?;
        let skipped = at.saturating_sub(before.saturating_mul(header.block_bytes));
        Extent::between(
            extent.offset_bytes().saturating_add(skipped),
            extent.end_bytes(),
        )
    }

    /// Fills `buffer` with the bytes of the fork from `at` on.
    ///
    /// # Errors
    /// [`Corrupt`] when the fork ends before; [`crate::Error::Io`] when the device fails.
    pub(super) fn read(
        &self,
        device: &dyn ReadAt,
        header: &Header,
        (mut at, mut buffer): (u64, &mut [u8]),
    ) -> Result<()> {
        while !buffer.is_empty() {
            let Some(place) = self.place(header, at) else {
                let field = "fork of a special file";
                let place = header.offset_bytes;
                let expected = format!("blocks for byte {at:#x} of it");
                let bad = Corrupt::new("HFS+ volume header", field, place, expected, "none");
                return Err(bad.into());
            };
            let len = usize::try_from(place.len_bytes()).unwrap_or(usize::MAX);
            let (now, rest) = buffer.split_at_mut(len.min(buffer.len()));
            device.read_exact_at(now, place.offset_bytes())?;
            at = at.saturating_add(now.len() as u64);
            buffer = rest;
        }
        Ok(())
    }
}
