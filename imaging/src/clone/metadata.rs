//! Where the source has its filesystem's metadata, whose digests go into the record.

use super::Job;
use crate::error::{Error, Result};
use klon_partition::device::Geometry;
use klon_partition::filesystem::probe;
use klon_partition::locks::{into_inner, lock};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::sync::Mutex;

/// The metadata in `wanted`. `None` for a source without a change token: its target is compared
/// anyway, so digests of metadata would be of no use.
///
/// # Errors
/// [`Error::Source`] when the source fails.
pub(super) fn metadata(job: &Job<'_>, wanted: &ExtentMap) -> Result<Option<ExtentMap>> {
    if job.usage.token.is_none() {
        return Ok(None);
    }
    let source = Watched {
        device: job.source,
        failure: Mutex::default(),
    };
    let Some(filesystem) = probe(&source).map_err(Error::Source)? else {
        return Ok(None);
    };
    let metadata = filesystem.metadata(&source);
    if let Some(failure) = into_inner(source.failure) {
        return Err(Error::Source(failure));
    }
    // Any other error is damage in the trees of files. The map of used space does not need them, so
    // the clone is exact without these digests.
    let metadata = metadata.unwrap_or_default();
    Ok(metadata.map(|metadata| metadata.intersection(wanted)))
}

/// A device that keeps the first failure of its reads, because a parser that reads around failures
/// reports them as damage.
struct Watched<'a> {
    device: &'a dyn ReadAt,
    failure: Mutex<Option<klon_partition::Error>>,
}

impl ReadAt for Watched<'_> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        let Err(error) = self.device.read_exact_at(buffer, offset_bytes) else {
            return Ok(());
        };
        let extent = Extent::new(offset_bytes, buffer.len() as u64);
        let size_bytes = self.geometry().size_bytes;
        // Reads past the end come from damage, not from the device.
        if extent.is_none_or(|extent| extent.end_bytes() > size_bytes) {
            return Err(error);
        }
        let text = error.to_string();
        let mut failure = lock(&self.failure);
        failure.get_or_insert(error);
        Err(klon_partition::Error::Invalid(text))
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        self.device.data(within)
    }

    fn sha256(&self, extent: Extent) -> klon_partition::Result<Option<[u8; 32]>> {
        self.device.sha256(extent)
    }
}
