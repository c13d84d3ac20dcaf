//! Whether a source still reads as its filesystem wrote it, by the checksum of each sector.
//! A sector that differs is damaged: the medium changed it, or someone past the filesystem did. A clone of
//! it is no better than the source. Where data is kept twice, a repair puts the bad copy right without a
//! trace. So the next run takes nothing of a damaged sector for proven.

use super::proven::Area;
use klon_partition::filesystem::Filesystem;
use klon_partition::filesystem::extents::{ChecksumLookup, SummedSectors};
use klon_partition::locks::{into_inner, lock};
use klon_partition::{Extent, ExtentMap, ReadAt, Result};
use std::sync::Mutex;

/// Compares what is read of a source with the checksums of its data, in any order and from several
/// threads. It takes a few mebibytes of memory, however large the source is.
pub struct SectorCheck<'a> {
    lookup: Box<dyn ChecksumLookup + 'a>,
    state: Mutex<State>,
}

/// What was found so far.
struct State {
    damaged: Area,
    unchecked: Area,
    compared_bytes: u64,
    first_error: Option<String>,
}

/// What a source's checksums said of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSectors {
    /// Sectors that don't have their checksum.
    pub damaged: ExtentMap,
    /// Bytes of sectors that were compared, the damaged ones too.
    pub compared_bytes: u64,
    /// What could not be compared.
    pub unchecked: ExtentMap,
    /// Why the first of it could not.
    pub unchecked_because: Option<String>,
}

impl<'a> SectorCheck<'a> {
    /// Begins to check what is read of `device`, which holds `filesystem`; `None` when that keeps no
    /// checksums of data.
    ///
    /// # Errors
    /// As [`Filesystem::checksums`].
    pub fn begin(filesystem: &'a dyn Filesystem, device: &'a dyn ReadAt) -> Option<Result<Self>> {
        let lookup = filesystem.checksums(device)?;
        Some(lookup.map(|lookup| Self {
            lookup,
            state: Mutex::new(State {
                damaged: Area::covering(),
                unchecked: Area::covering(),
                compared_bytes: 0,
                first_error: None,
            }),
        }))
    }

    /// Compares `content`, which was read of the device at `offset_bytes` and is in use. Both should be
    /// multiples of a sector (at most 64 KiB): a sector of which only a part is there counts as not
    /// compared.
    pub fn look(&self, offset_bytes: u64, content: &[u8]) {
        let len_bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let Some(extent) = Extent::new(offset_bytes, len_bytes) else {
            return;
        };
        let found = self.lookup.within(extent);
        let compared: Vec<Compared> = found
            .iter()
            .flatten()
            .map(|sectors| compare(sectors, extent, content))
            .collect();
        let mut state = lock(&self.state);
        if let Err(error) = found {
            state.miss(extent, || error.to_string());
        }
        for compared in compared {
            let bytes = compared.compared_bytes;
            state.compared_bytes = state.compared_bytes.saturating_add(bytes);
            for sector in compared.damaged {
                state.damaged.push(sector);
            }
            for cut in compared.cut {
                state.miss(cut, || "only a part of a sector was read".to_owned());
            }
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> CheckedSectors {
        let state = into_inner(self.state);
        CheckedSectors {
            damaged: state.damaged.finish(),
            compared_bytes: state.compared_bytes,
            unchecked: state.unchecked.finish(),
            unchecked_because: state.first_error,
        }
    }
}

impl State {
    fn miss(&mut self, extent: Extent, why: impl FnOnce() -> String) {
        self.unchecked.push(extent);
        self.first_error.get_or_insert_with(why);
    }
}

impl std::fmt::Debug for SectorCheck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SectorCheck").finish_non_exhaustive()
    }
}

/// What came of sectors that follow each other.
#[derive(Default)]
struct Compared {
    damaged: Vec<Extent>,
    compared_bytes: u64,
    cut: Vec<Extent>,
}

/// Compares those of `sectors` that `content`, the bytes of `extent`, has all of.
fn compare(sectors: &SummedSectors, extent: Extent, content: &[u8]) -> Compared {
    let mut compared = Compared::default();
    let checksums = sectors.checksums();
    let pieces = sectors.place.split(sectors.sector_bytes.into());
    for (sector, checksum) in pieces.zip(checksums.iter()) {
        let Some(bytes) = part(extent, content, sector) else {
            compared.cut.extend(sector.intersection(extent));
            continue;
        };
        let len_bytes = sector.len_bytes();
        compared.compared_bytes = compared.compared_bytes.saturating_add(len_bytes);
        if !checksums.kind().matches(bytes, checksum) {
            compared.damaged.push(sector);
        }
    }
    compared
}

/// The bytes of `sector` in `content`, the bytes of `extent`; `None` unless all are there.
fn part(extent: Extent, content: &[u8], sector: Extent) -> Option<&[u8]> {
    let start = sector.offset_bytes().checked_sub(extent.offset_bytes())?;
    let start = usize::try_from(start).ok()?;
    let len = usize::try_from(sector.len_bytes()).ok()?;
    content.get(start..start.checked_add(len)?)
}

#[cfg(test)]
mod tests;
