//! Where the source has its filesystem's metadata, whose digests go into the record.

use super::Job;
use crate::change::Reliance;
use crate::change::look::keeps_metadata;
use crate::error::{Error, Result};
use crate::plan::Plan;
use klon_partition::device::Geometry;
use klon_partition::locks::{into_inner, lock};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::sync::Mutex;

/// The metadata in what `plan` brings to the target. `None` for a source without a change token, unless the
/// user has file records trusted: its target is compared anyway, so digests of metadata would be of no use.
///
/// Structures that were never used are zero and left out: nobody reads them on the target, and to read them
/// there would be most of the work. The log of an empty journal stays, as a recovery could read what someone
/// put there.
///
/// `contents` are the contents of all regular files, where someone knows them.
///
/// # Errors
/// [`Error::Source`] when the source fails.
pub(super) fn metadata(
    job: &Job<'_>,
    plan: &Plan,
    contents: Option<&ExtentMap>,
    reliance: &Reliance,
) -> Result<Option<ExtentMap>> {
    if !keeps_metadata(job.usage, reliance) {
        return Ok(None);
    }
    let source = FirstFailure {
        device: job.source,
        failure: Mutex::default(),
    };
    let Some(filesystem) = job.usage.filesystem() else {
        return Ok(None);
    };
    let known = contents.map(|contents| filesystem.metadata_but(&source, contents));
    let metadata = match known {
        Some(Ok(Some(metadata))) => Ok(Some(metadata)),
        _ => filesystem.metadata(&source),
    };
    if let Some(failure) = into_inner(source.failure) {
        return Err(Error::Source(failure));
    }
    // Any other error is damage in the trees of files. The map of used space does not need them, so
    // the clone is exact without these digests.
    let metadata = metadata.unwrap_or_default();
    let blank = filesystem.blank(&job.source);
    let unused = blank.difference(&filesystem.empty_log(&job.source));
    let held = plan.wanted().difference(&unused.intersection(&plan.zero));
    Ok(metadata.map(|metadata| metadata.intersection(&held)))
}

/// A device that keeps the first failure of its reads, because a parser that reads around failures
/// reports them as damage.
struct FirstFailure<'a> {
    device: &'a dyn ReadAt,
    failure: Mutex<Option<klon_partition::Error>>,
}

impl ReadAt for FirstFailure<'_> {
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
