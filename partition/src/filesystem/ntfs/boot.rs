//! The boot sector (`$Boot`, `NTFS_BOOT_SECTOR`) and the geometry that follows from it.
//!
//! Linux-NTFS documentation, "$Boot": <https://flatcap.github.io/linux-ntfs/ntfs/files/boot.html>.

use super::address::Lcn;
use crate::bytes::{is_zero, le16, le32, le64, u8_at};
use crate::error::{Checked, Corrupt};

/// What is read of the first sector, whatever the sector size.
pub(super) const SECTOR_BYTES: usize = 512;

/// The smallest unit of a file record. An update sequence number stands at the end of each.
pub(super) const BLOCK_BYTES: usize = 512;

const CLUSTER_BYTES_MAX: u64 = 2 << 20;
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Sizes and places that everything else is checked against.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// The sector that it was made for: 512 to 4096 bytes.
    pub(super) sector_bytes: u64,
    /// A power of two of at most 2 MiB.
    pub(super) cluster_bytes: u64,
    /// Whole clusters; `$Bitmap` has one bit for each.
    pub(super) clusters: u64,
    /// Size of a file record, a power of two from 512 to 65536.
    pub(super) record_bytes: usize,
    /// Size of an index block, a power of two from 512 to 65536.
    pub(super) index_bytes: usize,
    /// Where the master file table begins.
    pub(super) mft_lcn: Lcn,
    /// Where the copy of its first records begins.
    pub(super) mirror_lcn: Lcn,
    /// End of the backup boot sector, the last that belongs to the filesystem.
    pub(super) size_bytes: u64,
}

/// The serial number as `blkid` prints it.
pub(super) fn serial(sector: &[u8]) -> String {
    format!("{:016X}", le64(sector, 0x48))
}

/// Whether the fields that need no arithmetic are those of an NTFS volume. Of the parameter block of
/// a FAT, only the two sizes are left.
pub(super) fn is_plausible(sector: &[u8]) -> bool {
    let oem_id = sector.get(0x03..0x0b);
    let bytes_per_sector = le16(sector, 0x0b);
    let reserved_sectors = le16(sector, 0x0e);
    let fats_to_sectors = sector.get(0x10..0x15);
    let sectors_per_fat = le16(sector, 0x16);
    let number_of_sectors = le64(sector, 0x28);
    oem_id == Some(&b"NTFS    "[..])
        && matches!(bytes_per_sector, 256 | 512 | 1024 | 2048 | 4096)
        && cluster_sectors(sector).is_some()
        && reserved_sectors == 0
        && fats_to_sectors.is_some_and(is_zero)
        && sectors_per_fat == 0
        && number_of_sectors != 0
}

/// Sectors per cluster: a power of two, or beyond 128 a negative exponent of one.
fn cluster_sectors(sector: &[u8]) -> Option<u64> {
    let sectors_per_cluster = u8_at(sector, 0x0d);
    match sectors_per_cluster {
        negative @ 0xf4..=0xff => Some(1 << (256 - u32::from(negative))),
        count => Some(u64::from(count)).filter(|count| count.is_power_of_two()),
    }
}

/// The cluster size as the boot sector has it; 0 when it has none.
pub(super) fn cluster_size_bytes(sector: &[u8]) -> u32 {
    let bytes_per_sector = u64::from(le16(sector, 0x0b));
    let bytes = cluster_sectors(sector).map(|count| count * bytes_per_sector);
    bytes
        .and_then(|bytes| u32::try_from(bytes).ok())
        .unwrap_or(0)
}

/// Validates a plausible boot sector against a volume of `volume_bytes`.
pub(super) fn parse(sector: &[u8], volume_bytes: u64) -> Checked<Geometry> {
    let bytes_per_sector = u64::from(le16(sector, 0x0b));
    let number_of_sectors = le64(sector, 0x28);
    let mft_lcn = le64(sector, 0x30);
    let mftmirr_lcn = le64(sector, 0x38);
    if !matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096) {
        return Err(bad("bytes_per_sector", "512 to 4096", bytes_per_sector));
    }
    // A plausible sector has a size of clusters, which is at most 2^12 sectors.
    let cluster_sectors = cluster_sectors(sector).unwrap_or(1);
    let cluster_bytes = cluster_sectors * bytes_per_sector;
    if cluster_bytes > CLUSTER_BYTES_MAX {
        let expected = format!("a cluster of at most {CLUSTER_BYTES_MAX} bytes");
        return Err(bad("sectors_per_cluster", expected, cluster_bytes));
    }
    // One more, after the last that is counted, is the backup of the boot sector.
    let sectors_max = (volume_bytes / bytes_per_sector).saturating_sub(1);
    if number_of_sectors > sectors_max {
        let expected = format!("at most {sectors_max}, the volume's size without the last");
        return Err(bad("number_of_sectors", expected, number_of_sectors));
    }
    let clusters = number_of_sectors / cluster_sectors;
    let inside = |field, lcn: u64| {
        if (1..clusters).contains(&lcn) {
            return Ok(Lcn(lcn));
        }
        let expected = format!("a cluster from 1 to {}", clusters.saturating_sub(1));
        Err(bad(field, expected, lcn))
    };
    check_zeroes(sector)?;
    Ok(Geometry {
        sector_bytes: bytes_per_sector,
        cluster_bytes,
        clusters,
        record_bytes: size(sector, 0x40, "clusters_per_mft_record", cluster_bytes)?,
        index_bytes: size(sector, 0x44, "clusters_per_index_record", cluster_bytes)?,
        mft_lcn: inside("mft_lcn", mft_lcn)?,
        mirror_lcn: inside("mftmirr_lcn", mftmirr_lcn)?,
        // At most the volume's size, by the check above.
        size_bytes: (number_of_sectors + 1) * bytes_per_sector,
    })
}

fn check_zeroes(sector: &[u8]) -> Checked {
    // A FAT has its number of sectors here.
    let large_sectors = le32(sector, 0x20);
    if large_sectors != 0 {
        return Err(bad("large_sectors", 0, large_sectors.into()));
    }
    Ok(())
}

/// The size of a file record or index block: clusters, or if negative an exponent of two.
fn size(sector: &[u8], offset: usize, field: &'static str, cluster_bytes: u64) -> Checked<usize> {
    let value = u8_at(sector, offset);
    let bytes = match value.cast_signed() {
        count @ 1.. => u64::from(count.unsigned_abs()) * cluster_bytes,
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
