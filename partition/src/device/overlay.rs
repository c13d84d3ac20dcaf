//! Changes kept in memory over a device that is not written: dry runs, ordered flushes, a source
//! shown with another table.

mod dirty;

use super::{Geometry, ReadAt, WriteAt, check_range};
use crate::error::{Operation, Result};
use crate::extent::{Extent, ExtentMap};
use crate::locks::{read_lock, write_lock};
use dirty::Dirty;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A device whose changes stay in memory until [`Overlay::flush_to`] writes them somewhere.
///
/// It may be larger than the device beneath (the rest reads as zeroes) or smaller (what is beyond
/// can't be reached).
#[derive(Debug)]
pub struct Overlay<D> {
    base: D,
    geometry: Geometry,
    dirty: RwLock<Dirty>,
}

impl<D: ReadAt> Overlay<D> {
    /// An overlay of the size of `base` that holds at most `limit_bytes` of changes.
    #[must_use]
    pub fn new(base: D, limit_bytes: usize) -> Self {
        let geometry = base.geometry();
        Self::with_geometry(base, geometry, limit_bytes)
    }

    /// An overlay that shows `geometry`, whatever the size of `base`, and holds at most
    /// `limit_bytes` of changes.
    #[must_use]
    pub fn with_geometry(base: D, geometry: Geometry, limit_bytes: usize) -> Self {
        Self {
            base,
            geometry,
            dirty: RwLock::new(Dirty::new(limit_bytes)),
        }
    }

    /// The device beneath.
    #[must_use]
    pub const fn base(&self) -> &D {
        &self.base
    }

    /// What was changed, in order: where, and the new bytes, `None` for a range that was zeroed.
    #[must_use]
    pub fn dirty(&self) -> Vec<(Extent, Option<Vec<u8>>)> {
        self.changes().iter().collect()
    }

    /// The bytes that were changed.
    #[must_use]
    pub fn dirty_map(&self) -> ExtentMap {
        self.changes().iter().map(|(extent, _)| extent).collect()
    }

    /// Writes every change to `target` in ascending order. Syncing is up to the caller, and so is
    /// when: the changes stay here.
    ///
    /// # Errors
    /// What `target` says; what comes after is not written then.
    pub fn flush_to(&self, target: &dyn WriteAt) -> Result<()> {
        self.flush_part_to(target, &ExtentMap::whole(self.geometry.size_bytes))
    }

    /// As [`Overlay::flush_to`], for the changes inside `part` alone.
    ///
    /// # Errors
    /// What `target` says; what comes after is not written then.
    pub fn flush_part_to(&self, target: &dyn WriteAt, part: &ExtentMap) -> Result<()> {
        let changes = self.changes();
        for (extent, bytes) in changes.iter() {
            for piece in part.within(extent) {
                match &bytes {
                    None => target.zero(piece)?,
                    Some(bytes) => {
                        let start = (piece.offset_bytes() - extent.offset_bytes()) as usize;
                        let data = &bytes[start..][..piece.len_bytes() as usize];
                        target.write_all_at(data, piece.offset_bytes())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn changes(&self) -> RwLockReadGuard<'_, Dirty> {
        read_lock(&self.dirty)
    }

    fn changes_mut(&self) -> RwLockWriteGuard<'_, Dirty> {
        write_lock(&self.dirty)
    }

    fn check(&self, operation: Operation, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        check_range(self.geometry, operation, extent.offset_bytes(), len)
    }

    /// Reads from beneath; what is not there is zero.
    fn read_base(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let there = self
            .base
            .geometry()
            .size_bytes
            .saturating_sub(offset_bytes)
            .min(buffer.len() as u64) as usize;
        let (from_base, beyond) = buffer.split_at_mut(there);
        beyond.fill(0);
        if from_base.is_empty() {
            return Ok(());
        }
        self.base.read_exact_at(from_base, offset_bytes)
    }
}

impl<D: ReadAt> ReadAt for Overlay<D> {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Read, offset_bytes, buffer.len())?;
        let Some(wanted) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        let changes = self.changes();
        // A bad sector beneath does not matter where everything is changed.
        if !changes.covers(wanted) {
            self.read_base(buffer, offset_bytes)?;
        }
        changes.apply(buffer, offset_bytes);
        Ok(())
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        let is_beneath = extent.end_bytes() <= self.base.geometry().size_bytes;
        match is_beneath && !self.changes().touches(extent) {
            true => self.base.sha256(extent),
            false => Ok(None),
        }
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.check(Operation::Read, within)?;
        let base_size_bytes = self.base.geometry().size_bytes;
        let beneath = Extent::new(0, base_size_bytes).and_then(|base| base.intersection(within));
        let base = beneath.map_or(Ok(ExtentMap::new()), |part| self.base.data(part))?;
        let changes = self.changes();
        let changed = |wants_zero: bool| -> ExtentMap {
            changes
                .iter()
                .filter(|(_, bytes)| bytes.is_none() == wants_zero)
                .filter_map(|(extent, _)| extent.intersection(within))
                .collect()
        };
        Ok(base.difference(&changed(true)).union(&changed(false)))
    }
}

impl<D: ReadAt> WriteAt for Overlay<D> {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Write, offset_bytes, data.len())?;
        let Some(extent) = Extent::new(offset_bytes, data.len() as u64) else {
            return Ok(());
        };
        let changed = self.changes_mut().write(extent, data);
        changed.map_err(|full| full.into_error(Operation::Write, extent))
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.check(Operation::Zero, extent)?;
        let changed = self.changes_mut().zero(extent);
        changed.map_err(|full| full.into_error(Operation::Zero, extent))
    }

    fn discard(&self, extent: Extent) -> Result<()> {
        self.check(Operation::Discard, extent)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
