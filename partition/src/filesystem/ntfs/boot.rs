//! The boot sector (`$Boot`, NTFS_BOOT_SECTOR) and the geometry that follows from it.

use crate::bytes::{is_zero, le16, le32, le64, u8_at};
use crate::error::Corrupt;
use crate::extent::Extent;

/// What is read of the first sector, whatever the sector size.
pub(super) const SECTOR_BYTES: usize = 512;

/// The smallest unit of a file record: update sequence numbers stand at the end of each.
pub(super) const BLOCK_BYTES: usize = 512;

const CLUSTER_BYTES_MAX: u64 = 2 << 20;
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Sizes and places that everything else is checked against.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub(super) cluster_bytes: u64,
    /// Whole clusters; `$Bitmap` has one bit for each.
    pub(super) clusters: u64,
    /// Size of a file record, a power of two from 512 to 65536.
    pub(super) record_bytes: usize,
    /// Size of an index block, a power of two from 512 to 65536.
    pub(super) index_bytes: usize,
    pub(super) mft_lcn: u64,
    pub(super) mirror_lcn: u64,
    /// End of the backup boot sector, the last that belongs to the filesystem.
    pub(super) size_bytes: u64,
}

impl Geometry {
    /// The bytes of `count` clusters from `lcn` on.
    pub(super) const fn clusters_extent(&self, lcn: u64, count: u64) -> Option<Extent> {
        let start_bytes = lcn.checked_mul(self.cluster_bytes);
        let len_bytes = count.checked_mul(self.cluster_bytes);
        match (start_bytes, len_bytes) {
            (Some(start_bytes), Some(len_bytes)) => Extent::new(start_bytes, len_bytes),
            _ => None,
        }
    }

    /// End of the last whole cluster.
    pub(super) const fn clusters_end_bytes(&self) -> u64 {
        self.clusters.saturating_mul(self.cluster_bytes)
    }
}

/// The serial number as `blkid` prints it.
pub(super) fn serial(sector: &[u8]) -> String {
    format!("{:016X}", le64(sector, 0x48))
}

/// Whether the fields that need no arithmetic are those of an NTFS volume: of a FAT's parameter
/// block nothing but the two sizes is left.
pub(super) fn is_plausible(sector: &[u8]) -> bool {
    sector.get(3..11) == Some(&b"NTFS    "[..])
        && matches!(le16(sector, 0x0b), 256 | 512 | 1024 | 2048 | 4096)
        && cluster_sectors(sector).is_some()
        && le16(sector, 0x0e) == 0
        && sector.get(0x10..0x15).is_some_and(is_zero)
        && le16(sector, 0x16) == 0
        && le64(sector, 0x28) != 0
}

/// Sectors per cluster: a power of two, or beyond 128 a negative exponent of one.
fn cluster_sectors(sector: &[u8]) -> Option<u64> {
    match u8_at(sector, 0x0d) {
        negative @ 0xf4..=0xff => Some(1 << (256 - u32::from(negative))),
        count => Some(u64::from(count)).filter(|count| count.is_power_of_two()),
    }
}

/// The cluster size as the boot sector has it; 0 when it has none.
pub(super) fn cluster_size_bytes(sector: &[u8]) -> u32 {
    let bytes = cluster_sectors(sector).map(|count| count * u64::from(le16(sector, 0x0b)));
    bytes
        .and_then(|bytes| u32::try_from(bytes).ok())
        .unwrap_or(0)
}

/// Validates a plausible boot sector against a volume of `volume_bytes`.
pub(super) fn parse(sector: &[u8], volume_bytes: u64) -> Result<Geometry, Corrupt> {
    let sector_bytes = u64::from(le16(sector, 0x0b));
    if !matches!(sector_bytes, 512 | 1024 | 2048 | 4096) {
        return Err(bad("bytes_per_sector", "512 to 4096", sector_bytes));
    }
    let cluster_sectors = cluster_sectors(sector).unwrap_or(0);
    let cluster_bytes = cluster_sectors.saturating_mul(sector_bytes);
    if !(1..=CLUSTER_BYTES_MAX).contains(&cluster_bytes) {
        let expected = format!("a cluster of at most {CLUSTER_BYTES_MAX} bytes");
        return Err(bad("sectors_per_cluster", expected, cluster_bytes));
    }
    // One more, after the last that is counted, is the backup of the boot sector.
    let sectors = le64(sector, 0x28);
    let sectors_max = (volume_bytes / sector_bytes).saturating_sub(1);
    if sectors > sectors_max {
        let expected = format!("at most {sectors_max}, the volume's size without the last");
        return Err(bad("number_of_sectors", expected, sectors));
    }
    let clusters = sectors / cluster_sectors.max(1);
    let lcn = |field, offset: usize| {
        let lcn = le64(sector, offset);
        let expected = || format!("a cluster from 1 to {}", clusters.saturating_sub(1));
        let is_inside = (1..clusters).contains(&lcn);
        if is_inside {
            Ok(lcn)
        } else {
            Err(bad(field, expected(), lcn))
        }
    };
    check_zeroes(sector)?;
    Ok(Geometry {
        cluster_bytes,
        clusters,
        record_bytes: size(sector, 0x40, "clusters_per_mft_record", cluster_bytes)?,
        index_bytes: size(sector, 0x44, "clusters_per_index_record", cluster_bytes)?,
        mft_lcn: lcn("mft_lcn", 0x30)?,
        mirror_lcn: lcn("mftmirr_lcn", 0x38)?,
        size_bytes: sectors.saturating_add(1).saturating_mul(sector_bytes),
    })
}

fn check_zeroes(sector: &[u8]) -> Result<(), Corrupt> {
    // Numbers of sectors that a FAT has here.
    let large_sectors = le32(sector, 0x20);
    if large_sectors != 0 {
        return Err(bad("large_sectors", 0, large_sectors.into()));
    }
    Ok(())
}

/// The size of a file record or index block: clusters, or if negative an exponent of two.
fn size(
    sector: &[u8],
    offset: usize,
    field: &'static str,
    cluster_bytes: u64,
) -> Result<usize, Corrupt> {
    let value = u8_at(sector, offset);
    let bytes = match value.cast_signed() {
        count @ 1.. => u64::from(count.unsigned_abs()).saturating_mul(cluster_bytes),
        exponent => 1_u64
            .checked_shl(exponent.unsigned_abs().into())
            .unwrap_or(0),
    };
    let is_sound =
        bytes.is_power_of_two() && (BLOCK_BYTES as u64..=RECORD_BYTES_MAX).contains(&bytes);
    let expected = format!("a power of two from {BLOCK_BYTES} to {RECORD_BYTES_MAX} bytes");
    usize::try_from(bytes)
        .ok()
        .filter(|_| is_sound)
        .ok_or_else(|| bad(field, expected, value.into()))
}

fn bad(field: &'static str, expected: impl std::fmt::Display, found: u64) -> Corrupt {
    Corrupt::new("NTFS boot sector", field, 0, expected, found)
}
