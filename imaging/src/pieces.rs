//! Reads that go beyond a unit of what is read, a unit after the other.

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Extent, Geometry, Result};

/// A device that is read in units.
pub(crate) struct Units {
    pub(crate) geometry: Geometry,
    /// The size of one; not 0.
    pub(crate) unit_bytes: u64,
}

impl Units {
    /// Fills `buffer` from `offset_bytes` of the device: `read` gets each part that lies in one unit, with the
    /// room for it.
    pub(crate) fn fill(
        &self,
        buffer: &mut [u8],
        offset_bytes: u64,
        read: impl Fn(Extent, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        check_range(self.geometry, Operation::Read, offset_bytes, buffer.len())?;
        let Some(all) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        let mut rest = buffer;
        for part in all.split(self.unit_bytes) {
            let len = usize::try_from(part.len_bytes()).unwrap_or(rest.len());
            let (out, behind) = rest.split_at_mut(len.min(rest.len()));
            read(part, out)?;
            rest = behind;
        }
        Ok(())
    }
}
