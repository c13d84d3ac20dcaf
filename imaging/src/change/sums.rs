//! What a run reads of its source, against the checksums that the source's filesystem keeps of it.

use super::MetadataFigures;
use super::sectors::{CheckedSectors, SectorCheck};
use crate::error::{Error, Result};
use klon_partition::filesystem::{Basis, Filesystem, Kind, Usage, owners};
use klon_partition::{Extent, ExtentMap, ReadAt};

/// Files that are named.
const FILES_MAX: usize = 64;

/// The filesystem of a source whose data has checksums; `None` of any other, of one that is copied
/// whole, and of a source that keeps digests of its own.
///
/// # Errors
/// [`Error::Source`].
pub(crate) fn filesystem<'a>(
    source: &dyn ReadAt,
    usage: &'a Usage,
) -> Result<Option<&'a dyn Filesystem>> {
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    if kind != Some(Kind::Btrfs) || usage.basis != Basis::Map {
        return Ok(None);
    }
    let len_bytes = source.geometry().size_bytes.min(crate::CHUNK_BYTES);
    let Some(first) = Extent::new(0, len_bytes) else {
        return Ok(None);
    };
    if source.sha256(first).map_err(Error::Source)?.is_some() {
        return Ok(None);
    }
    Ok(usage.filesystem())
}

/// Begins to compare what is read. Where that is not possible it is noted, and nothing may be kept for the
/// next run: what is not compared can't be proven later.
pub(crate) fn begin<'a>(
    filesystem: Option<&'a dyn Filesystem>,
    source: &'a dyn ReadAt,
    figures: &mut MetadataFigures,
) -> Result<Option<SectorCheck<'a>>, Unchecked> {
    let begun = filesystem.and_then(|filesystem| SectorCheck::begin(filesystem, source));
    begun.transpose().map_err(|error| {
        figures.unchecked_because.get_or_insert(error.to_string());
        Unchecked
    })
}

/// Nothing of a source can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unchecked;

/// Notes what was found, `lost` is what came as zeroes and is told as that. What of the source is damaged
/// or could not be compared.
pub(crate) fn end(
    source: &dyn ReadAt,
    checked: CheckedSectors,
    lost: &ExtentMap,
    figures: &mut MetadataFigures,
) -> ExtentMap {
    let CheckedSectors {
        damaged,
        compared_bytes,
        unchecked,
        unchecked_because,
    } = checked;
    let doubtful = damaged.union(&unchecked);
    let damaged = damaged.difference(lost);
    figures.checksummed_bytes = compared_bytes;
    figures.unchecked_because = unchecked_because;
    if !damaged.is_empty() {
        figures.damaged_files = owners(source, &damaged, FILES_MAX).files;
    }
    figures.damaged = damaged;
    doubtful
}

/// Compares what was read of `copy` with its checksums. The bytes are in `content`, which begins at
/// `start_bytes`.
pub(crate) fn look(check: &SectorCheck<'_>, copy: &[Extent], start_bytes: u64, content: &[u8]) {
    for extent in copy {
        let at = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let begin = at(extent.offset_bytes().saturating_sub(start_bytes));
        let end = begin.saturating_add(at(extent.len_bytes()));
        if let Some(bytes) = content.get(begin..end) {
            check.look(extent.offset_bytes(), bytes);
        }
    }
}
