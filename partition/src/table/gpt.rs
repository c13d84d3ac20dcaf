//! Reading a GPT: two copies, each with a header and an array that are judged on their own.
//!
//! The `gpt` crate decodes the entries, from bytes that [`super::guard`] has checked.

use super::guard::{Header, SIGNATURE};
use super::sectors::Sectors;
use super::validate::overlap;
use super::{Finding, Partition, PartitionType, Scheme, Table};
use crate::bytes::is_zero;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use gpt::disk::LogicalBlockSize;
use std::collections::BTreeMap;
use std::io::Cursor;

/// Length of the entries that the `gpt` crate decodes: the part that UEFI defines.
const ENTRY_BYTES: usize = 128;

/// Protective MBR, two headers, two arrays of a sector, and a sector for a partition.
const SECTORS_MIN: u64 = 6;

/// One copy of the table.
struct Copy {
    lba: u64,
    has_signature: bool,
    /// The header, then whether its own array is intact.
    header: Result<Header>,
    array: Result<Vec<u8>>,
}

impl Copy {
    fn load(disk: &dyn ReadAt, sectors: Sectors, lba: u64) -> Self {
        let sector = read_vec(disk, sectors.offset_bytes(lba), sectors.len());
        let has_signature = sector
            .as_ref()
            .is_ok_and(|sector| sector.starts_with(SIGNATURE));
        let header = sector.and_then(|sector| Header::parse(&sector, sectors, lba));
        let array = match &header {
            Ok(header) => header.read_array(disk, sectors, header.array_lba),
            Err(_) => Ok(Vec::new()),
        };
        Self {
            lba,
            has_signature,
            header,
            array,
        }
    }

    /// What is wrong with it, in words.
    fn damage(&self) -> Option<String> {
        let header = self.header.as_ref().err();
        header
            .or(self.array.as_ref().err())
            .map(ToString::to_string)
    }

    fn intact(&self) -> Option<(&Header, &[u8])> {
        Some((self.header.as_ref().ok()?, self.array.as_deref().ok()?))
    }

    /// The error that stands for this copy when no other can be used.
    fn into_error(self) -> Option<Error> {
        self.header.err().or(self.array.err())
    }
}

/// A GPT that could be read, and how much speaks for the disk being a GPT disk at all.
pub(super) struct Gpt {
    pub(super) table: Table,
    pub(super) findings: Vec<Finding>,
    pub(super) alternate_lba: u64,
    /// Whether something of the primary copy is there: its signature, or its array. Without
    /// it, the backup may be left over from a table that was replaced.
    pub(super) has_primary: bool,
    /// Whether the primary header is intact.
    pub(super) is_primary_valid: bool,
}

/// The two copies as they are on the disk.
pub(super) struct Copies {
    primary: Copy,
    backup: Copy,
    sectors: Sectors,
}

impl Copies {
    pub(super) fn load(disk: &dyn ReadAt, sectors: Sectors) -> Self {
        let primary = Copy::load(disk, sectors, 1);
        let last_lba = sectors.last_lba();
        let named_lba = primary
            .header
            .as_ref()
            .map_or(last_lba, |header| header.alternate_lba);
        let mut backup = Copy::load(disk, sectors, named_lba);
        if backup.header.is_err() && named_lba != last_lba {
            backup = Copy::load(disk, sectors, last_lba);
        }
        Self {
            primary,
            backup,
            sectors,
        }
    }

    const fn has_signature(&self) -> bool {
        self.primary.has_signature || self.backup.has_signature
    }

    /// The array of the copy whose own header is lost, where tools put it.
    fn salvage(&self, disk: &dyn ReadAt) -> Option<(Header, Vec<u8>, bool)> {
        let sectors = self.sectors;
        if let Ok(header) = &self.primary.header {
            let array_lba = header
                .alternate_lba
                .checked_sub(header.array_sectors(sectors))?;
            let array = header.read_array(disk, sectors, array_lba).ok()?;
            return Some((header.clone(), array, false));
        }
        let header = self.backup.header.as_ref().ok()?;
        let array = header.read_array(disk, sectors, 2).ok()?;
        Some((header.clone(), array, true))
    }

    /// The best header and array, and whether the array is the primary one.
    fn select(&self, disk: &dyn ReadAt) -> Option<(Header, Vec<u8>, bool)> {
        if let Some((header, array)) = self.primary.intact() {
            return Some((header.clone(), array.to_vec(), true));
        }
        if let Some((header, array)) = self.backup.intact() {
            return Some((header.clone(), array.to_vec(), false));
        }
        self.salvage(disk)
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.primary.damage().map(Finding::PrimaryDamaged));
        findings.extend(self.backup.damage().map(Finding::BackupDamaged));
        let last_lba = self.sectors.last_lba();
        if let Ok(header) = &self.backup.header {
            if self.backup.lba != last_lba {
                findings.push(Finding::BackupMisplaced(format!(
                    "it is in sector {}, the last sector is {last_lba}",
                    self.backup.lba
                )));
            }
            findings.extend(self.disagreement(header).map(Finding::BackupDamaged));
        }
        findings
    }

    fn disagreement(&self, backup: &Header) -> Option<String> {
        let primary = self.primary.header.as_ref().ok()?;
        let what = if primary.disk_guid != backup.disk_guid {
            "another disk GUID"
        } else if primary.array_crc32 != backup.array_crc32 {
            "other partition entries"
        } else if (primary.first_usable_lba, primary.last_usable_lba)
            != (backup.first_usable_lba, backup.last_usable_lba)
        {
            "other usable sectors"
        } else {
            return None;
        };
        Some(format!("the backup has {what} than the primary"))
    }

    fn into_error(self) -> Error {
        let (primary, backup) = (self.primary.into_error(), self.backup.into_error());
        match (primary, backup) {
            // A failing disk is not a damaged table.
            (_, Some(error @ Error::Io { .. })) => error,
            (Some(error), _) | (None, Some(error)) => error,
            (None, None) => Error::Invalid("a GPT without damage was refused".to_owned()),
        }
    }

    /// Where the headers and arrays are: what they say themselves, or where tools put them.
    pub(super) fn extents(&self) -> Vec<crate::Extent> {
        let sectors = self.sectors;
        let mut extents = vec![
            sectors.run(0, 2),
            sectors.run(sectors.last_lba(), 1),
            sectors.run(self.backup.lba, 1),
        ];
        let headers = [self.primary.header.as_ref(), self.backup.header.as_ref()];
        for header in headers.into_iter().flatten() {
            extents.push(header.array_extent(sectors));
        }
        match headers {
            [Err(_), Ok(other)] => extents.push(sectors.run(2, other.array_sectors(sectors))),
            [Ok(other), Err(_)] => {
                let count = other.array_sectors(sectors);
                let array_lba = other.alternate_lba.checked_sub(count);
                extents.push(array_lba.and_then(|array_lba| sectors.run(array_lba, count)));
            }
            _ => {}
        }
        extents.into_iter().flatten().collect()
    }
}

/// Reads the GPT on `disk`, counting in `sectors`; `None` when there is no sign of one.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Unsupported`] or [`Error::Io`] when there is one, but neither
/// copy can be used.
pub(super) fn read(disk: &dyn ReadAt, sectors: Sectors) -> Result<Option<Gpt>> {
    if sectors.count() < SECTORS_MIN {
        return Ok(None);
    }
    let copies = Copies::load(disk, sectors);
    let Some((header, array, is_primary_array)) = copies.select(disk) else {
        let error = copies.has_signature() || copies.failed();
        return if error {
            Err(copies.into_error())
        } else {
            Ok(None)
        };
    };
    let conventional = || {
        header
            .read_array(disk, sectors, 2)
            .is_ok_and(|array| !is_zero(&array))
    };
    let has_primary = copies.primary.has_signature || is_primary_array || conventional();
    let findings = copies.findings();
    let table = to_table(&header, &array, sectors)?;
    Ok(Some(Gpt {
        table,
        findings,
        alternate_lba: header.alternate_lba,
        has_primary,
        is_primary_valid: copies.primary.header.is_ok(),
    }))
}

impl Copies {
    fn failed(&self) -> bool {
        let is_io = |copy: &Copy| matches!(copy.header, Err(Error::Io { .. }));
        is_io(&self.primary) || is_io(&self.backup)
    }
}

fn to_table(header: &Header, array: &[u8], sectors: Sectors) -> Result<Table> {
    let array_bytes = sectors.offset_bytes(header.array_lba);
    let wrong = |number: u32, field, expected: String, found: String| {
        let expected = format!("partition {number}: {expected}");
        Corrupt::new(STRUCTURE, field, array_bytes, expected, found)
    };
    let (first_usable, last_usable) = (header.first_usable_lba, header.last_usable_lba);
    let mut partitions = Vec::new();
    for (number, entry) in decode(header, array)? {
        let (first_lba, last_lba) = (entry.first_lba, entry.last_lba);
        let is_inside = first_lba >= first_usable && last_lba <= last_usable;
        let extent = sectors
            .extent(first_lba, last_lba)
            .filter(|_| is_inside)
            .ok_or_else(|| {
                let expected = format!("within usable sectors {first_usable} to {last_usable}");
                let found = format!("sectors {first_lba} to {last_lba}");
                wrong(number, "StartingLBA, EndingLBA", expected, found)
            })?;
        partitions.push(Partition {
            number,
            extent,
            partition_type: PartitionType::Gpt(entry.part_type_guid.guid),
            guid: Some(entry.part_guid),
            name: entry.name,
            attributes: entry.flags,
            is_bootable: false,
        });
    }
    if let Some([one, other]) = overlap(partitions.iter().map(|it| (it.number, it.extent))) {
        let expected = "no overlap".to_owned();
        let found = format!("{} overlaps partition {} at {}", one.1, other.0, other.1);
        return Err(wrong(one.0, "StartingLBA, EndingLBA", expected, found).into());
    }
    let usable = sectors.extent(first_usable, last_usable).ok_or_else(|| {
        Error::Invalid("usable sectors outside the disk passed the checks".to_owned())
    })?;
    Ok(Table {
        scheme: Scheme::Gpt,
        disk_guid: Some(header.disk_guid),
        disk_signature: 0,
        logical_sector_bytes: sectors.bytes(),
        usable,
        slots_max: header.slots_max,
        partitions,
    })
}

const STRUCTURE: &str = "GPT partition entry array";

/// Decodes the used entries with the `gpt` crate, by slot number.
///
/// The crate knows entries of 128 bytes only and checks the array's CRC itself, so it is given
/// the part of each entry that UEFI defines and a header that matches.
fn decode(header: &Header, array: &[u8]) -> Result<BTreeMap<u32, gpt::partition::Partition>> {
    let entry_bytes = usize::try_from(header.entry_bytes).unwrap_or(usize::MAX);
    let packed: Vec<u8> = array
        .chunks_exact(entry_bytes.max(ENTRY_BYTES))
        .flat_map(|entry| entry.iter().take(ENTRY_BYTES))
        .copied()
        .collect();
    let packed_header = gpt::header::Header {
        signature: "EFI PART".to_owned(),
        revision: (1, 0),
        header_size_le: 92,
        crc32: 0,
        reserved: 0,
        current_lba: 1,
        backup_lba: header.alternate_lba,
        first_usable: header.first_usable_lba,
        last_usable: header.last_usable_lba,
        disk_guid: header.disk_guid,
        part_start: 0,
        num_parts: header.slots_max,
        part_size: 128,
        crc32_parts: crc32fast::hash(&packed),
    };
    let mut device = Cursor::new(packed);
    let entries =
        gpt::partition::file_read_partitions(&mut device, &packed_header, LogicalBlockSize::Lb512)
            .map_err(|error| Corrupt::new(STRUCTURE, "entries", 0, "decodable entries", error))?;
    Ok(entries
        .into_iter()
        .filter(|(_, entry)| entry.is_used())
        .collect())
}
