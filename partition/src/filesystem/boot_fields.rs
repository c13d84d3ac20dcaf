//! Where a volume says that its partition begins: NTFS and FAT in the field "hidden sectors", exFAT
//! in PartitionOffset. Windows and the boot code of BIOS systems believe what the field says.

use super::Kind;
use super::exfat::boot::{REGION_SECTORS, checksum};
use crate::bytes::{le16, le32, le64, u8_at};
use crate::device::{ReadAt, WriteAt, read_vec};
use crate::error::Result;

/// Hidden sectors of NTFS and FAT (fatgen103, BPB_HiddSec), 32 bits.
const HIDDEN: usize = 0x1c;
/// PartitionOffset of exFAT (section 3.1.3), 64 bits; 0 says nothing.
const PARTITION_OFFSET: usize = 64;
/// BPB_BkBootSec of FAT32.
const BACKUP_SECTOR: usize = 0x32;
/// Total sectors of NTFS; one more is the backup of the boot sector.
const NTFS_SECTORS: usize = 0x28;
const HEAD_BYTES: usize = 512;

/// A field that does not say where the volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What the volume is.
    pub kind: Kind,
    /// What the field says, in sectors of the volume.
    pub found_sectors: u64,
    /// What it would have to say.
    pub expected_sectors: u64,
    sector_bytes: u64,
}

/// The field of `volume`, which is of this `kind`, if it does not fit a partition that begins at
/// `start_bytes`. `None` when it
/// fits, when the field can't hold the right number, and for other kinds of volumes.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn misfit(volume: &dyn ReadAt, kind: Kind, start_bytes: u64) -> Result<Option<Misfit>> {
    if volume.geometry().size_bytes < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let sector = read_vec(volume, 0, HEAD_BYTES)?;
    let (sector_bytes, found_sectors) = match kind {
        Kind::Ntfs | Kind::Fat12 | Kind::Fat16 | Kind::Fat32 => {
            (u64::from(le16(&sector, 0x0b)), le32(&sector, HIDDEN).into())
        }
        Kind::Exfat => {
            let sector_bytes = 1_u64.checked_shl(u8_at(&sector, 108).into()).unwrap_or(0);
            (sector_bytes, le64(&sector, PARTITION_OFFSET))
        }
        _ => return Ok(None),
    };
    if !(512..=4096).contains(&sector_bytes) || !start_bytes.is_multiple_of(sector_bytes) {
        return Ok(None);
    }
    let expected_sectors = start_bytes / sector_bytes;
    let can_say = kind == Kind::Exfat || u32::try_from(expected_sectors).is_ok();
    let says_nothing = kind == Kind::Exfat && found_sectors == 0;
    let is_misfit = found_sectors != expected_sectors && can_say && !says_nothing;
    Ok(is_misfit.then_some(Misfit {
        kind,
        found_sectors,
        expected_sectors,
        sector_bytes,
    }))
}

/// Makes the field fit, in the boot sector and its backup.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn fit(volume: &dyn WriteAt, misfit: &Misfit) -> Result<()> {
    let sector = read_vec(&volume, 0, HEAD_BYTES)?;
    if misfit.kind == Kind::Exfat {
        // Sectors have 512 to 4096 bytes.
        let region_bytes = misfit.sector_bytes * REGION_SECTORS as u64;
        fit_region(volume, misfit, 0)?;
        return fit_region(volume, misfit, region_bytes);
    }
    let backup_sector = match misfit.kind {
        Kind::Ntfs => Some(le64(&sector, NTFS_SECTORS)),
        // 0 and 0xffff are no place (fatgen103).
        Kind::Fat32 => Some(u64::from(le16(&sector, BACKUP_SECTOR))).filter(|at| *at != 0xffff),
        _ => None,
    };
    let backup = backup_sector.and_then(|at| at.checked_mul(misfit.sector_bytes));
    let value = u32::try_from(misfit.expected_sectors).unwrap_or(0);
    for at in [Some(0), backup.filter(|at| *at != 0)]
        .into_iter()
        .flatten()
    {
        let end = at.checked_add(HEAD_BYTES as u64);
        if end.is_none_or(|end| end > volume.geometry().size_bytes) {
            continue;
        }
        // What is no copy of the boot sector is left alone.
        let copy = read_vec(&volume, at, HEAD_BYTES)?;
        if copy[3..HIDDEN] == sector[3..HIDDEN] {
            volume.write_all_at(&value.to_le_bytes(), at + HIDDEN as u64)?;
        }
    }
    Ok(())
}

/// The main or backup boot region of exFAT, with its checksum (section 3.4).
fn fit_region(volume: &dyn WriteAt, misfit: &Misfit, at: u64) -> Result<()> {
    let sector_bytes = misfit.sector_bytes as usize;
    let len = sector_bytes * REGION_SECTORS;
    let end = at.checked_add(len as u64);
    if end.is_none_or(|end| end > volume.geometry().size_bytes) {
        return Ok(());
    }
    let mut region = read_vec(&volume, at, len)?;
    let (covered, sums) = region.split_at_mut(len - sector_bytes);
    let is_sound = sums.get(..4) == Some(&checksum(covered).to_le_bytes()[..]);
    if covered.get(3..11) != Some(&b"EXFAT   "[..]) || !is_sound {
        return Ok(());
    }
    covered[PARTITION_OFFSET..PARTITION_OFFSET + 8]
        .copy_from_slice(&misfit.expected_sectors.to_le_bytes());
    let sum = checksum(covered).to_le_bytes();
    for field in sums.chunks_exact_mut(4) {
        field.copy_from_slice(&sum);
    }
    volume.write_all_at(&region, at)
}
