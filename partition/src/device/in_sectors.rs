//! A disk that is read in sectors of another size than it says.

use super::{Geometry, ReadAt};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// A disk as if its sectors had another size.
pub(crate) struct InSectors<'a> {
    pub(crate) disk: &'a dyn ReadAt,
    pub(crate) sector_bytes: u32,
}

impl ReadAt for InSectors<'_> {
    fn geometry(&self) -> Geometry {
        Geometry {
            logical_sector_bytes: self.sector_bytes,
            ..self.disk.geometry()
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.disk.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.disk.data(within)
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        self.disk.sha256(extent)
    }
}
