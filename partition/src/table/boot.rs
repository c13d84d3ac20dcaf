//! The first sector of a disk: a master boot record, a filesystem's boot sector, or neither.

use super::sectors::Sectors;
use crate::bytes::{is_zero, le16, le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use mbrman::{MBRHeader, MBRPartitionEntry};
use std::io::Cursor;

/// Length of a master boot record, whatever the sectors are.
pub(super) const RECORD_BYTES: usize = 512;

/// The type byte of a protective partition (UEFI specification, table 5-4).
pub(super) const PROTECTIVE_TYPE: u8 = 0xee;

/// What the first 512 bytes of a disk are.
pub(super) enum BootSector {
    /// Nothing but zeroes.
    Zero,
    /// The boot sector of a filesystem that has the whole disk.
    Filesystem,
    /// Something that is no master boot record.
    Foreign,
    /// A master boot record.
    Record(Box<MBRHeader>),
}

impl BootSector {
    /// Reads and recognizes the start of `disk`.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails or is shorter than 512 bytes.
    pub(super) fn read(disk: &dyn ReadAt, sectors: Sectors) -> Result<Self> {
        let bytes = read_vec(disk, 0, RECORD_BYTES)?;
        Ok(Self::recognize(&bytes, sectors))
    }

    fn recognize(bytes: &[u8], sectors: Sectors) -> Self {
        if is_zero(bytes) {
            return Self::Zero;
        }
        let is_filesystem = is_fat(bytes) || is_ntfs_or_exfat(bytes);
        let record = record(bytes);
        // GRUB keeps the BIOS parameter block of a FAT that was there before, so a boot sector
        // with entries that make sense is a table, and one without is the filesystem it says.
        match record {
            Some(record) if !is_filesystem || has_plausible_entries(&record, sectors) => {
                Self::Record(Box::new(record))
            }
            _ if is_filesystem => Self::Filesystem,
            _ => Self::Foreign,
        }
    }
}

/// The record in 512 bytes; `None` without the signature 55 AA or with boot indicators other
/// than 00 and 80, which no table has.
pub(super) fn record(bytes: &[u8]) -> Option<MBRHeader> {
    MBRHeader::read_from(&mut Cursor::new(bytes)).ok()
}

/// The entries in use, with their numbers from 1.
pub(super) fn used_entries(record: &MBRHeader) -> Vec<(u32, MBRPartitionEntry)> {
    (1..)
        .zip(record.iter())
        .filter(|(_, (_, entry))| entry.is_used() && entry.sectors > 0)
        .map(|(number, (_, entry))| (number, entry.clone()))
        .collect()
}

fn has_plausible_entries(record: &MBRHeader, sectors: Sectors) -> bool {
    let entries = used_entries(record);
    !entries.is_empty()
        && entries.iter().all(|(_, entry)| {
            let (start_lba, count) = (u64::from(entry.starting_lba), u64::from(entry.sectors));
            let is_protective = entry.sys == PROTECTIVE_TYPE && start_lba == 1;
            start_lba > 0 && (is_protective || sectors.run(start_lba, count).is_some())
        })
}

/// Whether a BIOS parameter block makes sense (Microsoft FAT specification, section 3).
fn is_fat(bytes: &[u8]) -> bool {
    let jump = u8_at(bytes, 0);
    let (sector_bytes, cluster_sectors) = (le16(bytes, 11), u8_at(bytes, 13));
    let (reserved, fats, media) = (le16(bytes, 14), u8_at(bytes, 16), u8_at(bytes, 21));
    let has_size = le16(bytes, 19) != 0 || le32(bytes, 32) != 0;
    let has_fat = le16(bytes, 22) != 0 || le32(bytes, 36) != 0;
    matches!(jump, 0xeb | 0xe9)
        && matches!(sector_bytes, 512 | 1024 | 2048 | 4096)
        && cluster_sectors.is_power_of_two()
        && reserved > 0
        && matches!(fats, 1 | 2)
        && (media >= 0xf8 || media == 0xf0)
        && has_size
        && has_fat
}

fn is_ntfs_or_exfat(bytes: &[u8]) -> bool {
    matches!(bytes.get(3..11), Some(b"NTFS    " | b"EXFAT   "))
}

/// Whether an ext2/3/4 superblock is where a disk without a table would have it: a boot loader
/// in front of it looks like a record without partitions.
pub(super) fn has_ext_superblock(disk: &dyn ReadAt) -> bool {
    // `s_magic` at 0x38 of the superblock at byte 1024.
    read_vec(disk, 1024 + 0x38, 2).is_ok_and(|magic| magic == [0x53, 0xef])
}
