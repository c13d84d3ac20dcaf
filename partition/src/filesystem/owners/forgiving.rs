//! A device that reads around bad sectors: each reads as a fixed byte, and is noted.

use super::Gaps;
use crate::device::{Geometry, ReadAt};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::locks::lock;
use std::sync::Mutex;

/// The most reads that may fail. A device that fails more often is gone, and isn't asked again.
const FAILURES_MAX: usize = 4096;

/// Reads around bad sectors of another device.
pub(crate) struct Forgiving<'a> {
    device: &'a dyn ReadAt,
    fill: u8,
    gaps: &'a Gaps,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sectors that failed. Reading one again costs seconds, as the disk retries it.
    bad: ExtentMap,
    failures: usize,
}

impl<'a> Forgiving<'a> {
    /// `device`, with `fill` for each byte that can't be read. Every failure is noted in `gaps`.
    pub(crate) fn new(device: &'a dyn ReadAt, fill: u8, gaps: &'a Gaps) -> Self {
        Self {
            device,
            fill,
            gaps,
            state: Mutex::default(),
        }
    }

    /// Reads a range. When it can't be read as a whole, it is read in halves, down to sectors.
    fn read(&self, state: &mut State, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let Some(extent) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        if state.bad.contains(extent) || state.failures >= FAILURES_MAX {
            buffer.fill(self.fill);
            return Ok(());
        }
        if !state.bad.overlaps(extent) {
            match self.device.read_exact_at(buffer, offset_bytes) {
                Err(error @ Error::Io { .. }) => self.fail(state, extent, &error),
                other => return other,
            }
        }
        let sector_bytes = u64::from(self.geometry().logical_sector_bytes).max(1);
        let half_bytes = extent.len_bytes() / 2;
        let middle = offset_bytes.saturating_add(half_bytes);
        let boundary = middle / sector_bytes * sector_bytes;
        let first_len = boundary.saturating_sub(offset_bytes);
        let first_len = if first_len == 0 {
            // Up to the end of the sector in which the range starts.
            (offset_bytes / sector_bytes)
                .saturating_add(1)
                .saturating_mul(sector_bytes)
                .saturating_sub(offset_bytes)
        } else {
            first_len
        };
        let first_len = usize::try_from(first_len).unwrap_or(usize::MAX);
        match buffer.split_at_mut_checked(first_len) {
            Some((first, second)) if !second.is_empty() => {
                let second_bytes = offset_bytes.saturating_add(first.len() as u64);
                self.read(state, first, offset_bytes)?;
                self.read(state, second, second_bytes)
            }
            _ => {
                state.bad = state.bad.union(&extent.into());
                buffer.fill(self.fill);
                Ok(())
            }
        }
    }

    fn fail(&self, state: &mut State, extent: Extent, error: &Error) {
        state.failures = state.failures.saturating_add(1);
        let sector_bytes = u64::from(self.geometry().logical_sector_bytes);
        if extent.len_bytes() <= sector_bytes {
            self.gaps.note(error);
        }
        if state.failures == FAILURES_MAX {
            self.gaps
                .note("the device fails too often to be read on; all else is missing");
        }
    }
}

impl ReadAt for Forgiving<'_> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    /// Fails as the device does when the range lies outside of it, and never otherwise.
    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let mut state = lock(&self.state);
        let end = offset_bytes.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.geometry().size_bytes) {
            return self.device.read_exact_at(buffer, offset_bytes);
        }
        self.read(&mut state, buffer, offset_bytes)
    }
}
