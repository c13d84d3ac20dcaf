//! Whether a table makes sense and fits a disk, before a byte of it is written.

use super::guard::SLOTS_MAX;
use super::layout::{GptPlaces, MBR_SECTORS_MAX};
use super::mbr::chain::RECORDS_MAX;
use super::mbr::{is_extended, usable};
use super::overlap::{overlap, overlap_told};
use super::sectors::Sectors;
use super::{Partition, PartitionType, Scheme, Table};
use crate::device::Geometry;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::text::{quoted, written};

/// Checks that `table` can be written to a disk of `geometry`, and counts the disk as it does.
///
/// # Errors
/// [`Error::Invalid`] names the partition and what is wrong; [`Error::Unsupported`] for sectors
/// that no table of klon's counts in.
pub(super) fn validate(geometry: Geometry, table: &Table) -> Result<Sectors> {
    let sectors = sectors(geometry, table.logical_sector_bytes)?;
    require(sectors.is_aligned(table.usable), || {
        format!(
            "the room for partitions (bytes {} to {}) does not start and end between sectors",
            table.usable.offset_bytes(),
            table.usable.end_bytes().saturating_sub(1)
        )
    })?;
    for partition in &table.partitions {
        partition_itself(partition, table, sectors)?;
    }
    numbers(&table.partitions)?;
    match table.scheme {
        Scheme::Gpt => gpt(table)?,
        Scheme::Mbr => mbr(table, sectors)?,
    }
    Ok(sectors)
}

fn require(is_right: bool, message: impl FnOnce() -> String) -> Result<()> {
    if is_right {
        return Ok(());
    }
    Err(Error::Invalid(message()))
}

fn sectors(geometry: Geometry, sector_bytes: u32) -> Result<Sectors> {
    let device_bytes = geometry.logical_sector_bytes;
    let sectors = Sectors::of(geometry, sector_bytes).ok_or_else(|| {
        Error::Invalid(format!(
            "no table with sectors of {sector_bytes} bytes fits a disk of {} bytes",
            geometry.size_bytes
        ))
    })?;
    let is_whole = device_bytes > 0 && sector_bytes.is_multiple_of(device_bytes);
    require(is_whole, || {
        format!(
            "the table counts in sectors of {sector_bytes} bytes, but the disk can only write \
             sectors of {device_bytes} bytes: make a table for this disk"
        )
    })?;
    Ok(sectors)
}

fn in_sectors(extent: Extent, sectors: Sectors) -> String {
    let last = sectors.lba(extent.end_bytes()).saturating_sub(1);
    format!("sectors {} to {last}", sectors.lba(extent.offset_bytes()))
}

fn partition_itself(partition: &Partition, table: &Table, sectors: Sectors) -> Result<()> {
    let Partition { number, extent, .. } = partition;
    let sector_bytes = sectors.bytes();
    require(sectors.is_aligned(*extent), || {
        format!(
            "partition {number} (bytes {} to {}) does not start and end between sectors of \
             {sector_bytes} bytes",
            extent.offset_bytes(),
            extent.end_bytes().saturating_sub(1)
        )
    })?;
    require(table.usable.contains(*extent), || {
        format!(
            "partition {number} ({}) is outside of the room for partitions ({})",
            in_sectors(*extent, sectors),
            in_sectors(table.usable, sectors)
        )
    })?;
    let is_own_type = match (table.scheme, partition.partition_type) {
        (Scheme::Gpt, PartitionType::Gpt(guid)) => !guid.is_nil(),
        (Scheme::Mbr, PartitionType::Mbr(byte)) => byte != 0 && byte != 0xee,
        _ => false,
    };
    require(is_own_type, || {
        format!(
            "partition {number} has a type that its table can't hold: {:?}",
            partition.partition_type
        )
    })
}

fn numbers(partitions: &[Partition]) -> Result<()> {
    let mut numbers: Vec<u32> = partitions.iter().map(|it| it.number).collect();
    numbers.sort_unstable();
    let double = numbers.windows(2).find(|pair| pair.first() == pair.last());
    let double = double.and_then(|pair| pair.first());
    require(double.is_none(), || {
        format!(
            "two partitions have number {}",
            double.copied().unwrap_or(0)
        )
    })
}

fn no_overlap<'a>(
    partitions: impl Iterator<Item = &'a Partition>,
    sector_bytes: u32,
) -> Result<()> {
    let found = overlap(partitions.map(|it| (it.number, it.extent)));
    found.map_or(Ok(()), |pair| {
        Err(Error::Invalid(overlap_told(pair, sector_bytes)))
    })
}

fn gpt(table: &Table) -> Result<()> {
    let Table {
        slots_max,
        entry_bytes,
        ..
    } = *table;
    let is_valid = entry_bytes.is_power_of_two() && (128..=4096).contains(&entry_bytes);
    require(is_valid, || {
        format!("entries of {entry_bytes} bytes: a GPT has entries of 128, 256, … or 4096")
    })?;
    require((1..=SLOTS_MAX).contains(&slots_max), || {
        format!("a GPT of {slots_max} slots: klon writes 1 to {SLOTS_MAX}")
    })?;
    require(table.disk_guid.is_some(), || {
        "a GPT needs a disk GUID".to_owned()
    })?;
    for partition in &table.partitions {
        let number = partition.number;
        require((1..=slots_max).contains(&number), || {
            format!("partition {number} has no slot in a table of {slots_max}")
        })?;
        require(partition.guid.is_some(), || {
            format!("partition {number} needs a unique GUID")
        })?;
        let name = written(&partition.name);
        let is_name = !name.contains('\0') && name.encode_utf16().count() <= 36;
        require(is_name, || {
            format!(
                "the name of partition {number}, {}, has a NUL or more than 36 characters (some, such \
                 as emoji, count as two)",
                quoted(&partition.name)
            )
        })?;
    }
    no_overlap(table.partitions.iter(), table.logical_sector_bytes)
}

/// Checks that a new GPT, whose structures go where they are by convention, leaves them room.
///
/// # Errors
/// [`Error::Invalid`] when it does not.
pub(super) fn new_gpt(table: &Table, sectors: Sectors) -> Result<GptPlaces> {
    let places = GptPlaces::of(sectors, table.array_bytes())?;
    require(places.usable.contains(table.usable), || {
        format!(
            "the table's room for partitions ({}) does not fit this disk, where partitions may have {}",
            in_sectors(table.usable, sectors),
            in_sectors(places.usable, sectors)
        )
    })?;
    Ok(places)
}

fn mbr(table: &Table, sectors: Sectors) -> Result<()> {
    require(
        usable(sectors).is_some_and(|usable| usable.contains(table.usable)),
        || {
            format!(
                "the room for partitions ({}) goes beyond the disk or the {MBR_SECTORS_MAX} sectors that \
                 an MBR can count: use a GPT",
                in_sectors(table.usable, sectors)
            )
        },
    )?;
    for partition in &table.partitions {
        mbr_partition(partition, sectors)?;
    }
    no_overlap(
        table.partitions.iter().filter(|it| it.number <= 4),
        table.logical_sector_bytes,
    )?;
    logical(table, sectors)
}

fn mbr_partition(partition: &Partition, sectors: Sectors) -> Result<()> {
    let number = partition.number;
    require(number > 0, || "there is no partition 0".to_owned())?;
    let is_plain =
        partition.guid.is_none() && partition.name.is_empty() && partition.attributes == 0;
    require(is_plain, || {
        format!("partition {number}: an MBR holds no GUIDs, names or attributes: use a GPT")
    })?;
    let count = sectors.lba(partition.extent.len_bytes());
    require(count < MBR_SECTORS_MAX, || {
        format!("partition {number} has {count} sectors, more than an MBR can count: use a GPT")
    })?;
    let is_logical_type = number < 5
        || !matches!(partition.partition_type, PartitionType::Mbr(byte) if is_extended(byte));
    require(is_logical_type, || {
        format!("partition {number}: an extended partition must have a number from 1 to 4")
    })
}

fn logical(table: &Table, sectors: Sectors) -> Result<()> {
    let extended = super::mbr::sole_extended(&table.partitions)
        .map_err(|error| Error::Invalid(error.to_string()))?;
    let mut logical: Vec<&Partition> = table.partitions.iter().filter(|it| it.number > 4).collect();
    logical.sort_unstable_by_key(|it| it.number);
    require(logical.len() <= RECORDS_MAX, || {
        format!("more than {RECORDS_MAX} logical partitions")
    })?;
    for (expected, partition) in (5_u32..).zip(&logical) {
        let number = partition.number;
        require(number == expected, || {
            format!(
                "logical partitions are numbered without gaps: {expected} is missing, {number} is there"
            )
        })?;
        let inside = extended.and_then(|extended| {
            let extended = extended.extent;
            // The first sector holds the first extended boot record.
            let head_bytes = u64::from(sectors.bytes());
            let start_bytes = extended.offset_bytes().checked_add(head_bytes)?;
            Extent::between(start_bytes, extended.end_bytes())
        });
        require(
            inside.is_some_and(|inside| inside.contains(partition.extent)),
            || {
                format!(
                    "logical partition {number} is not inside an extended partition, behind its first sector"
                )
            },
        )?;
    }
    no_overlap(logical.into_iter(), table.logical_sector_bytes)
}
