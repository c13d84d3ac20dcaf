//! A device with a write cache that a power cut empties: what is there after a crash at any point.

use super::{Geometry, MemoryDevice, ReadAt, WriteAt, check_range};
use crate::error::{Operation, Result};
use crate::extent::Extent;
use crate::locks::lock;
use std::sync::{Mutex, MutexGuard};

/// A change that a sync has not made durable yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    start: usize,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct State {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

/// A device in memory that keeps apart what is durable and what a power cut may lose.
#[derive(Debug)]
pub struct CrashDevice {
    live: MemoryDevice,
    state: Mutex<State>,
}

impl CrashDevice {
    /// A device that holds `bytes`, all of them durable, with sectors of `sector_bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>, sector_bytes: u32) -> Self {
        Self {
            live: MemoryDevice::new(bytes.clone(), sector_bytes),
            state: Mutex::new(State {
                durable: bytes,
                pending: Vec::new(),
            }),
        }
    }

    /// What a power cut now leaves at least: everything as of the last sync.
    #[must_use]
    pub fn durable(&self) -> Vec<u8> {
        self.state().durable.clone()
    }

    /// How many writes and zeroings came since the last sync.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.state().pending.len()
    }

    /// What a power cut now leaves. Of the changes since the last sync, a sector has reached the medium if
    /// `survives` says so. It gets the number of the change (from 0, in order) and the sector, or the part of
    /// one, that the change is about.
    #[must_use]
    pub fn after_crash(&self, mut survives: impl FnMut(usize, Extent) -> bool) -> Vec<u8> {
        let sector_bytes = u64::from(self.geometry().logical_sector_bytes);
        let state = self.state();
        let mut image = state.durable.clone();
        for (number, change) in state.pending.iter().enumerate() {
            let range = Extent::new(change.start as u64, change.bytes.len() as u64);
            let sectors = range
                .into_iter()
                .flat_map(|range| range.split(sector_bytes));
            for sector in sectors.filter(|sector| survives(number, *sector)) {
                let (start, len) = (sector.offset_bytes() as usize, sector.len_bytes() as usize);
                let bytes = &change.bytes[start - change.start..][..len];
                image[start..][..len].copy_from_slice(bytes);
            }
        }
        image
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Notes a change and makes it visible, in one order for both.
    fn change(&self, operation: Operation, offset_bytes: u64, bytes: Vec<u8>) -> Result<()> {
        check_range(self.geometry(), operation, offset_bytes, bytes.len())?;
        let mut state = self.state();
        self.live.write_all_at(&bytes, offset_bytes)?;
        state.pending.push(Pending {
            start: offset_bytes as usize,
            bytes,
        });
        Ok(())
    }
}

impl ReadAt for CrashDevice {
    fn geometry(&self) -> Geometry {
        self.live.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.live.read_exact_at(buffer, offset_bytes)
    }
}

impl WriteAt for CrashDevice {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        self.change(Operation::Write, offset_bytes, data.to_vec())
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        check_range(self.geometry(), Operation::Zero, extent.offset_bytes(), len)?;
        self.change(Operation::Zero, extent.offset_bytes(), vec![0; len])
    }

    fn discard(&self, _extent: Extent) -> Result<()> {
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.state();
        state.durable = self.live.to_vec();
        state.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::CrashDevice;
    use crate::device::{ReadAt, WriteAt, read_vec};
    use crate::extent::Extent;

    #[test]
    fn a_write_of_several_sectors_may_be_torn_between_them() {
        let device = CrashDevice::new(vec![9; 1536], 512);
        device.write_all_at(&[1; 1000], 500).unwrap();
        let image = device.after_crash(|_, sector| sector.offset_bytes() == 512);
        assert!(image[512..1024].iter().all(|&byte| byte == 1));
        assert!(
            image[..512]
                .iter()
                .chain(&image[1024..])
                .all(|&byte| byte == 9)
        );
    }

    #[test]
    fn any_of_the_unsynced_changes_may_survive() {
        let device = CrashDevice::new(vec![9; 4], 512);
        device.write_all_at(&[1], 0).unwrap();
        device.sync().unwrap();
        device.write_all_at(&[2, 2], 0).unwrap();
        device.zero(Extent::new(3, 1).unwrap()).unwrap();
        assert_eq!(read_vec(&device, 0, 4).unwrap(), [2, 2, 9, 0]);
        assert_eq!(device.durable(), [1, 9, 9, 9]);
        assert_eq!(device.pending_count(), 2);
        assert_eq!(device.after_crash(|number, _| number == 1), [1, 9, 9, 0]);
        assert_eq!(device.after_crash(|_, _| true), [2, 2, 9, 0]);
        device.sync().unwrap();
        assert_eq!(device.durable(), [2, 2, 9, 0]);
        assert!(device.zero(Extent::new(3, 2).unwrap()).is_err());
        assert_eq!(device.geometry().size_bytes, 4);
    }
}
