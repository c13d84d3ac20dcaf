//! The main boot region: its sector of parameters and its checksum (sections 3.1 and 3.4).
//!
//! The backup boot region is copied with it and read by no driver that mounts the volume: whether
//! it is valid says nothing of which bytes are free.

use super::layout::Layout;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};

/// What is read of the first sector, whatever the sector size.
pub(super) const SECTOR_BYTES: usize = 512;

/// Boot sector, eight extended ones, OEM parameters, one reserved and the checksum.
pub(in crate::filesystem) const REGION_SECTORS: usize = 12;
/// Main and backup boot region.
const REGIONS_SECTORS: u64 = 24;

/// Whether this is the boot sector of an exFAT volume, sound or not: FileSystemName, and
/// MustBeZero where FAT has its parameters.
pub(super) fn is_plausible(sector: &[u8]) -> bool {
    sector.get(3..11) == Some(&b"EXFAT   "[..])
        && sector.get(11..64).is_some_and(crate::bytes::is_zero)
}

/// VolumeSerialNumber as `XXXX-XXXX`.
pub(super) fn serial(sector: &[u8]) -> String {
    let serial = le32(sector, 100);
    format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
}

/// VolumeFlags.
pub(super) fn volume_flags(sector: &[u8]) -> u16 {
    le16(sector, 106)
}

/// Fields of the boot sector with the checks they must pass.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn check(
        &self,
        is_sound: bool,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        if is_sound {
            return Ok(());
        }
        Err(Corrupt::new("exFAT boot sector", field, 0, expected, found).into())
    }

    /// BytesPerSectorShift and SectorsPerClusterShift.
    fn shifts(&self) -> Result<(u8, u8)> {
        let (sector, cluster) = (u8_at(self.0, 108), u8_at(self.0, 109));
        let is_sector = (9..=12).contains(&sector);
        self.check(is_sector, "BytesPerSectorShift", "9 to 12", sector)?;
        let most = 25_u8.saturating_sub(sector);
        let expected = format!("at most {most}");
        self.check(cluster <= most, "SectorsPerClusterShift", expected, cluster)?;
        Ok((sector, cluster))
    }

    /// NumberOfFats and which of them is active.
    fn fats(&self) -> Result<(u8, u8)> {
        let count = u8_at(self.0, 110);
        self.check(matches!(count, 1 | 2), "NumberOfFats", "1 or 2", count)?;
        let active = (volume_flags(self.0) & 1) as u8;
        let expected = "0, there is one FAT";
        self.check(active < count, "ActiveFat", expected, active)?;
        Ok((count, active))
    }

    fn layout(&self, volume_bytes: u64) -> Result<Layout> {
        let sector = self.0;
        let signature = le16(sector, 510);
        let found = format!("{signature:#06x}");
        self.check(signature == 0xaa55, "BootSignature", "0xaa55", found)?;
        let (sector_shift, cluster_shift) = self.shifts()?;
        let (fat_count, active_fat) = self.fats()?;
        let bytes = |sectors: u64| sectors.checked_shl(u32::from(sector_shift));
        let volume_sectors = le64(sector, 72);
        let sectors_max = volume_bytes >> sector_shift;
        let is_sound = volume_sectors != 0 && volume_sectors <= sectors_max;
        let expected = format!("1 to {sectors_max}, the volume's sectors");
        self.check(is_sound, "VolumeLength", expected, volume_sectors)?;
        let layout = Layout {
            cluster_size_bytes: 1 << (sector_shift + cluster_shift),
            // All of these have at most 32 + 12 bits.
            fat_offset_bytes: bytes(u64::from(le32(sector, 80))).unwrap_or(0),
            fat_bytes: bytes(u64::from(le32(sector, 84))).unwrap_or(0),
            fat_count,
            active_fat,
            heap_offset_bytes: bytes(u64::from(le32(sector, 88))).unwrap_or(0),
            cluster_count: le32(sector, 92),
            root_cluster: le32(sector, 96),
            // Not longer than the volume.
            size_bytes: bytes(volume_sectors).unwrap_or(0),
        };
        self.places(&layout, REGIONS_SECTORS << sector_shift)?;
        Ok(layout)
    }

    /// That the parts follow each other and fit the volume.
    fn places(&self, layout: &Layout, regions_bytes: u64) -> Result<()> {
        let fat_bytes = layout.fat_offset_bytes;
        let expected = format!("at least byte {regions_bytes:#x}, after the boot regions");
        let found = format!("byte {fat_bytes:#x}");
        self.check(fat_bytes >= regions_bytes, "FatOffset", expected, found)?;
        // FatEntry[ClusterCount + 1] is FFFFFFF6h at most.
        let count = layout.cluster_count;
        let is_sound = (1..=0xffff_fff5).contains(&count);
        self.check(is_sound, "ClusterCount", "1 to 0xfffffff5", count)?;
        let needed_bytes = u64::from(count).saturating_add(2).saturating_mul(4);
        let is_sound = layout.fat_bytes >= needed_bytes;
        let expected = format!("at least {needed_bytes} bytes for {count} clusters");
        let found = format!("{} bytes", layout.fat_bytes);
        self.check(is_sound, "FatLength", expected, found)?;
        let fats_bytes = layout.fat_bytes.saturating_mul(layout.fat_count.into());
        let fats_end_bytes = fat_bytes.saturating_add(fats_bytes);
        let heap_bytes = layout.heap_offset_bytes;
        let is_sound = heap_bytes >= fats_end_bytes;
        let expected = format!("at least byte {fats_end_bytes:#x}, after the FATs");
        let found = format!("byte {heap_bytes:#x}");
        self.check(is_sound, "ClusterHeapOffset", expected, found)?;
        let heap_end_bytes = layout.heap_end_bytes();
        let is_sound = heap_end_bytes <= layout.size_bytes;
        let expected = format!("clusters up to byte {:#x}", layout.size_bytes);
        let found = format!("{count} clusters up to byte {heap_end_bytes:#x}");
        self.check(is_sound, "ClusterCount", expected, found)?;
        let root = layout.root_cluster;
        let is_sound = layout.clusters(root, 1).is_some();
        let expected = format!("a cluster from 2 to {}", count.saturating_add(1));
        self.check(is_sound, "FirstClusterOfRootDirectory", expected, root)
    }
}

/// Validates the boot sector against a volume of `volume_bytes`.
///
/// # Errors
/// [`Error::Corrupt`] naming the field that can't be.
pub(super) fn layout(sector: &[u8], volume_bytes: u64) -> Result<Layout> {
    Fields(sector).layout(volume_bytes)
}

/// Verifies the checksum of the main boot region. (A wrong signature of an extended boot sector
/// tells only that the boot code in it must not be run.)
///
/// # Errors
/// [`Error::Corrupt`] when it is not right; [`Error::Unsupported`] for a revision of the
/// format that is not 1.00.
pub(super) fn verify(device: &dyn ReadAt, sector: &[u8]) -> Result<()> {
    let (sector_shift, _) = Fields(sector).shifts()?;
    let sector_bytes = 1_usize << sector_shift;
    let region_bytes = REGION_SECTORS << sector_shift;
    let size_bytes = device.geometry().size_bytes;
    if region_bytes as u64 > size_bytes {
        let found = format!("{size_bytes} bytes");
        return Err(Corrupt::new("exFAT boot region", "size", 0, region_bytes, found).into());
    }
    let region = read_vec(device, 0, region_bytes)?;
    let (covered, stored) = region
        .split_at_checked(region_bytes.saturating_sub(sector_bytes))
        .unwrap_or_default();
    let sum = checksum(covered);
    if let Some(index) = (0..sector_bytes / 4).find(|index| le32(stored, index * 4) != sum) {
        let offset_bytes = covered.len().saturating_add(index * 4) as u64;
        let found = format!("{:#010x}", le32(stored, index * 4));
        let expected = format!("{sum:#010x}");
        let field = "Boot Checksum";
        return Err(Corrupt::new("exFAT boot region", field, offset_bytes, expected, found).into());
    }
    revision(sector)
}

fn revision(sector: &[u8]) -> Result<()> {
    let (minor, major) = (u8_at(sector, 104), u8_at(sector, 105));
    if (major, minor) == (1, 0) {
        return Ok(());
    }
    Err(Error::unsupported(
        format!("exFAT revision {major}.{minor:02}"),
        "klon knows 1.00",
    ))
}

/// BootChecksum (section 3.4) of sectors 0 to 10, without VolumeFlags and PercentInUse, which
/// change while the volume is in use.
pub(in crate::filesystem) fn checksum(sectors: &[u8]) -> u32 {
    let sum = |sum: u32, byte: &u8| sum.rotate_right(1).wrapping_add(u32::from(*byte));
    let ends = [(0, 106), (108, 112), (113, sectors.len())];
    let parts = ends
        .iter()
        .filter_map(|&(start, end)| sectors.get(start..end));
    parts.flatten().fold(0, sum)
}
