//! `$Bitmap`: which clusters are in use.

use super::boot::Geometry;
use super::mft::{self, Mft};
use super::record::{DATA, Key};
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run};

const PIECE_BYTES: u64 = 1 << 20;

/// The bits of all clusters.
pub(super) struct Bitmap<'a> {
    geometry: &'a Geometry,
    device: &'a dyn ReadAt,
    bits: Stream,
}

impl<'a> Bitmap<'a> {
    /// Finds the bits.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the record of `$Bitmap` fails its check or parts of the
    /// bits are in no cluster.
    pub(super) fn open(mft: &'a Mft, device: &'a dyn ReadAt) -> Result<Self> {
        let record = mft.record(device, mft::CLUSTER_BITMAP)?;
        let Some(bits) = mft.stream(device, &record, Key::unnamed(DATA))? else {
            return Err(record
                .corrupt("$DATA", "bits of clusters", "nothing")
                .into());
        };
        if !bits.is_plain() {
            return Err(record
                .corrupt("$DATA", "runs without holes", "a hole")
                .into());
        }
        if bits.written_bytes() != bits.len_bytes() {
            let found = bits.written_bytes();
            return Err(record
                .corrupt("initialized_size", bits.len_bytes(), found)
                .into());
        }
        Ok(Self {
            geometry: &mft.geometry,
            device,
            bits,
        })
    }

    /// Size of the bits.
    pub(super) fn len_bytes(&self) -> u64 {
        self.bits.len_bytes()
    }

    /// Calls `visit` with (first cluster, count) of each run in use. A cluster without a bit is
    /// in use. A run may come in parts.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn for_each_used(&self, mut visit: impl FnMut(u64, u64)) -> Result<()> {
        let needed_bytes = self.geometry.clusters.div_ceil(8);
        let end_bytes = needed_bytes.min(self.bits.len_bytes());
        let mut piece = vec![0; usize::try_from(PIECE_BYTES.min(end_bytes)).unwrap_or(0)];
        let mut at = 0;
        while at < end_bytes {
            let len = usize::try_from(end_bytes.saturating_sub(at)).unwrap_or(usize::MAX);
            let len = len.min(piece.len());
            let now = piece.get_mut(..len).unwrap_or_default();
            self.bits.read(self.device, self.geometry, (at, now))?;
            let first = at.saturating_mul(8);
            let count = self.geometry.clusters.saturating_sub(first);
            for_each_run(now, Order::LeastFirst, count, &mut |start, len| {
                visit(first.saturating_add(start), len)
            });
            at = at.saturating_add(len as u64);
        }
        let covered = end_bytes.saturating_mul(8).min(self.geometry.clusters);
        let rest = self.geometry.clusters.saturating_sub(covered);
        if rest > 0 {
            visit(covered, rest);
        }
        Ok(())
    }

    /// How many clusters are free.
    ///
    /// # Errors
    /// As for [`Self::for_each_used`].
    pub(super) fn free_clusters(&self) -> Result<u64> {
        let mut used = 0_u64;
        self.for_each_used(|_, count| used = used.saturating_add(count))?;
        Ok(self.geometry.clusters.saturating_sub(used))
    }

    /// Every byte in use: clusters by their bits, the sectors after the last cluster, and the backup
    /// boot sector.
    ///
    /// # Errors
    /// As for [`Self::for_each_used`].
    pub(super) fn used(&self) -> Result<ExtentMap> {
        let geometry = self.geometry;
        let mut map = ExtentMapBuilder::new();
        self.for_each_used(|first, count| {
            if let Some(extent) = geometry.clusters_extent(first, count) {
                map.push(extent);
            }
        })?;
        for extent in edges(geometry) {
            map.push(extent);
        }
        Ok(map.finish())
    }
}

/// What the filesystem has after its last cluster.
pub(super) fn edges(geometry: &Geometry) -> impl Iterator<Item = Extent> {
    Extent::between(geometry.clusters_end_bytes(), geometry.size_bytes).into_iter()
}
