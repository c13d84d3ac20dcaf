//! The value of an attribute, wherever it lies.

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
        /// What lies after these reads as zeroes.
        initialized_bytes: u64,
        /// Compressed, encrypted, sparse.
        flags: u16,
    },
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
        (offset_bytes, buffer): (u64, &mut [u8]),
    ) -> Result<()> {
        let runs = match self {
            Self::Resident(value) => {
                let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
                let end = start.saturating_add(buffer.len());
                let found = value.get(start..end).ok_or_else(|| short(end as u64))?;
                buffer.copy_from_slice(found);
                return Ok(());
            }
            Self::Nonresident { runs, .. } => runs,
        };
        let mut at = offset_bytes;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (place, left_bytes) = find(runs, geometry, at).ok_or_else(|| short(at))?;
            let len = usize::try_from(left_bytes)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (now, later) = rest.split_at_mut_checked(len).ok_or_else(|| short(at))?;
            match place {
                Some(place_bytes) => device.read_exact_at(now, place_bytes)?,
                None => now.fill(0),
            }
            at = at.saturating_add(len as u64);
            rest = later;
        }
        Ok(())
    }

    /// Where byte `offset_bytes` of the value lies on the volume; 0 if nowhere.
    pub(super) fn place_bytes(&self, geometry: &Geometry, offset_bytes: u64) -> u64 {
        match self {
            Self::Resident(_) => 0,
            Self::Nonresident { runs, .. } => find(runs, geometry, offset_bytes)
                .and_then(|(place, _)| place)
                .unwrap_or(0),
        }
    }
}

/// Where a byte of a value lies, `None` for a hole, and how many follow it there.
fn find(runs: &[Run], geometry: &Geometry, at: u64) -> Option<(Option<u64>, u64)> {
    let vcn = at.checked_div(geometry.cluster_bytes)?;
    let index = runs.partition_point(|run| run.end_vcn() <= vcn);
    let run = runs.get(index).filter(|run| run.vcn <= vcn)?;
    let start_bytes = run.vcn.checked_mul(geometry.cluster_bytes)?;
    let into_bytes = at.checked_sub(start_bytes)?;
    let len_bytes = run.clusters.saturating_mul(geometry.cluster_bytes);
    let place = match run.lcn {
        Some(lcn) => Some(
            lcn.checked_mul(geometry.cluster_bytes)?
                .checked_add(into_bytes)?,
        ),
        None => None,
    };
    Some((place, len_bytes.checked_sub(into_bytes)?))
}

fn short(at: u64) -> Error {
    let expected = format!("clusters for byte {at:#x} of the value");
    Corrupt::new("NTFS run list", "length", 0, expected, "its end").into()
}
