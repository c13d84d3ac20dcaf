//! `$Bitmap`: which clusters are in use.
//!
//! Linux-NTFS documentation, "$Bitmap":
//! <https://flatcap.github.io/linux-ntfs/ntfs/files/bitmap.html>.

use super::address::Lcn;
use super::boot::Geometry;
use super::mft::{self, Mft};
use super::record::{DATA, Key};
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run};

/// How many bits are read at once, in bytes.
const PIECE_LEN: usize = 1 << 20;

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
            let expected = "bits of clusters";
            return Err(record.corrupt("$DATA", expected, "nothing").into());
        };
        if !bits.is_plain() {
            let expected = "runs without holes";
            return Err(record.corrupt("$DATA", expected, "a hole").into());
        }
        if bits.written_bytes() != bits.len_bytes() {
            let (expected, found) = (bits.len_bytes(), bits.written_bytes());
            return Err(record.corrupt("initialized_size", expected, found).into());
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

    /// Calls `visit` with the first cluster and the count of each run in use. A cluster without a
    /// bit is in use. A run may come in parts.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn for_each_used(&self, mut visit: impl FnMut(Lcn, u64)) -> Result<()> {
        let clusters = self.geometry.clusters;
        let end_bytes = clusters.div_ceil(8).min(self.bits.len_bytes());
        let mut piece = vec![0; PIECE_LEN];
        // Bits of clusters, so that 8 times a position fits 64 bits.
        for at in (0..end_bytes).step_by(PIECE_LEN) {
            let left = usize::try_from(end_bytes - at).unwrap_or(PIECE_LEN);
            let now = piece.get_mut(..left.min(PIECE_LEN)).unwrap_or_default();
            self.bits.read(self.device, self.geometry, at, now)?;
            let first = at * 8;
            let count = clusters - first;
            for_each_run(now, Order::LeastFirst, count, &mut |start, len| {
                visit(Lcn(first + start), len);
            });
        }
        let covered = (end_bytes * 8).min(clusters);
        if covered < clusters {
            visit(Lcn(covered), clusters - covered);
        }
        Ok(())
    }

    /// How many clusters are free.
    ///
    /// # Errors
    /// As for [`Self::for_each_used`].
    pub(super) fn free_clusters(&self) -> Result<u64> {
        let mut free = self.geometry.clusters;
        self.for_each_used(|_, count| free = free.saturating_sub(count))?;
        Ok(free)
    }

    /// Every byte in use: clusters by their bits, the sectors after the last cluster, and the backup
    /// of the boot sector.
    ///
    /// # Errors
    /// As for [`Self::for_each_used`].
    pub(super) fn used(&self) -> Result<ExtentMap> {
        let geometry = self.geometry;
        let mut map = ExtentMapBuilder::new();
        self.for_each_used(|first, count| {
            let extent = geometry.extent(first, count);
            extent.into_iter().for_each(|extent| map.push(extent));
        })?;
        edges(geometry).for_each(|extent| map.push(extent));
        Ok(map.finish())
    }
}

/// What the filesystem has after its last cluster.
pub(super) fn edges(geometry: &Geometry) -> impl Iterator<Item = Extent> {
    Extent::between(geometry.clusters_end_bytes(), geometry.size_bytes).into_iter()
}
