//! Where the parts of a FAT lie that is laid out anew.

use super::super::layout::Layout;
use crate::device::Geometry;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::filesystem::cluster::{Cluster, Clusters};

/// Reserved sectors up to here keep their number, as what they hold counts in sectors. More are there to align what
/// follows, and keep their size.
const RESERVED_MOST: u64 = 32;
/// `BPB_SecPerClus` has 8 bits.
const CLUSTER_SECTORS_MAX: u64 = 128;
/// The most clusters of FAT12 and FAT16 (fatgen103, "FAT Type Determination").
const FAT12_CLUSTERS_MAX: u64 = 4084;
const FAT16_CLUSTERS_MAX: u64 = 65_524;
const FAT32_CLUSTERS_MAX: u64 = 0x0fff_fff4;
/// A FAT has two entries before those of clusters.
const ENTRIES_BEFORE: u64 = 2;
const ENTRY_BYTES: u64 = 32;

/// The geometry of a FAT.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) sector_bytes: u64,
    pub(super) cluster_sectors: u64,
    pub(super) reserved_sectors: u64,
    pub(super) fat_count: u8,
    pub(super) fat_sectors: u64,
    /// `BPB_RootEntCnt`; 0 for FAT32.
    pub(super) root_entries: u64,
    pub(super) total_sectors: u64,
    pub(super) clusters: Clusters,
}

impl Shape {
    /// The shape on a device of `to`: no larger than the filesystem is, and with the same clusters where that can
    /// be.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is none.
    pub(super) fn of(old: &Layout, to: Geometry) -> Result<Self> {
        let sector_bytes = u64::from(to.logical_sector_bytes);
        let size_bytes = old.size_bytes.min(to.size_bytes);
        let wanted = Self::cluster_bytes(old, sector_bytes);
        // Another number of clusters makes a FAT12 or FAT16 another kind, and few make a FAT32 one that not
        // everybody takes for it. Smaller clusters are more.
        let smaller = (0..8).map(|halved| wanted >> halved);
        let candidates = smaller.take_while(|&bytes| bytes >= sector_bytes);
        let shape = |bytes| Self::with(old, sector_bytes, bytes, size_bytes / sector_bytes);
        let is_same = |shape: &Self| shape.is_like(old);
        let found = candidates.filter_map(shape).find(is_same);
        // Only other sectors are worth another kind.
        let is_other = sector_bytes != old.sector_bytes;
        let other = || {
            shape(wanted)
                .or_else(|| shape(wanted * 2))
                .filter(|_| is_other)
        };
        found.or_else(other).ok_or_else(|| {
            Error::Refused(format!(
                "{} has no room in {size_bytes} bytes with sectors of {sector_bytes}",
                old.kind
            ))
        })
    }

    /// The size of the smallest volume that has the same clusters, sectors and kind, and room for `clusters`.
    ///
    /// # Errors
    /// [`Error::Refused`] where no shape has so many.
    pub(super) fn least(old: &Layout, clusters: u64) -> Result<u64> {
        let own = u64::from(old.clusters.count());
        let of_kind = match old.kind {
            Kind::Fat32 => FAT16_CLUSTERS_MAX + 1,
            Kind::Fat16 => FAT12_CLUSTERS_MAX + 1,
            _ => 1,
        };
        let clusters = clusters.max(of_kind.min(own));
        let per_cluster = u64::from(old.clusters.size_bytes()) / old.sector_bytes;
        let has_room = |total_sectors: u64| {
            let cluster_bytes = old.clusters.size_bytes().into();
            let shape = Self::with(old, old.sector_bytes, cluster_bytes, total_sectors);
            shape.is_some_and(|it| u64::from(it.clusters.count()) >= clusters)
        };
        // Every cluster more takes its sectors, and now and then one of the FATs.
        let (mut low, mut high) = (clusters * per_cluster, old.size_bytes / old.sector_bytes);
        if !has_room(high) {
            return Ok(old.size_bytes);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match has_room(middle) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        Ok(high * old.sector_bytes)
    }

    fn cluster_bytes(old: &Layout, sector_bytes: u64) -> u64 {
        let own = u64::from(old.clusters.size_bytes());
        own.clamp(sector_bytes, sector_bytes * CLUSTER_SECTORS_MAX)
    }

    /// Whether it is of the kind that it was.
    fn is_like(&self, old: &Layout) -> bool {
        let is_large = |count: u32| u64::from(count) > FAT16_CLUSTERS_MAX;
        self.kind == old.kind
            && (self.kind != Kind::Fat32
                || is_large(self.clusters.count())
                || !is_large(old.clusters.count()))
    }

    /// A shape with these clusters; `None` when there is no room for one, or there would be too many.
    fn with(
        old: &Layout,
        sector_bytes: u64,
        cluster_bytes: u64,
        total_sectors: u64,
    ) -> Option<Self> {
        let is_fat32 = old.root.is_none();
        let cluster_sectors = cluster_bytes / sector_bytes;
        let reserved_sectors = reserved_sectors(old, sector_bytes);
        let root = old.root.map_or(0, Extent::len_bytes);
        let root_bytes = root.next_multiple_of(sector_bytes);
        let fixed = reserved_sectors + root_bytes / sector_bytes;
        let fats = u64::from(old.fat_count);
        let is_same = old.sector_bytes == sector_bytes
            && u64::from(old.clusters.size_bytes()) == cluster_bytes
            && old.size_bytes == total_sectors * sector_bytes;
        // One that may be longer than its entries, so that clusters stay where they are.
        let mut fat_sectors = match is_same {
            true => old.fat_bytes / sector_bytes,
            false => 1,
        };
        // The FATs take room from the clusters that they have entries for.
        let (kind, count) = loop {
            let data = total_sectors.checked_sub(fixed + fats * fat_sectors)?;
            let count = data / cluster_sectors;
            let (kind, bits) = kind(is_fat32, count)?;
            let needed = ((count + ENTRIES_BEFORE) * bits).div_ceil(8 * sector_bytes);
            if needed <= fat_sectors {
                break (kind, count);
            }
            fat_sectors = needed;
        };
        let start_bytes = (fixed + fats * fat_sectors) * sector_bytes;
        let count = u32::try_from(count).ok()?;
        let clusters = Clusters::new(start_bytes, count, u32::try_from(cluster_bytes).ok()?)?;
        let is_sound = cluster_sectors.is_power_of_two()
            && cluster_sectors <= CLUSTER_SECTORS_MAX
            && u16::try_from(reserved_sectors).is_ok()
            && u32::try_from(total_sectors).is_ok()
            && root_bytes / ENTRY_BYTES <= u64::from(u16::MAX)
            && (is_fat32 || u16::try_from(fat_sectors).is_ok());
        is_sound.then_some(Self {
            kind,
            sector_bytes,
            cluster_sectors,
            reserved_sectors,
            fat_count: old.fat_count,
            fat_sectors,
            root_entries: root_bytes / ENTRY_BYTES,
            total_sectors,
            clusters,
        })
    }

    /// Where a copy of the FAT lies.
    pub(super) fn fat_offset_bytes(&self, copy: u8) -> u64 {
        (self.reserved_sectors + self.fat_sectors * u64::from(copy)) * self.sector_bytes
    }

    /// Where the root directory of FAT12 and FAT16 lies.
    pub(super) fn root_offset_bytes(&self) -> u64 {
        self.fat_offset_bytes(self.fat_count)
    }

    /// Where a cluster lies.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none of that number.
    pub(super) fn extent(&self, cluster: Cluster) -> Result<Extent> {
        let found = self.clusters.extent(cluster);
        found.ok_or_else(|| Error::Invalid(format!("a FAT has no cluster {cluster}")))
    }
}

fn reserved_sectors(old: &Layout, sector_bytes: u64) -> u64 {
    let own = old.fat_offset_bytes / old.sector_bytes;
    match own {
        ..=RESERVED_MOST => own,
        _ => old
            .fat_offset_bytes
            .div_ceil(sector_bytes)
            .max(RESERVED_MOST),
    }
}

/// The kind and the bits of an entry by the number of clusters; `None` for none, and for too many.
fn kind(is_fat32: bool, clusters: u64) -> Option<(Kind, u64)> {
    match clusters {
        0 => None,
        _ if is_fat32 => (clusters <= FAT32_CLUSTERS_MAX).then_some((Kind::Fat32, 32)),
        1..=FAT12_CLUSTERS_MAX => Some((Kind::Fat12, 12)),
        4085..=FAT16_CLUSTERS_MAX => Some((Kind::Fat16, 16)),
        _ => None,
    }
}
