//! Where the parts of a FAT volume lie, checked against the volume.

use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::filesystem::chain::Table;

/// First cluster with data; entries 0 and 1 of the FAT hold flags.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Geometry from a validated boot sector: every part lies on the volume, and the FAT has an entry
/// for each cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// FAT12, FAT16 or FAT32.
    pub(super) kind: Kind,
    /// BPB_BytsPerSec.
    pub(super) sector_bytes: u64,
    /// BPB_BytsPerSec × BPB_SecPerClus.
    pub(super) cluster_size_bytes: u32,
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
    pub(super) root_cluster: u32,
    /// BPB_FSInfo as an offset; `None` on FAT12/16 or when there is none.
    pub(super) fsinfo_offset_bytes: Option<u64>,
    /// Start of cluster 2.
    pub(super) data_offset_bytes: u64,
    /// Number of whole clusters.
    pub(super) cluster_count: u32,
    /// BPB_TotSec in bytes.
    pub(super) size_bytes: u64,
}

impl Layout {
    /// Bits of one entry of the FAT.
    pub(super) const fn entry_bits(&self) -> u64 {
        match self.kind {
            Kind::Fat12 => 12,
            Kind::Fat16 => 16,
            _ => 32,
        }
    }

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

    /// One past the last cluster.
    pub(super) const fn clusters_end(&self) -> u32 {
        self.cluster_count.saturating_add(FIRST_CLUSTER)
    }

    pub(super) fn cluster_bytes(&self) -> u64 {
        u64::from(self.cluster_size_bytes)
    }

    /// Bytes of a copy of the FAT that hold entries; the rest of it is padding.
    pub(super) fn entries_bytes(&self) -> u64 {
        // At most 2^28 entries of 32 bits.
        u64::from(self.clusters_end())
            .saturating_mul(self.entry_bits())
            .div_ceil(8)
    }

    /// Start of a copy of the FAT.
    pub(super) fn fat_copy_offset_bytes(&self, copy: u8) -> u64 {
        self.fat_bytes
            .saturating_mul(u64::from(copy))
            .saturating_add(self.fat_offset_bytes)
    }

    /// Where a cluster lies; `None` when there is no such cluster.
    pub(super) fn cluster(&self, cluster: u32) -> Option<Extent> {
        if cluster >= self.clusters_end() {
            return None;
        }
        let index = u64::from(cluster.checked_sub(FIRST_CLUSTER)?);
        let offset_bytes = index
            .checked_mul(self.cluster_bytes())?
            .checked_add(self.data_offset_bytes)?;
        Extent::new(offset_bytes, self.cluster_bytes())
    }

    /// Where a cluster lies.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there is no such cluster.
    pub(super) fn cluster_checked(&self, cluster: u32) -> Result<Extent> {
        let expected = format!("a cluster from 2 to {}", self.clusters_end() - 1);
        self.cluster(cluster).ok_or_else(|| {
            let offset_bytes = self.entry_offset_bytes(cluster);
            Corrupt::new("FAT", "cluster number", offset_bytes, expected, cluster).into()
        })
    }

    /// Where an entry starts in the first copy of the FAT.
    pub(super) fn entry_offset_bytes(&self, cluster: u32) -> u64 {
        (u64::from(cluster).saturating_mul(self.entry_bits()) / 8)
            .saturating_add(self.fat_offset_bytes)
    }

    /// One past the last cluster's last byte.
    pub(super) fn data_end_bytes(&self) -> u64 {
        u64::from(self.cluster_count)
            .saturating_mul(self.cluster_bytes())
            .saturating_add(self.data_offset_bytes)
    }

    /// The entry at bit position 0 or 4 of `bytes`, which start at the entry's first byte.
    pub(super) fn decode(&self, bytes: &[u8], cluster: u32) -> u32 {
        match self.kind {
            Kind::Fat12 => {
                // Two entries share three bytes; an odd one starts at the upper half of a byte.
                let shift = if cluster.is_multiple_of(2) { 0 } else { 4 };
                (u32::from(crate::bytes::le16(bytes, 0)) >> shift) & 0xfff
            }
            Kind::Fat16 => u32::from(crate::bytes::le16(bytes, 0)),
            _ => crate::bytes::le32(bytes, 0) & self.entry_mask(),
        }
    }
}

impl Table for Layout {
    fn clusters_end(&self) -> u32 {
        self.clusters_end()
    }

    fn cluster_checked(&self, cluster: u32) -> Result<Extent> {
        self.cluster_checked(cluster)
    }

    fn entry_bits(&self) -> u64 {
        self.entry_bits()
    }

    fn active_offset_bytes(&self) -> u64 {
        self.fat_copy_offset_bytes(self.active_fat)
    }

    fn entries_bytes(&self) -> u64 {
        self.entries_bytes()
    }

    fn decode(&self, bytes: &[u8], cluster: u32) -> u32 {
        self.decode(bytes, cluster)
    }

    fn is_end(&self, entry: u32) -> bool {
        // …F8 and above end a chain.
        entry >= self.reserved_entry_min() | 8
    }
}
