//! The entries of a GPT's array, decoded by the `gpt` crate and checked.

use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::table::guard::Header;
use crate::table::overlap::{overlap, overlap_told};
use crate::table::sectors::Sectors;
use crate::table::{Partition, PartitionType, Scheme, Table};
use crate::text::{quoted, sealed};
use gpt::disk::LogicalBlockSize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

const STRUCTURE: &str = "GPT partition entry array";
const RANGE: &str = "StartingLBA, EndingLBA";

/// Length of the entries that the `gpt` crate decodes: the part that UEFI defines.
const ENTRY_BYTES: usize = 128;

/// The entries of a copy: its array, and the header that says how to read it.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    pub(super) header: &'a Header,
    pub(super) array: &'a [u8],
}

impl Entries<'_> {
    /// By their numbers; none where they can't be decoded.
    fn decoded(self) -> BTreeMap<u32, gpt::partition::Partition> {
        decode(self.header, self.array).unwrap_or_default()
    }
}

/// The table that an intact header and array make.
///
/// # Errors
/// [`Error::Corrupt`] names a partition outside of the usable sectors or on another one.
pub(super) fn to_table(entries: Entries<'_>, sectors: Sectors) -> Result<Table> {
    let Entries { header, array } = entries;
    let array_bytes = sectors.offset_bytes(header.array_lba);
    let mut partitions = Vec::new();
    for (number, entry) in decode(header, array)? {
        partitions.push(partition(number, entry, header, sectors)?);
    }
    if let Some(pair) = overlap(partitions.iter().map(|it| (it.number, it.extent))) {
        let told = overlap_told(pair, sectors.bytes());
        return Err(Corrupt::contradiction(STRUCTURE, array_bytes, told).into());
    }
    let usable = sectors
        .extent(header.first_usable_lba, header.last_usable_lba)
        .ok_or_else(|| {
            Error::Invalid("usable sectors outside the disk passed the checks".to_owned())
        })?;
    Ok(table(header, sectors, usable, partitions))
}

fn table(header: &Header, sectors: Sectors, usable: Extent, partitions: Vec<Partition>) -> Table {
    Table {
        scheme: Scheme::Gpt,
        disk_guid: Some(header.disk_guid),
        disk_signature: 0,
        logical_sector_bytes: sectors.bytes(),
        usable,
        slots_max: header.slots_max,
        entry_bytes: header.entry_bytes,
        partitions,
    }
}

/// The part of such a table that is on a disk of these `sectors`, whether or not it makes sense.
pub(super) fn readable(entries: Entries<'_>, sectors: Sectors) -> Result<Option<Table>> {
    let Entries { header, array } = entries;
    let last_lba = header.last_usable_lba.min(sectors.last_lba());
    let usable = sectors.extent(header.first_usable_lba, last_lba);
    let Some(usable) = usable.or_else(|| sectors.extent(1, sectors.last_lba())) else {
        return Ok(None);
    };
    let Ok(entries) = decode(header, array) else {
        return Ok(None);
    };
    let partitions = entries
        .into_iter()
        .filter(|(_, entry)| entry.first_lba > 1)
        .filter_map(|(number, entry)| {
            let extent = sectors.extent(entry.first_lba, entry.last_lba)?;
            Some(described(number, entry, extent))
        });
    let partitions = partitions.collect();
    Ok(Some(table(header, sectors, usable, partitions)))
}

/// How the backup places, types or identifies the first partition differently than the primary, in words.
pub(super) fn difference(primary: Entries<'_>, backup: Entries<'_>) -> Option<String> {
    let (one, other) = (primary.decoded(), backup.decoded());
    let numbers: BTreeSet<u32> = one.keys().chain(other.keys()).copied().collect();
    numbers.into_iter().find_map(|number| {
        let (one, other) = match (one.get(&number), other.get(&number)) {
            (Some(one), Some(other)) => (one, other),
            (None, _) => return Some(format!("partition {number} is in the backup only")),
            (_, None) => return Some(format!("partition {number} is in the primary only")),
        };
        let (place, there) = (
            (one.first_lba, one.last_lba),
            (other.first_lba, other.last_lba),
        );
        if place != there {
            return Some(format!(
                "partition {number} has sectors {} to {} in the primary, and {} to {} in the backup",
                place.0, place.1, there.0, there.1
            ));
        }
        let is_other_type = one.part_type_guid.guid != other.part_type_guid.guid;
        let what = match (is_other_type, one.part_guid != other.part_guid) {
            (true, _) => "type",
            (_, true) => "GUID",
            _ => return None,
        };
        Some(format!("partition {number} has another {what} in the backup"))
    })
}

/// What else differs between the entries of two copies that name the same partitions.
pub(super) fn detail(primary: Entries<'_>, backup: Entries<'_>) -> String {
    let (one, other) = (primary.decoded(), backup.decoded());
    let differs = one.iter().find_map(|(number, one)| {
        let other = other.get(number)?;
        if one.name != other.name {
            return Some(format!(
                "partition {number} is called {} in the primary, and {} in the backup",
                quoted(&sealed(&one.name)),
                quoted(&sealed(&other.name))
            ));
        }
        (one.flags != other.flags).then(|| {
            format!(
                "partition {number} has the attributes {:#x} in the primary, and {:#x} in the backup",
                one.flags, other.flags
            )
        })
    });
    differs.unwrap_or_else(|| "bytes of the entries that klon does not use".to_owned())
}

fn partition(
    number: u32,
    entry: gpt::partition::Partition,
    header: &Header,
    sectors: Sectors,
) -> Result<Partition> {
    let (first_lba, last_lba) = (entry.first_lba, entry.last_lba);
    let (first_usable, last_usable) = (header.first_usable_lba, header.last_usable_lba);
    let is_inside = first_lba >= first_usable && last_lba <= last_usable;
    let extent = sectors
        .extent(first_lba, last_lba)
        .filter(|_| is_inside)
        .ok_or_else(|| {
            let array_bytes = sectors.offset_bytes(header.array_lba);
            let expected =
                format!("partition {number} within usable sectors {first_usable} to {last_usable}");
            let found = format!("sectors {first_lba} to {last_lba}");
            Corrupt::new(STRUCTURE, RANGE, array_bytes, expected, found)
        })?;
    Ok(described(number, entry, extent))
}

fn described(number: u32, entry: gpt::partition::Partition, extent: Extent) -> Partition {
    Partition {
        number,
        extent,
        partition_type: PartitionType::Gpt(entry.part_type_guid.guid),
        guid: Some(entry.part_guid),
        name: sealed(&entry.name),
        attributes: entry.flags,
        is_bootable: false,
    }
}

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
