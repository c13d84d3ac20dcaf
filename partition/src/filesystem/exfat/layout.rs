//! Where the parts of an exFAT volume lie, checked against the volume.

use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::chain::Table;

/// First cluster of the cluster heap; entries 0 and 1 of the FAT hold marks.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Geometry from a validated main boot region: every part lies on the volume, and the FATs have an
/// entry for each cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// 2^BytesPerSectorShift × 2^SectorsPerClusterShift.
    pub(super) cluster_size_bytes: u32,
    /// FatOffset.
    pub(super) fat_offset_bytes: u64,
    /// FatLength.
    pub(super) fat_bytes: u64,
    /// NumberOfFats: 1, or 2 on TexFAT, each with an allocation bitmap of its own.
    pub(super) fat_count: u8,
    /// The FAT and the bitmap to follow: 0 or 1.
    pub(super) active_fat: u8,
    /// ClusterHeapOffset.
    pub(super) heap_offset_bytes: u64,
    pub(super) cluster_count: u32,
    /// FirstClusterOfRootDirectory.
    pub(super) root_cluster: u32,
    /// VolumeLength.
    pub(super) size_bytes: u64,
}

impl Layout {
    pub(super) fn cluster_bytes(&self) -> u64 {
        u64::from(self.cluster_size_bytes)
    }

    /// One past the last byte of the cluster heap.
    pub(super) fn heap_end_bytes(&self) -> u64 {
        self.heap_offset_bytes.saturating_add(self.heap_bytes())
    }

    /// Bytes of all clusters; no file is longer.
    pub(super) fn heap_bytes(&self) -> u64 {
        u64::from(self.cluster_count).saturating_mul(self.cluster_bytes())
    }

    /// How many clusters `len_bytes` take.
    pub(super) fn clusters_of(&self, len_bytes: u64) -> u64 {
        len_bytes.div_ceil(self.cluster_bytes().max(1))
    }

    /// Where `count` clusters from `first` on lie; `None` when they aren't all in the heap.
    pub(super) fn clusters(&self, first: u32, count: u64) -> Option<Extent> {
        let index = u64::from(first.checked_sub(FIRST_CLUSTER)?);
        if index.checked_add(count)? > u64::from(self.cluster_count) {
            return None;
        }
        let offset_bytes = index
            .checked_mul(self.cluster_bytes())?
            .checked_add(self.heap_offset_bytes)?;
        Extent::new(offset_bytes, count.checked_mul(self.cluster_bytes())?)
    }

    /// Boot regions, FATs and what is between them and the cluster heap.
    pub(super) const fn head(&self) -> Option<Extent> {
        Extent::new(0, self.heap_offset_bytes)
    }

    /// The excess space after the last cluster.
    pub(super) fn tail(&self) -> Option<Extent> {
        Extent::between(self.heap_end_bytes(), self.size_bytes)
    }
}

impl Table for Layout {
    fn clusters_end(&self) -> u32 {
        self.cluster_count.saturating_add(FIRST_CLUSTER)
    }

    fn cluster_checked(&self, cluster: u32) -> Result<Extent> {
        self.clusters(cluster, 1).ok_or_else(|| {
            let expected = format!(
                "a cluster from 2 to {}",
                self.clusters_end().saturating_sub(1)
            );
            let offset_bytes = self.fat_offset_bytes;
            Corrupt::new("exFAT", "cluster number", offset_bytes, expected, cluster).into()
        })
    }

    fn entry_bits(&self) -> u64 {
        32
    }

    fn active_offset_bytes(&self) -> u64 {
        self.fat_bytes
            .saturating_mul(u64::from(self.active_fat))
            .saturating_add(self.fat_offset_bytes)
    }

    fn entries_bytes(&self) -> u64 {
        u64::from(self.clusters_end()).saturating_mul(4)
    }

    fn decode(&self, bytes: &[u8], _cluster: u32) -> u32 {
        crate::bytes::le32(bytes, 0)
    }

    fn is_end(&self, entry: u32) -> bool {
        // Section 4.1.3: exactly this; FFFFFFF8h and the like end no chain.
        entry == 0xffff_ffff
    }
}
