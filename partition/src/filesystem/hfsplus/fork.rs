//! Forks: which allocation blocks hold the bytes of a file (TN1150, "Fork Data Structure").

use super::address::Run;
use super::fork_data::ForkData;
use super::header::Header;
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

/// A fork with all of its runs.
#[derive(Clone, Debug)]
pub(super) struct Fork {
    pub(super) logical_bytes: u64,
    pieces: Vec<Piece>,
    /// Where the header lies that has the fork.
    header_bytes: u64,
}

/// A run of a fork.
#[derive(Clone, Copy, Debug)]
struct Piece {
    run: Run,
    /// Where its blocks lie on the volume.
    extent: Extent,
    /// Which byte of the fork it starts with.
    position_bytes: u64,
}

impl Fork {
    /// Puts the runs of the extents-overflow file behind those of `data`.
    ///
    /// # Errors
    /// [`Corrupt`] when the runs are not as many blocks as the fork has, or the volume has not
    /// all of them.
    pub(super) fn new(
        header: &Header,
        field: &'static str,
        data: &ForkData,
        overflow: impl Iterator<Item = Run>,
    ) -> Result<Self> {
        let header_bytes = header.offset_bytes;
        let corrupt = |expected: String, found: String| {
            Corrupt::new("HFS+ volume header", field, header_bytes, expected, found)
        };
        let (mut before, mut position_bytes) = (0_u64, 0_u64);
        let mut pieces = Vec::new();
        for run in data.runs.iter().copied().chain(overflow) {
            let extent = header.blocks.extent(run).ok_or_else(|| {
                let expected = format!("extents in {} blocks", header.blocks.count);
                corrupt(
                    expected,
                    format!("{} blocks from {} on", run.blocks, run.first),
                )
            })?;
            pieces.push(Piece {
                run,
                extent,
                position_bytes,
            });
            // Overlapping runs could come to more bytes than 64 bits can count.
            before = before.saturating_add(run.blocks.into());
            position_bytes = position_bytes.saturating_add(extent.len_bytes());
        }
        if before != u64::from(data.blocks) {
            let expected = format!("extents of {} blocks in all", data.blocks);
            return Err(corrupt(expected, before.to_string()).into());
        }
        Ok(Self {
            logical_bytes: data.logical_bytes,
            pieces,
            header_bytes,
        })
    }

    /// Its runs in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.pieces.iter().map(|piece| piece.run)
    }

    /// Where its blocks lie, in the order of the fork.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.pieces.iter().map(|piece| piece.extent)
    }

    /// Where byte `at` of the fork lies on the volume; `None` past its blocks.
    pub(super) fn place(&self, at: u64) -> Option<Extent> {
        let index = self
            .pieces
            .partition_point(|piece| piece.position_bytes <= at);
        let piece = self.pieces.get(index.checked_sub(1)?)?;
        let start_bytes = piece.extent.offset_bytes();
        let start_bytes = start_bytes.checked_add(at.checked_sub(piece.position_bytes)?)?;
        Extent::between(start_bytes, piece.extent.end_bytes())
    }

    /// Where the fork starts, for errors.
    pub(super) fn start_bytes(&self) -> u64 {
        self.place(0).map_or(0, Extent::offset_bytes)
    }

    /// Fills `buffer` with the bytes of the fork from `at` on.
    ///
    /// # Errors
    /// [`Corrupt`] when the fork ends before; [`crate::Error::Io`] when the device fails.
    pub(super) fn read(&self, device: &dyn ReadAt, at: u64, buffer: &mut [u8]) -> Result<()> {
        let (mut at, mut buffer) = (at, buffer);
        while !buffer.is_empty() {
            let Some(place) = self.place(at) else {
                let field = "fork of a special file";
                let expected = format!("blocks for byte {at:#x} of it");
                let structure = "HFS+ volume header";
                let header_bytes = self.header_bytes;
                return Err(Corrupt::new(structure, field, header_bytes, expected, "none").into());
            };
            let len = place.len_bytes().min(buffer.len() as u64);
            let (now, rest) = buffer.split_at_mut(len as usize);
            device.read_exact_at(now, place.offset_bytes())?;
            // A place of the fork was found, so this is one more of its bytes at most.
            at += len;
            buffer = rest;
        }
        Ok(())
    }
}
