//! The boot sector and the BIOS parameter block in it (fatgen103, "Boot Sector and BPB").

use super::layout::Layout;
use crate::bytes::{le16, le32, text, u8_at};
use crate::error::{Checked, Corrupt};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::filesystem::chain::Table as _;
use crate::filesystem::cluster::{Cluster, Clusters};

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
    let base = extended_offset(sector);
    let (bs_reserved1, bs_boot_sig) = (u8_at(sector, base + 1), u8_at(sector, base + 2));
    let bs_vol_id = le32(sector, base + 3);
    let bs_vol_lab = sector.get(base + 7..base + 18);
    // 0x28 when only the serial follows.
    if !matches!(bs_boot_sig, 0x28 | 0x29) {
        return Identity {
            serial: None,
            label: None,
            state: 0,
        };
    }
    let label = bs_vol_lab.filter(|label| bs_boot_sig == 0x29 && *label != b"NO NAME    ");
    let (high, low) = (bs_vol_id >> 16, bs_vol_id & 0xffff);
    Identity {
        serial: Some(format!("{high:04X}-{low:04X}")),
        label: label.and_then(text),
        state: bs_reserved1,
    }
}

/// Where BS_Reserved1 lies.
pub(super) fn state_offset_bytes(sector: &[u8]) -> u64 {
    extended_offset(sector) as u64 + 1
}

/// The extended part moved when FAT32's fields came before it; BS_DrvNum is its first field.
fn extended_offset(sector: &[u8]) -> usize {
    if is_fat32_layout(sector) { 0x40 } else { 0x24 }
}

/// Where BS_VolID is in a boot sector, if it has one.
pub(super) fn serial_at(sector: &[u8]) -> Option<usize> {
    let base = extended_offset(sector);
    matches!(u8_at(sector, base + 2), 0x28 | 0x29).then_some(base + 3)
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
    let (bs_jmp_boot, bs_oem_name) = (u8_at(sector, 0), sector.get(3..11).unwrap_or_default());
    let bs_fil_sys_type = sector.get(0x36..0x3e).unwrap_or_default();
    let bpb = Bpb::read(sector);
    let is_other = matches!(bs_oem_name, b"NTFS    " | b"EXFAT   " | b"-FVE-FS-");
    // OS/2 writes a boot sector with a BPB in front of these.
    let is_os2 = matches!(bs_fil_sys_type, b"JFS     " | b"HPFS    ");
    !is_other
        && !is_os2
        && !is_bitlocker_to_go(sector)
        && matches!(bs_jmp_boot, 0xe9 | 0xeb)
        && matches!(bpb.byts_per_sec, 512 | 1024 | 2048 | 4096)
        && bpb.sec_per_clus.is_power_of_two()
        && bpb.rsvd_sec_cnt != 0
        && matches!(bpb.num_fats, 1..=4)
        && (bpb.media == 0xf0 || bpb.media >= 0xf8)
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

/// The BIOS parameter block, by the names of the specification (`BPB_…`).
struct Bpb {
    byts_per_sec: u16,
    sec_per_clus: u8,
    rsvd_sec_cnt: u16,
    num_fats: u8,
    root_ent_cnt: u16,
    media: u8,
    /// BPB_TotSec16, or BPB_TotSec32 when that is 0.
    tot_sec: u32,
    /// BPB_FATSz16, or BPB_FATSz32 when that is 0.
    fat_sz: u32,
    /// Only there on FAT32, and 0 on others, as all that follow.
    ext_flags: u16,
    fs_ver: u16,
    root_clus: u32,
    fs_info: u16,
    is_fat32: bool,
}

impl Bpb {
    fn read(sector: &[u8]) -> Self {
        let is_fat32 = is_fat32_layout(sector);
        let (tot_sec16, tot_sec32) = (le16(sector, 0x13), le32(sector, 0x20));
        let (fat_sz16, fat_sz32) = (le16(sector, 0x16), le32(sector, 0x24));
        let pick = |short: u16, long: u32| if short == 0 { long } else { short.into() };
        let short = |offset: usize| if is_fat32 { le16(sector, offset) } else { 0 };
        Self {
            byts_per_sec: le16(sector, 0x0b),
            sec_per_clus: u8_at(sector, 0x0d),
            rsvd_sec_cnt: le16(sector, 0x0e),
            num_fats: u8_at(sector, 0x10),
            root_ent_cnt: le16(sector, 0x11),
            media: u8_at(sector, 0x15),
            tot_sec: pick(tot_sec16, tot_sec32),
            fat_sz: pick(fat_sz16, fat_sz32),
            ext_flags: short(0x28),
            fs_ver: short(0x2a),
            root_clus: if is_fat32 { le32(sector, 0x2c) } else { 0 },
            fs_info: short(0x30),
            is_fat32,
        }
    }

    fn sector_bytes(&self) -> u64 {
        self.byts_per_sec.into()
    }

    /// Sectors of the fixed root directory.
    fn root_sectors(&self) -> u64 {
        (u64::from(self.root_ent_cnt) * 32).div_ceil(self.sector_bytes().max(1))
    }

    /// Where the fixed root directory starts, in sectors. Counts below 2^32 and at most 4 copies:
    /// neither this nor its bytes overflow 64 bits.
    fn root_sector(&self) -> u64 {
        u64::from(self.rsvd_sec_cnt) + u64::from(self.num_fats) * u64::from(self.fat_sz)
    }

    /// BPB_ExtFlags: the copy to follow, when they are not mirrored.
    fn active_fat(&self) -> Option<u8> {
        let is_mirrored = self.ext_flags & 0x80 == 0;
        (!is_mirrored).then_some((self.ext_flags & 0x0f) as u8)
    }

    /// The type and the clusters.
    fn clusters(&self) -> Checked<(Kind, Clusters)> {
        let data_sector = self.root_sector() + self.root_sectors();
        let data_sectors = u64::from(self.tot_sec).checked_sub(data_sector);
        let data_sectors = data_sectors.ok_or_else(|| {
            let expected = format!("more than the {data_sector} sectors of reserved area and FATs");
            bpb("BPB_TotSec32", expected, self.tot_sec.into())
        })?;
        let found = data_sectors / u64::from(self.sec_per_clus).max(1);
        let (kind, count) = kind(self.is_fat32, found)?;
        let size_bytes = u32::from(self.sec_per_clus) * u32::from(self.byts_per_sec);
        let clusters = Clusters::new(data_sector * self.sector_bytes(), count, size_bytes);
        let too_many = || bpb("count of clusters", "fewer", found);
        Ok((kind, clusters.ok_or_else(too_many)?))
    }
}

fn layout(sector: &[u8], size_bytes: u64) -> Checked<Layout> {
    let bpb = Bpb::read(sector);
    check_sizes(&bpb, size_bytes)?;
    let sector_bytes = bpb.sector_bytes();
    let (kind, clusters) = bpb.clusters()?;
    let has_fsinfo = bpb.fs_info != 0 && bpb.fs_info < bpb.rsvd_sec_cnt;
    let layout = Layout {
        kind,
        sector_bytes,
        media: bpb.media,
        fat_offset_bytes: u64::from(bpb.rsvd_sec_cnt) * sector_bytes,
        fat_bytes: u64::from(bpb.fat_sz) * sector_bytes,
        fat_count: bpb.num_fats,
        is_mirrored: bpb.active_fat().is_none(),
        active_fat: bpb.active_fat().unwrap_or(0),
        root: Extent::new(
            bpb.root_sector() * sector_bytes,
            bpb.root_sectors() * sector_bytes,
        ),
        root_cluster: Cluster(bpb.root_clus),
        fsinfo_offset_bytes: has_fsinfo.then(|| u64::from(bpb.fs_info) * sector_bytes),
        clusters,
        size_bytes: u64::from(bpb.tot_sec) * sector_bytes,
    };
    check_fat(&layout)?;
    check_root(&layout)?;
    Ok(layout)
}

fn bpb(field: &'static str, expected: impl std::fmt::Display, found: u64) -> Corrupt {
    Corrupt::new("FAT boot sector", field, 0, expected, found)
}

fn check_sizes(fields: &Bpb, size_bytes: u64) -> Checked {
    let sectors_max = size_bytes / fields.sector_bytes().max(1);
    let tot_sec = u64::from(fields.tot_sec);
    if !(1..=sectors_max).contains(&tot_sec) {
        let expected = format!("1 to {sectors_max}, the volume's size");
        return Err(bpb("BPB_TotSec32", expected, tot_sec));
    }
    if fields.fat_sz == 0 {
        return Err(bpb("BPB_FATSz32", "at least 1", 0));
    }
    if fields.fs_ver != 0 {
        return Err(bpb("BPB_FSVer", 0, fields.fs_ver.into()));
    }
    if fields.is_fat32 != (fields.root_ent_cnt == 0) {
        let expected = if fields.is_fat32 { "0" } else { "at least 1" };
        return Err(bpb("BPB_RootEntCnt", expected, fields.root_ent_cnt.into()));
    }
    Ok(())
}

/// The type by its number of clusters. BPB_FATSz16 = 0 alone makes it FAT32, as drivers have it
/// that mount what `mkfs.fat -F 32` makes of a small volume.
fn kind(is_fat32: bool, clusters: u64) -> Checked<(Kind, u32)> {
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

fn check_fat(layout: &Layout) -> Checked {
    if layout.entries_bytes() > layout.fat_bytes {
        let sectors_min = layout.entries_bytes().div_ceil(layout.sector_bytes);
        let count = layout.clusters.count();
        let expected = format!("at least {sectors_min} for {count} clusters");
        let found = layout.fat_bytes / layout.sector_bytes;
        return Err(bpb("BPB_FATSz32", expected, found));
    }
    if layout.active_fat >= layout.fat_count {
        let expected = format!("an active FAT below {}", layout.fat_count);
        return Err(bpb("BPB_ExtFlags", expected, u64::from(layout.active_fat)));
    }
    Ok(())
}

fn check_root(layout: &Layout) -> Checked {
    let root = layout.root_cluster;
    if layout.kind == Kind::Fat32 && !layout.clusters.has(root) {
        let expected = format!("2 to {}", layout.clusters.end().0 - 1);
        return Err(bpb("BPB_RootClus", expected, root.0.into()));
    }
    Ok(())
}
