//! An image file as a device.

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Error, Geometry, ReadAt, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A plain file, read as it is.
pub(super) struct ImageFile {
    file: File,
    size_bytes: u64,
}

impl ImageFile {
    pub(super) fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size_bytes = file.metadata().unwrap().len();
        Self { file, size_bytes }
    }
}

impl ReadAt for ImageFile {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let len_bytes = u64::try_from(buffer.len()).unwrap();
        self.file
            .read_exact_at(buffer, offset_bytes)
            .map_err(|source| Error::io(Operation::Read, offset_bytes, len_bytes, source))
    }
}
