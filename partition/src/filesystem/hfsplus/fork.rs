//! Forks: which allocation blocks hold the bytes of a file (TN1150, "Fork Data Structure").

use super::fork_data::{ForkData, Run};
use super::header::Header;
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

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
