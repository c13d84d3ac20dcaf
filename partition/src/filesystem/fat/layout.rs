//! Where the parts of a FAT volume lie, checked against the volume.

use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::filesystem::chain::Table;
use crate::filesystem::cluster::{Cluster, Clusters};

/// Geometry from a validated boot sector: every part lies on the volume, and the FAT has an entry
/// for each cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// FAT12, FAT16 or FAT32.
    pub(super) kind: Kind,
    /// BPB_BytsPerSec.
    pub(super) sector_bytes: u64,
    /// BPB_Media, repeated in entry 0 of the FAT.
    pub(super) media: u8,
    /// Start of the first copy of the FAT.
    pub(super) fat_offset_bytes: u64,
    /// Length of one copy.
    pub(super) fat_bytes: u64,
    /// BPB_NumFATs.
    pub(super) fat_count: u8,
    /// BPB_ExtFlags bit 7 clear: all copies are kept equal.
    pub(super) is_mirrored: bool,
    /// The copy to follow: 0, or BPB_ExtFlags bits 0-3 when not mirrored.
    pub(super) active_fat: u8,
    /// The fixed root directory of FAT12/16; `None` on FAT32.
    pub(super) root: Option<Extent>,
    /// BPB_RootClus; 0 on FAT12/16.
    pub(super) root_cluster: Cluster,
    /// BPB_FSInfo as an offset; `None` on FAT12/16 or when there is none.
    pub(super) fsinfo_offset_bytes: Option<u64>,
    /// The whole clusters of the data region.
    pub(super) clusters: Clusters,
    /// BPB_TotSec in bytes.
    pub(super) size_bytes: u64,
}

impl Layout {
    /// The bits of an entry that count: the upper four of FAT32's are reserved.
    pub(super) const fn entry_mask(&self) -> u32 {
        match self.kind {
            Kind::Fat12 => 0xfff,
            Kind::Fat16 => 0xffff,
            _ => 0x0fff_ffff,
        }
    }

    /// Entries from this on are not clusters: reserved, bad (…F7) or end of chain (…F8 on).
    pub(super) const fn reserved_entry_min(&self) -> u32 {
        self.entry_mask() & !0xf
    }

    /// The entry of a cluster that is bad.
    pub(super) const fn bad_entry(&self) -> u32 {
        self.reserved_entry_min() | 7
    }

    /// Where a copy of the FAT lies. All copies are on the volume.
    pub(super) fn fat_copy_offset_bytes(&self, copy: u8) -> u64 {
        self.fat_offset_bytes + self.fat_bytes * u64::from(copy)
    }

    /// Where an entry starts in the first copy of the FAT.
    pub(super) fn entry_offset_bytes(&self, cluster: Cluster) -> u64 {
        self.fat_offset_bytes + self.position_bytes(cluster)
    }

    /// Reserved sectors, FATs and the fixed root directory.
    pub(super) const fn head(&self) -> Option<Extent> {
        Extent::new(0, self.clusters.offset_bytes())
    }

    /// The sectors after the last whole cluster.
    pub(super) fn tail(&self) -> Option<Extent> {
        Extent::between(self.clusters.end_bytes(), self.size_bytes)
    }
}

impl Table for Layout {
    fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    fn cluster_checked(&self, cluster: Cluster) -> Result<Extent> {
        self.clusters.extent(cluster).ok_or_else(|| {
            let expected = format!("a cluster from 2 to {}", self.clusters.end().0 - 1);
            let offset_bytes = self.entry_offset_bytes(cluster);
            Corrupt::new("FAT", "cluster number", offset_bytes, expected, cluster).into()
        })
    }

    fn entry_bits(&self) -> u64 {
        match self.kind {
            Kind::Fat12 => 12,
            Kind::Fat16 => 16,
            _ => 32,
        }
    }

    fn active_offset_bytes(&self) -> u64 {
        self.fat_copy_offset_bytes(self.active_fat)
    }

    fn decode(&self, bytes: &[u8], cluster: Cluster) -> u32 {
        match self.kind {
            Kind::Fat12 => {
                // Two entries share three bytes; an odd one starts at the upper half of a byte.
                let shift = if cluster.0.is_multiple_of(2) { 0 } else { 4 };
                (u32::from(crate::bytes::le16(bytes, 0)) >> shift) & 0xfff
            }
            Kind::Fat16 => u32::from(crate::bytes::le16(bytes, 0)),
            _ => crate::bytes::le32(bytes, 0) & self.entry_mask(),
        }
    }

    fn is_end(&self, entry: u32) -> bool {
        // …F8 and above end a chain.
        entry >= self.reserved_entry_min() | 8
    }
}
