//! Run lists: which clusters hold an attribute, as mapping pairs encode it.
//!
//! Linux-NTFS documentation, "Data Runs":
//! <https://flatcap.github.io/linux-ntfs/ntfs/concepts/data_runs.html>.

use super::address::{Lcn, Vcn};
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
    pub(super) vcn: Vcn,
    /// Cluster of the volume with which it starts; `None` for a hole.
    pub(super) lcn: Option<Lcn>,
    pub(super) clusters: u64,
}

impl Run {
    /// Where the run lies; `None` for a hole.
    pub(super) fn extent(&self, geometry: &Geometry) -> Option<Extent> {
        geometry.extent(self.lcn?, self.clusters)
    }

    /// The cluster of the attribute after the run, at most 2^54.
    pub(super) const fn end(&self) -> Vcn {
        Vcn(self.vcn.0.saturating_add(self.clusters))
    }
}

/// Mapping pairs, the first cluster of the attribute that they map, and where they come from.
#[derive(Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) lowest_vcn: Vcn,
    /// Position of the file record on the volume.
    pub(super) offset_bytes: u64,
}

impl Pairs<'_> {
    /// Appends the runs to `runs`; gives the cluster of the attribute after the last.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a run is empty, lies outside of the volume or the list has no
    /// end; [`Error::Unsupported`] for more runs than fit the bounds of memory.
    pub(super) fn decode(&self, geometry: &Geometry, runs: &mut Vec<Run>) -> Result<Vcn> {
        let mut decoder = Decoder {
            geometry,
            offset_bytes: self.offset_bytes,
            rest: self.bytes,
            vcn: self.lowest_vcn,
            lcn: 0,
        };
        while let Some(run) = decoder.next()? {
            if runs.len() >= RUNS_MAX {
                return Err(Error::unsupported(
                    format!("an NTFS attribute of more than {RUNS_MAX} fragments"),
                    "its run list doesn't fit in memory; copy the whole volume",
                ));
            }
            runs.push(run);
        }
        Ok(decoder.vcn)
    }
}

/// How far a list of mapping pairs is decoded.
struct Decoder<'a> {
    geometry: &'a Geometry,
    offset_bytes: u64,
    rest: &'a [u8],
    /// Where the next run starts in the attribute.
    vcn: Vcn,
    /// Where the last run that is no hole started on the volume. The next is stored as the distance
    /// from it.
    lcn: i64,
}

impl Decoder<'_> {
    /// The next run; `None` at the end mark.
    fn next(&mut self) -> Result<Option<Run>> {
        let Some((&header, rest)) = self.rest.split_first() else {
            return Err(self.bad("end", "a zero byte after the last run", "none"));
        };
        if header == 0 {
            return Ok(None);
        }
        let (len_size, lcn_size) = (usize::from(header & 15), usize::from(header >> 4));
        let is_sound = (1..=8).contains(&len_size) && lcn_size <= 8;
        let parts = rest.split_at_checked(len_size).and_then(|(len, rest)| {
            let (delta, rest) = rest.split_at_checked(lcn_size)?;
            Some((signed(len), signed(delta), rest))
        });
        let Some((len, delta, rest)) = parts.filter(|_| is_sound) else {
            let found = format!("{header:#04x}");
            return Err(self.bad("header", "sizes of 1 to 8 bytes inside the record", found));
        };
        let clusters = u64::try_from(len).ok().filter(|&clusters| clusters > 0);
        let end = clusters.and_then(|clusters| self.vcn.0.checked_add(clusters));
        let (Some(clusters), Some(end)) = (clusters, end.filter(|&end| end <= VCN_MAX)) else {
            return Err(self.bad("length", "a positive number of clusters", len));
        };
        let lcn = match lcn_size {
            0 => None,
            _ => Some(self.place(delta, clusters)?),
        };
        let vcn = std::mem::replace(&mut self.vcn, Vcn(end));
        self.rest = rest;
        Ok(Some(Run { vcn, lcn, clusters }))
    }

    /// Where a run starts on the volume, `delta` clusters from the last.
    fn place(&mut self, delta: i64, clusters: u64) -> Result<Lcn> {
        let next = self.lcn.checked_add(delta);
        let start = next.and_then(|next| u64::try_from(next).ok()).map(Lcn);
        let is_inside = |&start: &Lcn| self.geometry.extent(start, clusters).is_some();
        match (next, start.filter(is_inside)) {
            (Some(next), Some(start)) => {
                self.lcn = next;
                Ok(start)
            }
            _ => {
                let expected = format!("clusters below {}", self.geometry.clusters);
                let found = format!("{clusters} at {} {delta:+}", self.lcn);
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
