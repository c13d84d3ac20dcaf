//! A device in memory, for tests and for small structures that are built before they are written.

use super::{Geometry, ReadAt, WriteAt, check_range};
use crate::error::{Operation, Result};
use crate::extent::Extent;
use crate::locks::{read_lock, write_lock};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A device whose bytes are in memory.
#[derive(Debug)]
pub struct MemoryDevice {
    bytes: RwLock<Vec<u8>>,
    geometry: Geometry,
}

impl MemoryDevice {
    /// A device that holds `bytes`, with sectors of `sector_bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>, sector_bytes: u32) -> Self {
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self {
            bytes: RwLock::new(bytes),
            geometry: Geometry::new(size_bytes, sector_bytes),
        }
    }

    /// A device of `size_bytes` zeroes with 512-byte sectors.
    #[must_use]
    pub fn zeroed(size_bytes: usize) -> Self {
        Self::new(vec![0; size_bytes], 512)
    }

    /// A copy of everything on the device.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        // A panicking writer leaves bytes, and any bytes are a valid device.
        read_lock(&self.bytes)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        write_lock(&self.bytes)
    }

    fn range(
        &self,
        operation: Operation,
        offset_bytes: u64,
        len: usize,
    ) -> Result<std::ops::Range<usize>> {
        check_range(self.geometry, operation, offset_bytes, len)?;
        // In range of a `Vec`, so it fits.
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        Ok(start..start.saturating_add(len))
    }
}

impl ReadAt for MemoryDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let range = self.range(Operation::Read, offset_bytes, buffer.len())?;
        buffer.copy_from_slice(&self.read()[range]);
        Ok(())
    }
}

impl WriteAt for MemoryDevice {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        let range = self.range(Operation::Write, offset_bytes, data.len())?;
        self.write()[range].copy_from_slice(data);
        Ok(())
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        let range = self.range(Operation::Zero, extent.offset_bytes(), len)?;
        self.write()[range].fill(0);
        Ok(())
    }

    fn discard(&self, _extent: Extent) -> Result<()> {
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
