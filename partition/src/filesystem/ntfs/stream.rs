//! The value of an attribute, wherever it lies.
//!
//! Linux-NTFS documentation, "Attribute Header":
//! <https://flatcap.github.io/linux-ntfs/ntfs/concepts/attribute_header.html>.

use super::address::Vcn;
use super::boot::Geometry;
use super::runs::Run;
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};

/// An attribute's value.
#[derive(Clone, Debug)]
pub(super) enum Stream {
    /// In the record itself.
    Resident(Vec<u8>),
    /// In clusters.
    Nonresident {
        /// Without gaps, in order of `vcn`, from 0 on.
        runs: Vec<Run>,
        data_bytes: u64,
        /// All bytes after these read as zeroes.
        initialized_bytes: u64,
        /// Compressed, encrypted, sparse.
        flags: u16,
    },
}

/// Where a byte of a value is.
struct Place {
    /// Where it lies on the volume; `None` in a hole.
    offset_bytes: Option<u64>,
    /// How many bytes of the value lie there in a row, this one included.
    len_bytes: u64,
}

impl Stream {
    /// Size of the value.
    pub(super) fn len_bytes(&self) -> u64 {
        match self {
            Self::Resident(value) => value.len() as u64,
            Self::Nonresident { data_bytes, .. } => *data_bytes,
        }
    }

    /// How much of the value has ever been written.
    pub(super) fn written_bytes(&self) -> u64 {
        match self {
            Self::Resident(value) => value.len() as u64,
            Self::Nonresident {
                data_bytes,
                initialized_bytes,
                ..
            } => *data_bytes.min(initialized_bytes),
        }
    }

    /// Whether the clusters hold the value as it is: no hole, no compression, no encryption.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Resident(_) => true,
            Self::Nonresident { runs, flags, .. } => {
                *flags == 0 && runs.iter().all(|run| run.lcn.is_some())
            }
        }
    }

    /// Fills `buffer` from `offset_bytes` of the value; holes are zeroes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the run list ends before that.
    pub(super) fn read(
        &self,
        device: &dyn ReadAt,
        geometry: &Geometry,
        offset_bytes: u64,
        buffer: &mut [u8],
    ) -> Result<()> {
        let end = offset_bytes.saturating_add(buffer.len() as u64);
        let runs = match self {
            Self::Resident(value) => {
                let start = usize::try_from(offset_bytes).ok();
                let rest = start.and_then(|start| value.get(start..));
                let found = rest.and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(found.ok_or_else(|| short(end))?);
                return Ok(());
            }
            Self::Nonresident { runs, .. } => runs,
        };
        let mut rest = buffer;
        while !rest.is_empty() {
            let at = end.saturating_sub(rest.len() as u64);
            let place = find(runs, geometry, at).ok_or_else(|| short(at))?;
            let len = rest.len();
            let len = usize::try_from(place.len_bytes).map_or(len, |there| there.min(len));
            let (now, later) = rest.split_at_mut_checked(len).ok_or_else(|| short(at))?;
            match place.offset_bytes {
                Some(offset_bytes) => device.read_exact_at(now, offset_bytes)?,
                None => now.fill(0),
            }
            rest = later;
        }
        Ok(())
    }

    /// Where byte `offset_bytes` of the value lies on the volume; `None` if nowhere.
    pub(super) fn place(&self, geometry: &Geometry, offset_bytes: u64) -> Option<u64> {
        match self {
            Self::Resident(_) => None,
            Self::Nonresident { runs, .. } => find(runs, geometry, offset_bytes)?.offset_bytes,
        }
    }

    /// As [`place`](Self::place), for messages: 0 if nowhere.
    pub(super) fn place_bytes(&self, geometry: &Geometry, offset_bytes: u64) -> u64 {
        self.place(geometry, offset_bytes).unwrap_or(0)
    }
}

fn find(runs: &[Run], geometry: &Geometry, at: u64) -> Option<Place> {
    let vcn = Vcn(at.checked_div(geometry.cluster_bytes)?);
    let index = runs.partition_point(|run| run.end() <= vcn);
    let run = runs.get(index).filter(|run| run.vcn <= vcn)?;
    let into_bytes = at.checked_sub(geometry.vcn_byte(run.vcn))?;
    let offset_bytes = match run.lcn {
        Some(_) => Some(run.extent(geometry)?.offset_bytes() + into_bytes),
        None => None,
    };
    Some(Place {
        offset_bytes,
        len_bytes: geometry.bytes(run.clusters).checked_sub(into_bytes)?,
    })
}

fn short(at: u64) -> Error {
    let expected = format!("clusters for byte {at:#x} of the value");
    Corrupt::new("NTFS run list", "length", 0, expected, "its end").into()
}
