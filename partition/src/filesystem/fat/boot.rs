//! The boot sector and the BIOS parameter block in it (fatgen103, "Boot Sector and BPB").

use super::layout::Layout;
use crate::bytes::{le16, le32, text, u8_at};
use crate::error::Corrupt;
use crate::extent::Extent;
use crate::filesystem::Kind;

/// What is read of the first sector, whatever the sector size.
pub(super) const SECTOR_BYTES: usize = 512;

/// What the first sector turned out to be.
pub(super) enum Parsed {
    /// Something else.
    NotFat,
    /// A FAT boot sector with a field that can't be.
    Damaged(Kind, Corrupt),
    /// A FAT volume.
    Valid(Layout),
}

/// What the extended part of the boot sector says, when it is there.
pub(super) struct Identity {
    /// BS_VolID as `XXXX-XXXX`.
    pub(super) serial: Option<String>,
    /// BS_VolLab, unless it is the placeholder.
    pub(super) label: Option<String>,
    /// BS_Reserved1, in which NT and Linux keep bit 0 "dirty" and bit 1 "errors".
    pub(super) state: u8,
}

/// Reads BS_VolID, BS_VolLab and BS_Reserved1 of a boot sector.
pub(super) fn identity(sector: &[u8]) -> Identity {
    // BS_DrvNum: the extended part moved when FAT32's fields came before it.
    let base = if is_fat32_layout(sector) { 0x40 } else { 0x24 };
    // BS_BootSig: 0x29, or 0x28 when only the serial follows.
    let signature = u8_at(sector, base + 2);
    if !matches!(signature, 0x28 | 0x29) {
        return Identity {
            serial: None,
            label: None,
            state: 0,
        };
    }
    let serial = le32(sector, base + 3);
    let label = sector
        .get(base + 7..base + 18)
        .filter(|label| signature == 0x29 && *label != b"NO NAME    ");
    Identity {
        serial: Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)),
        label: label.and_then(text),
        state: u8_at(sector, base + 1),
    }
}

fn is_fat32_layout(sector: &[u8]) -> bool {
    // BPB_FATSz16 is 0 on FAT32 and only there.
    le16(sector, 0x16) == 0
}

/// Validates a boot sector against a volume of `size_bytes`.
pub(super) fn parse(sector: &[u8], size_bytes: u64) -> Parsed {
    if !is_plausible(sector) {
        return Parsed::NotFat;
    }
    match layout(sector, size_bytes) {
        Ok(layout) => Parsed::Valid(layout),
        // Old floppies carry neither mark; then only a boot sector without a fault counts.
        Err(_) if !is_marked(sector) => Parsed::NotFat,
        Err(corrupt) => {
            let kind = if is_fat32_layout(sector) {
                Kind::Fat32
            } else {
                Kind::Fat16
            };
            Parsed::Damaged(kind, corrupt)
        }
    }
}

/// Whether the fields that need no arithmetic are those of a FAT volume.
///
/// NTFS and exFAT have no reserved sectors and no FATs here, and a master boot record has code.
fn is_plausible(sector: &[u8]) -> bool {
    let oem_name = sector.get(3..11).unwrap_or_default();
    let is_other = matches!(oem_name, b"NTFS    " | b"EXFAT   " | b"-FVE-FS-");
    // OS/2 writes a boot sector with a BPB in front of these.
    let kind = sector.get(0x36..0x3e).unwrap_or_default();
    let is_os2 = matches!(kind, b"JFS     " | b"HPFS    ");
    let cluster_sectors = u8_at(sector, 0x0d);
    let media = u8_at(sector, 0x15);
    !is_other
        && !is_os2
        && !is_bitlocker_to_go(sector)
        && matches!(u8_at(sector, 0), 0xe9 | 0xeb)
        && matches!(le16(sector, 0x0b), 512 | 1024 | 2048 | 4096)
        && cluster_sectors.is_power_of_two()
        && le16(sector, 0x0e) != 0
        && matches!(u8_at(sector, 0x10), 1..=4)
        && (media == 0xf0 || media >= 0xf8)
}

/// BitLocker To Go shows old systems a FAT32 volume whose free clusters hold the encrypted data.
pub(in crate::filesystem) fn is_bitlocker_to_go(sector: &[u8]) -> bool {
    const GUID: [u8; 16] = [
        0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0,
        0x01,
    ];
    sector.get(424..440) == Some(&GUID[..])
}

fn is_marked(sector: &[u8]) -> bool {
    le16(sector, 0x1fe) == 0xaa55
        || sector.get(0x36..0x39) == Some(&b"FAT"[..])
        || sector.get(0x52..0x55) == Some(&b"FAT"[..])
}

/// Sector counts of the parts of the volume.
struct Sectors {
    reserved: u64,
    fat: u64,
    root: u64,
    total: u64,
}

impl Sectors {
    fn read(sector: &[u8]) -> Self {
        let pick = |short: u16, long: u32| {
            if short == 0 {
                u64::from(long)
            } else {
                u64::from(short)
            }
        };
        let sector_bytes = u64::from(le16(sector, 0x0b)).max(1);
        let root_bytes = u64::from(le16(sector, 0x11)) * 32;
        Self {
            reserved: u64::from(le16(sector, 0x0e)),
            // BPB_FATSz16, BPB_FATSz32
            fat: pick(le16(sector, 0x16), le32(sector, 0x24)),
            root: root_bytes.div_ceil(sector_bytes),
            // BPB_TotSec16, BPB_TotSec32
            total: pick(le16(sector, 0x13), le32(sector, 0x20)),
        }
    }
}

fn layout(sector: &[u8], size_bytes: u64) -> Result<Layout, Corrupt> {
    let is_fat32 = is_fat32_layout(sector);
    let sectors = Sectors::read(sector);
    let fat_count = u8_at(sector, 0x10);
    let cluster_sectors = u64::from(u8_at(sector, 0x0d)).max(1);
    let sector_bytes = u64::from(le16(sector, 0x0b));
    check_sizes(sector, &sectors, size_bytes)?;
    // Counts below 2^32 and at most 4 copies: none of this overflows 64 bits.
    let root_start = sectors.reserved + u64::from(fat_count) * sectors.fat;
    let data_start = root_start + sectors.root;
    let data = sectors.total.checked_sub(data_start).ok_or_else(|| {
        let expected = format!("more than the {data_start} sectors of reserved area and FATs");
        bpb("BPB_TotSec32", expected, sectors.total)
    })?;
    let (kind, cluster_count) = kind(is_fat32, data / cluster_sectors)?;
    let ext_flags = if is_fat32 { le16(sector, 0x28) } else { 0 };
    let is_mirrored = ext_flags & 0x80 == 0;
    let layout = Layout {
        kind,
        sector_bytes,
        cluster_size_bytes: u32::from(u8_at(sector, 0x0d)) * u32::from(le16(sector, 0x0b)),
        media: u8_at(sector, 0x15),
        fat_offset_bytes: sectors.reserved * sector_bytes,
        fat_bytes: sectors.fat * sector_bytes,
        fat_count,
        is_mirrored,
        active_fat: if is_mirrored {
            0
        } else {
            (ext_flags & 0x0f) as u8
        },
        root: Extent::new(root_start * sector_bytes, sectors.root * sector_bytes),
        root_cluster: if is_fat32 { le32(sector, 0x2c) } else { 0 },
        fsinfo_offset_bytes: fsinfo_offset_bytes(sector, is_fat32),
        data_offset_bytes: data_start * sector_bytes,
        cluster_count,
        size_bytes: sectors.total * sector_bytes,
    };
    check_fat(&layout)?;
    check_root(&layout)?;
    Ok(layout)
}

fn bpb(field: &'static str, expected: impl std::fmt::Display, found: u64) -> Corrupt {
    Corrupt::new("FAT boot sector", field, 0, expected, found)
}

fn check_sizes(sector: &[u8], sectors: &Sectors, size_bytes: u64) -> Result<(), Corrupt> {
    let sectors_max = size_bytes / u64::from(le16(sector, 0x0b)).max(1);
    if sectors.total == 0 || sectors.total > sectors_max {
        let expected = format!("1 to {sectors_max}, the volume's size");
        return Err(bpb("BPB_TotSec32", expected, sectors.total));
    }
    if sectors.fat == 0 {
        return Err(bpb("BPB_FATSz32", "at least 1", 0));
    }
    let is_fat32 = is_fat32_layout(sector);
    let version = le16(sector, 0x2a);
    if is_fat32 && version != 0 {
        return Err(bpb("BPB_FSVer", 0, u64::from(version)));
    }
    if is_fat32 != (sectors.root == 0) {
        let expected = if is_fat32 { "0" } else { "at least 1" };
        let found = u64::from(le16(sector, 0x11));
        return Err(bpb("BPB_RootEntCnt", expected, found));
    }
    Ok(())
}

/// The type by its number of clusters. BPB_FATSz16 = 0 alone makes it FAT32, as drivers have it
/// that mount what `mkfs.fat -F 32` makes of a small volume.
fn kind(is_fat32: bool, clusters: u64) -> Result<(Kind, u32), Corrupt> {
    let (kind, clusters_max) = match clusters {
        _ if is_fat32 => (Kind::Fat32, 0x0fff_fff4),
        0..4085 => (Kind::Fat12, 4084),
        _ => (Kind::Fat16, 65_524),
    };
    match u32::try_from(clusters) {
        Ok(count) if (1..=clusters_max).contains(&count) => Ok((kind, count)),
        _ => {
            let expected = format!("1 to {clusters_max} for {kind}");
            Err(bpb("count of clusters", expected, clusters))
        }
    }
}

fn fsinfo_offset_bytes(sector: &[u8], is_fat32: bool) -> Option<u64> {
    let (fsinfo, reserved) = (le16(sector, 0x30), le16(sector, 0x0e));
    (is_fat32 && fsinfo != 0 && fsinfo < reserved)
        .then(|| u64::from(fsinfo) * u64::from(le16(sector, 0x0b)))
}

fn check_fat(layout: &Layout) -> Result<(), Corrupt> {
    if layout.entries_bytes() > layout.fat_bytes {
        let sectors_min = layout.entries_bytes().div_ceil(layout.sector_bytes);
        let expected = format!(
            "at least {sectors_min} for {} clusters",
            layout.cluster_count
        );
        let found = layout.fat_bytes / layout.sector_bytes;
        return Err(bpb("BPB_FATSz32", expected, found));
    }
    if layout.active_fat >= layout.fat_count {
        let expected = format!("an active FAT below {}", layout.fat_count);
        return Err(bpb("BPB_ExtFlags", expected, u64::from(layout.active_fat)));
    }
    Ok(())
}

fn check_root(layout: &Layout) -> Result<(), Corrupt> {
    if layout.kind == Kind::Fat32 && layout.cluster(layout.root_cluster).is_none() {
        let expected = format!("2 to {}", layout.clusters_end() - 1);
        return Err(bpb(
            "BPB_RootClus",
            expected,
            u64::from(layout.root_cluster),
        ));
    }
    Ok(())
}
