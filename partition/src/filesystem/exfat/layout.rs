//! Where the parts of an exFAT volume lie, checked against the volume.

use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::chain::Table;
use crate::filesystem::cluster::{Cluster, Clusters};

/// Geometry from a validated main boot region: every part lies on the volume, and the FATs have an
/// entry for each cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// FatOffset.
    pub(super) fat_offset_bytes: u64,
    /// FatLength.
    pub(super) fat_bytes: u64,
    /// NumberOfFats: 1, or 2 on TexFAT, each with an allocation bitmap of its own.
    pub(super) fat_count: u8,
    /// The FAT and the bitmap to follow: 0 or 1.
    pub(super) active_fat: u8,
    /// The cluster heap: ClusterHeapOffset, ClusterCount, and
    /// 2^BytesPerSectorShift × 2^SectorsPerClusterShift.
    pub(super) heap: Clusters,
    /// FirstClusterOfRootDirectory.
    pub(super) root_cluster: Cluster,
    /// VolumeLength.
    pub(super) size_bytes: u64,
}

impl Layout {
    /// How many clusters `len_bytes` take.
    pub(super) fn clusters_of(&self, len_bytes: u64) -> u64 {
        len_bytes.div_ceil(self.heap.size_bytes().into())
    }

    /// Bytes of the bits of all clusters.
    pub(super) fn bitmap_bytes(&self) -> u64 {
        u64::from(self.heap.count()).div_ceil(8)
    }

    /// Where a FAT lies. All of them are on the volume.
    pub(super) fn fat_copy_offset_bytes(&self, number: u8) -> u64 {
        self.fat_offset_bytes + self.fat_bytes * u64::from(number)
    }

    /// Boot regions, FATs and what is between them and the cluster heap.
    pub(super) const fn head(&self) -> Option<Extent> {
        Extent::new(0, self.heap.offset_bytes())
    }

    /// The excess space after the last cluster.
    pub(super) fn tail(&self) -> Option<Extent> {
        Extent::between(self.heap.end_bytes(), self.size_bytes)
    }
}

impl Table for Layout {
    fn clusters(&self) -> &Clusters {
        &self.heap
    }

    fn cluster_checked(&self, cluster: Cluster) -> Result<Extent> {
        self.heap.extent(cluster).ok_or_else(|| {
            let expected = format!("a cluster from 2 to {}", self.heap.end().0 - 1);
            let offset_bytes = self.fat_offset_bytes;
            Corrupt::new("exFAT", "cluster number", offset_bytes, expected, cluster).into()
        })
    }

    fn entry_bits(&self) -> u64 {
        32
    }

    fn active_offset_bytes(&self) -> u64 {
        self.fat_copy_offset_bytes(self.active_fat)
    }

    fn decode(&self, bytes: &[u8], _cluster: Cluster) -> u32 {
        crate::bytes::le32(bytes, 0)
    }

    fn is_end(&self, entry: u32) -> bool {
        // Section 4.1.3: exactly this; FFFFFFF8h and the like end no chain.
        entry == 0xffff_ffff
    }
}
