//! An empty disk.

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};

/// An empty disk.
pub(super) struct Zeroes(pub(super) Geometry);

impl ReadAt for Zeroes {
    fn geometry(&self) -> Geometry {
        self.0
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.0, Operation::Read, offset_bytes, buffer.len())?;
        buffer.fill(0);
        Ok(())
    }

    fn data(&self, _within: Extent) -> Result<ExtentMap> {
        Ok(ExtentMap::new())
    }
}
