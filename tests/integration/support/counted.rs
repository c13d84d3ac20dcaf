//! A device that counts what is read from it: what costs time, on any machine.

use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// A device, and what was read from it.
pub(crate) struct Counted<D> {
    device: D,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl<D: ReadAt> Counted<D> {
    pub(crate) const fn new(device: D) -> Self {
        Self {
            device,
            reads: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// How many reads there were since the last time, and of how many bytes in all.
    pub(crate) fn take(&self) -> (u64, u64) {
        let count = (
            self.reads.swap(0, Ordering::Relaxed),
            self.bytes.swap(0, Ordering::Relaxed),
        );
        println!("{} reads of {} bytes", count.0, count.1);
        count
    }
}

impl<D: ReadAt> ReadAt for Counted<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device.data(within)
    }
}
