//! Run lists: which clusters hold an attribute, as mapping pairs encode it.

use super::boot::Geometry;
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;

/// Runs of one attribute beyond these are refused; 12 MiB of memory.
const RUNS_MAX: usize = 1 << 19;
/// A file ends before this cluster: 2^63 bytes at 512 bytes a cluster.
const VCN_MAX: u64 = 1 << 54;

/// Clusters that follow each other, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Cluster of the attribute with which the run starts.
    pub(super) vcn: u64,
    /// Cluster of the volume with which it starts; `None` for a hole.
    pub(super) lcn: Option<u64>,
    pub(super) clusters: u64,
}

impl Run {
    /// Where it lies; `None` for a hole.
    pub(super) fn place(&self, geometry: &Geometry) -> Option<Extent> {
        geometry.clusters_extent(self.lcn?, self.clusters)
    }

    /// The cluster of the attribute after the run.
    pub(super) const fn end_vcn(&self) -> u64 {
        self.vcn.saturating_add(self.clusters)
    }
}

/// Mapping pairs, the first cluster of the attribute that they map, and where they come from.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) lowest_vcn: u64,
    /// Position of the file record on the volume.
    pub(super) offset_bytes: u64,
}

impl Pairs<'_> {
    /// Appends the runs to `runs`; gives the cluster of the attribute after the last.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a run is empty, lies outside of the volume or the list has no
    /// end; [`Error::Unsupported`] for more runs than fit the bounds of memory.
    pub(super) fn decode(&self, geometry: &Geometry, runs: &mut Vec<Run>) -> Result<u64> {
        let mut end = self.lowest_vcn;
        let mut lcn = 0_i64;
        let mut rest = self.bytes;
        while let Some((run, after)) = self.next(rest, (end, &mut lcn), geometry)? {
            if runs.len() >= RUNS_MAX {
                return Err(Error::unsupported(
                    format!("an NTFS attribute of more than {RUNS_MAX} fragments"),
                    "its run list doesn't fit in memory; copy the whole volume",
                ));
            }
            end = run.end_vcn();
            runs.push(run);
            rest = after;
        }
        Ok(end)
    }

    /// The first run of `bytes` and what follows it; `None` at the end mark.
    fn next<'b>(
        &self,
        bytes: &'b [u8],
        (vcn, lcn): (u64, &mut i64),
        geometry: &Geometry,
    ) -> Result<Option<(Run, &'b [u8])>> {
        let Some((&header, rest)) = bytes.split_first() else {
            return Err(self.bad("end", "a zero byte after the last run", "none"));
        };
        if header == 0 {
            return Ok(None);
        }
        let (len_size, lcn_size) = (usize::from(header & 15), usize::from(header >> 4));
        let is_sound = (1..=8).contains(&len_size) && lcn_size <= 8;
        let parts = rest.split_at_checked(len_size).and_then(|(len, rest)| {
            let (delta, rest) = rest.split_at_checked(lcn_size)?;
            Some((len, delta, rest))
        });
        let Some((len, delta, rest)) = parts.filter(|_| is_sound) else {
            let found = format!("{header:#04x}");
            return Err(self.bad("header", "sizes of 1 to 8 bytes inside the record", found));
        };
        let clusters = u64::try_from(signed(len)).unwrap_or(0);
        let end = vcn.checked_add(clusters).filter(|&end| end <= VCN_MAX);
        if clusters == 0 || end.is_none() {
            let found = signed(len);
            return Err(self.bad("length", "a positive number of clusters", found));
        }
        let mut run = Run {
            vcn,
            lcn: None,
            clusters,
        };
        if lcn_size > 0 {
            run.lcn = Some(self.place(lcn, signed(delta), (clusters, geometry))?);
        }
        Ok(Some((run, rest)))
    }

    fn place(
        &self,
        lcn: &mut i64,
        delta: i64,
        (clusters, geometry): (u64, &Geometry),
    ) -> Result<u64> {
        let next = lcn.checked_add(delta);
        let start = next.and_then(|next| u64::try_from(next).ok());
        let end = start.and_then(|start| start.checked_add(clusters));
        match (next, start, end) {
            (Some(next), Some(start), Some(end)) if end <= geometry.clusters => {
                *lcn = next;
                Ok(start)
            }
            _ => {
                let expected = format!("clusters below {}", geometry.clusters);
                let found = format!("{clusters} at {lcn} {delta:+}");
                Err(self.bad("LCN", expected, found))
            }
        }
    }

    fn bad(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        Corrupt::new("NTFS run list", field, self.offset_bytes, expected, found).into()
    }
}

/// A little-endian number of at most 8 bytes whose top bit is its sign.
fn signed(bytes: &[u8]) -> i64 {
    let is_negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
    let mut whole = if is_negative { [0xff; 8] } else { [0; 8] };
    whole
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    i64::from_le_bytes(whole)
}
