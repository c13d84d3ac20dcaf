//! GPT headers and arrays, checked before anything believes them.
//!
//! Written by hand: the `gpt` crate checks the header's CRC over 92 bytes whatever the header's
//! size is, looks for the backup only at the end of the disk, trusts the entry count before it
//! allocates, panics on entries that are not 128 bytes, and gives up on a damaged array.

use super::sectors::Sectors;
use crate::bytes::{le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use uuid::Uuid;

/// `Signature` of a GPT header.
pub(super) const SIGNATURE: &[u8; 8] = b"EFI PART";

/// The most slots that klon reads or writes; eight times what every tool makes.
pub(super) const SLOTS_MAX: u32 = 1024;

const STRUCTURE: &str = "GPT header";

/// A GPT header (UEFI specification, table 5-5 "GPT Header") whose checksum and ranges hold.
///
/// | offset | field                      |
/// |--------|----------------------------|
/// | 8      | `Revision`                 |
/// | 12     | `HeaderSize`               |
/// | 16     | `HeaderCRC32`              |
/// | 24     | `MyLBA`                    |
/// | 32     | `AlternateLBA`             |
/// | 40     | `FirstUsableLBA`           |
/// | 48     | `LastUsableLBA`            |
/// | 56     | `DiskGUID`                 |
/// | 72     | `PartitionEntryLBA`        |
/// | 80     | `NumberOfPartitionEntries` |
/// | 84     | `SizeOfPartitionEntry`     |
/// | 88     | `PartitionEntryArrayCRC32` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) alternate_lba: u64,
    pub(super) first_usable_lba: u64,
    pub(super) last_usable_lba: u64,
    pub(super) disk_guid: Uuid,
    pub(super) array_lba: u64,
    pub(super) slots_max: u32,
    pub(super) entry_bytes: u32,
    pub(super) array_crc32: u32,
}

/// A GUID whose first three fields are little-endian (UEFI specification, appendix A).
pub(super) fn guid(bytes: &[u8], offset: usize) -> Uuid {
    let mut fields = [0; 16];
    if let Some(found) = offset
        .checked_add(16)
        .and_then(|end| bytes.get(offset..end))
    {
        fields.copy_from_slice(found);
    }
    Uuid::from_bytes_le(fields)
}

/// The checks of one header, with what they need to name a wrong field.
struct Check<'a> {
    sector: &'a [u8],
    sectors: Sectors,
    lba: u64,
}

impl Check<'_> {
    fn require(
        &self,
        is_right: bool,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        if is_right {
            return Ok(());
        }
        let offset_bytes = self.sectors.offset_bytes(self.lba);
        Err(Corrupt::new(STRUCTURE, field, offset_bytes, expected, found).into())
    }

    fn checksum(&self) -> Result<()> {
        let header_bytes = le32(self.sector, 12);
        let covered = usize::try_from(header_bytes)
            .ok()
            .filter(|&len| len >= 92)
            .and_then(|len| self.sector.get(..len));
        let sizes = format!("92 to {} bytes", self.sector.len());
        self.require(covered.is_some(), "HeaderSize", sizes, header_bytes)?;
        let mut covered = covered.unwrap_or_default().to_vec();
        if let Some(field) = covered.get_mut(16..20) {
            field.fill(0);
        }
        let (stored, computed) = (le32(self.sector, 16), crc32fast::hash(&covered));
        let expected = format!("{computed:#010x}");
        self.require(
            stored == computed,
            "HeaderCRC32",
            expected,
            format!("{stored:#010x}"),
        )
    }

    fn identity(&self) -> Result<()> {
        let signature = self.sector.get(..8).unwrap_or_default();
        let found = match signature {
            [0, 0, 0, 0, 0, 0, 0, 0] => "zeroes".to_owned(),
            _ => signature.escape_ascii().to_string(),
        };
        self.require(signature == SIGNATURE, "Signature", "EFI PART", found)?;
        let revision = le32(self.sector, 8);
        let found = format!("{revision:#010x}");
        // As for Linux, a later one with right checksums is read: what it adds keeps its bytes.
        let expected = "1.0 (0x00010000) or later";
        self.require(revision >= 0x0001_0000, "Revision", expected, found)?;
        self.checksum()?;
        let my_lba = le64(self.sector, 24);
        self.require(my_lba == self.lba, "MyLBA", self.lba, my_lba)
    }

    fn counts(&self) -> Result<()> {
        let (slots_max, entry_bytes) = (le32(self.sector, 80), le32(self.sector, 84));
        let is_valid = entry_bytes.is_power_of_two() && (128..=4096).contains(&entry_bytes);
        let expected = "128, 256, … or 4096 bytes";
        self.require(is_valid, "SizeOfPartitionEntry", expected, entry_bytes)?;
        let field = "NumberOfPartitionEntries";
        self.require(slots_max > 0, field, "at least 1", slots_max)?;
        if slots_max > SLOTS_MAX {
            return Err(Error::unsupported(
                format!("a GPT with {slots_max} partition entries"),
                format!("klon handles up to {SLOTS_MAX}; resize it with sgdisk --resize-table"),
            ));
        }
        Ok(())
    }

    fn ranges(&self, header: &Header) -> Result<()> {
        let alternate_lba = header.alternate_lba;
        let expected = "another sector than this header's";
        self.require(
            alternate_lba != self.lba,
            "AlternateLBA",
            expected,
            alternate_lba,
        )?;
        let last_lba = self.sectors.last_lba();
        let last_usable_lba = header.last_usable_lba;
        let expected = format!("at most {last_lba}, the last sector of this disk");
        let field = "LastUsableLBA";
        self.require(
            last_usable_lba <= last_lba,
            field,
            expected,
            last_usable_lba,
        )?;
        let first_usable_lba = header.first_usable_lba;
        let expected = format!("2 to {last_usable_lba}");
        let is_right = (2..=last_usable_lba).contains(&first_usable_lba);
        self.require(is_right, "FirstUsableLBA", expected, first_usable_lba)?;
        let is_outside = !(first_usable_lba..=last_usable_lba).contains(&self.lba);
        self.require(is_outside, "MyLBA", "outside the usable sectors", self.lba)?;
        let expected = "on the disk, clear of the header and of the usable sectors";
        let is_right = self.array_is_clear(header);
        self.require(is_right, "PartitionEntryLBA", expected, header.array_lba)
    }

    fn array_is_clear(&self, header: &Header) -> bool {
        let usable = self
            .sectors
            .extent(header.first_usable_lba, header.last_usable_lba);
        let own = self.sectors.run(self.lba, 1);
        header.array_extent(self.sectors).is_some_and(|array| {
            header.array_lba >= 2
                && usable.is_none_or(|usable| !usable.overlaps(array))
                && own.is_none_or(|own| !own.overlaps(array))
        })
    }
}

impl Header {
    /// Reads the header that must be in `sector`, read from `lba`.
    pub(super) fn parse(sector: &[u8], sectors: Sectors, lba: u64) -> Result<Self> {
        let check = Check {
            sector,
            sectors,
            lba,
        };
        check.identity()?;
        check.counts()?;
        let header = Self {
            alternate_lba: le64(sector, 32),
            first_usable_lba: le64(sector, 40),
            last_usable_lba: le64(sector, 48),
            disk_guid: guid(sector, 56),
            array_lba: le64(sector, 72),
            slots_max: le32(sector, 80),
            entry_bytes: le32(sector, 84),
            array_crc32: le32(sector, 88),
        };
        check.ranges(&header)?;
        Ok(header)
    }

    /// As [`parse`](Self::parse), for a disk that has all that the header speaks of, as the disk that the
    /// header was made for.
    pub(super) fn parse_claimed(sector: &[u8], sectors: Sectors, lba: u64) -> Result<Self> {
        let last_lba = lba.max(le64(sector, 32)).max(le64(sector, 48));
        Self::parse(sector, sectors.at_least(last_lba.saturating_add(1)), lba)
    }

    /// Length of the partition entry array; at most 4 MiB, because both factors were checked.
    pub(super) const fn array_len(&self) -> usize {
        (self.slots_max as usize).saturating_mul(self.entry_bytes as usize)
    }

    /// Whole sectors that the array takes.
    pub(super) const fn array_sectors(&self, sectors: Sectors) -> u64 {
        sectors.covering(self.array_len() as u64)
    }

    /// Where the array lies, in whole sectors; `None` when that is not on the disk.
    pub(super) const fn array_extent(&self, sectors: Sectors) -> Option<Extent> {
        sectors.run(self.array_lba, self.array_sectors(sectors))
    }

    /// Reads the array at `array_lba` (this header's own, or the other copy's) and checks it
    /// against this header's checksum.
    pub(super) fn read_array(
        &self,
        disk: &dyn ReadAt,
        sectors: Sectors,
        array_lba: u64,
    ) -> Result<Vec<u8>> {
        let offset_bytes = sectors.offset_bytes(array_lba);
        let array = read_vec(disk, offset_bytes, self.array_len())?;
        let (stored, computed) = (self.array_crc32, crc32fast::hash(&array));
        if stored != computed {
            return Err(Corrupt::new(
                "GPT partition entry array",
                "PartitionEntryArrayCRC32",
                offset_bytes,
                format_args!("{stored:#010x}"),
                format_args!("{computed:#010x}"),
            )
            .into());
        }
        Ok(array)
    }
}
