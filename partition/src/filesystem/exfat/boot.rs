//! The main boot region: its sector of parameters and its checksum (sections 3.1 and 3.4).
//!
//! The backup boot region is copied with it and read by no driver that mounts the volume: whether
//! it is valid says nothing of which bytes are free.

use super::layout::Layout;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::chain::Table as _;
use crate::filesystem::cluster::{Cluster, Clusters};

const STRUCTURE: &str = "exFAT boot sector";
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
    let volume_serial_number = le32(sector, 100);
    let (high, low) = (volume_serial_number >> 16, volume_serial_number & 0xffff);
    format!("{high:04X}-{low:04X}")
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
        Err(Corrupt::new(STRUCTURE, field, 0, expected, found).into())
    }

    fn shifts(&self) -> Result<Shifts> {
        let (bytes_per_sector_shift, sectors_per_cluster_shift) =
            (u8_at(self.0, 108), u8_at(self.0, 109));
        let shift = bytes_per_sector_shift;
        let is_sector = (9..=12).contains(&shift);
        self.check(is_sector, "BytesPerSectorShift", "9 to 12", shift)?;
        let most = 25 - bytes_per_sector_shift;
        let shift = sectors_per_cluster_shift;
        let expected = format!("at most {most}");
        self.check(shift <= most, "SectorsPerClusterShift", expected, shift)?;
        Ok(Shifts {
            sector: bytes_per_sector_shift,
            cluster: bytes_per_sector_shift + sectors_per_cluster_shift,
        })
    }

    fn fats(&self) -> Result<Fats> {
        let number_of_fats = u8_at(self.0, 110);
        let active_fat = (volume_flags(self.0) & 1) as u8;
        let is_count = matches!(number_of_fats, 1 | 2);
        self.check(is_count, "NumberOfFats", "1 or 2", number_of_fats)?;
        let is_there = active_fat < number_of_fats;
        self.check(is_there, "ActiveFat", "0, there is one FAT", active_fat)?;
        Ok(Fats {
            count: number_of_fats,
            active: active_fat,
        })
    }

    fn layout(&self, volume_bytes: u64) -> Result<Layout> {
        let (volume_length, fat_offset) = (le64(self.0, 72), le32(self.0, 80));
        let fat_length = le32(self.0, 84);
        let first_cluster_of_root_directory = Cluster(le32(self.0, 96));
        let boot_signature = le16(self.0, 510);
        let found = format!("{boot_signature:#06x}");
        self.check(boot_signature == 0xaa55, "BootSignature", "0xaa55", found)?;
        let shifts = self.shifts()?;
        let fats = self.fats()?;
        let sectors_max = volume_bytes >> shifts.sector;
        let is_sound = (1..=sectors_max).contains(&volume_length);
        let expected = format!("1 to {sectors_max}, the volume's sectors");
        self.check(is_sound, "VolumeLength", expected, volume_length)?;
        let fat_offset_bytes = shifts.bytes(fat_offset);
        let regions_bytes = REGIONS_SECTORS << shifts.sector;
        let expected = format!("at least byte {regions_bytes:#x}, after the boot regions");
        let found = format!("byte {fat_offset_bytes:#x}");
        let is_after = fat_offset_bytes >= regions_bytes;
        self.check(is_after, "FatOffset", expected, found)?;
        let layout = Layout {
            fat_offset_bytes,
            fat_bytes: shifts.bytes(fat_length),
            fat_count: fats.count,
            active_fat: fats.active,
            heap: self.heap(shifts)?,
            root_cluster: first_cluster_of_root_directory,
            // Not longer than the volume.
            size_bytes: volume_length << shifts.sector,
        };
        self.places(&layout)?;
        Ok(layout)
    }

    /// The cluster heap, which need not be on the volume.
    fn heap(&self, shifts: Shifts) -> Result<Clusters> {
        let (cluster_heap_offset, cluster_count) = (le32(self.0, 88), le32(self.0, 92));
        // FatEntry[ClusterCount + 1] is FFFFFFF6h at most.
        let is_sound = (1..=0xffff_fff5).contains(&cluster_count);
        let expected = "1 to 0xfffffff5";
        self.check(is_sound, "ClusterCount", expected, cluster_count)?;
        let offset_bytes = shifts.bytes(cluster_heap_offset);
        let heap = Clusters::new(offset_bytes, cluster_count, 1 << shifts.cluster);
        let too_many = || Corrupt::new(STRUCTURE, "ClusterCount", 0, "fewer", cluster_count).into();
        heap.ok_or_else(too_many)
    }

    /// That the parts follow each other and fit the volume.
    fn places(&self, layout: &Layout) -> Result<()> {
        let (heap, count) = (&layout.heap, layout.heap.count());
        let needed_bytes = layout.entries_bytes();
        let is_sound = layout.fat_bytes >= needed_bytes;
        let expected = format!("at least {needed_bytes} bytes for {count} clusters");
        let found = format!("{} bytes", layout.fat_bytes);
        self.check(is_sound, "FatLength", expected, found)?;
        let fats_end_bytes = layout.fat_copy_offset_bytes(layout.fat_count);
        let heap_bytes = heap.offset_bytes();
        let is_sound = heap_bytes >= fats_end_bytes;
        let expected = format!("at least byte {fats_end_bytes:#x}, after the FATs");
        let found = format!("byte {heap_bytes:#x}");
        self.check(is_sound, "ClusterHeapOffset", expected, found)?;
        let heap_end_bytes = heap.end_bytes();
        let is_sound = heap_end_bytes <= layout.size_bytes;
        let expected = format!("clusters up to byte {:#x}", layout.size_bytes);
        let found = format!("{count} clusters up to byte {heap_end_bytes:#x}");
        self.check(is_sound, "ClusterCount", expected, found)?;
        let root = layout.root_cluster;
        let expected = format!("a cluster from 2 to {}", heap.end().0 - 1);
        let field = "FirstClusterOfRootDirectory";
        self.check(heap.has(root), field, expected, root)
    }
}

/// The FATs of a volume.
struct Fats {
    /// NumberOfFats.
    count: u8,
    /// Which of them is active.
    active: u8,
}

/// Sizes of sectors and clusters, as powers of two.
#[derive(Clone, Copy)]
struct Shifts {
    /// 9 to 12.
    sector: u8,
    /// 9 to 25.
    cluster: u8,
}

impl Shifts {
    /// Bytes of a 32-bit number of sectors: below 2^44.
    fn bytes(self, sectors: u32) -> u64 {
        u64::from(sectors) << self.sector
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
    let sector_shift = Fields(sector).shifts()?.sector;
    let sector_bytes = 1_usize << sector_shift;
    let region_bytes = REGION_SECTORS << sector_shift;
    let size_bytes = device.geometry().size_bytes;
    if region_bytes as u64 > size_bytes {
        let found = format!("{size_bytes} bytes");
        return Err(Corrupt::new("exFAT boot region", "size", 0, region_bytes, found).into());
    }
    let region = read_vec(device, 0, region_bytes)?;
    let (covered, stored) = region.split_at(region_bytes - sector_bytes);
    let sum = checksum(covered);
    if let Some(index) = (0..sector_bytes / 4).find(|index| le32(stored, index * 4) != sum) {
        let offset_bytes = (covered.len() + index * 4) as u64;
        let found = format!("{:#010x}", le32(stored, index * 4));
        let expected = format!("{sum:#010x}");
        let field = "Boot Checksum";
        return Err(Corrupt::new("exFAT boot region", field, offset_bytes, expected, found).into());
    }
    revision(sector)
}

fn revision(sector: &[u8]) -> Result<()> {
    // FileSystemRevision
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
