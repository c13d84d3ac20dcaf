//! Reading an MBR: four primary entries, and the logical partitions in the extended one.
//!
//! `mbrman` decodes each record; the chain is followed in [`chain`].

pub(super) mod chain;

use super::boot::{PROTECTIVE_TYPE, used_entries};
use super::overlap::{overlap, overlap_told};
use super::sectors::Sectors;
use super::{Partition, PartitionType, Scheme, Table};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use mbrman::{MBRHeader, MBRPartitionEntry};

const STRUCTURE: &str = "MBR";

/// Whether `type_byte` marks an extended partition: CHS, LBA or Linux.
pub(super) const fn is_extended(type_byte: u8) -> bool {
    matches!(type_byte, 0x05 | 0x0f | 0x85)
}

/// Where MBR partitions may lie: behind the record, in what 32 bits can count.
pub(super) const fn usable(sectors: Sectors) -> Option<Extent> {
    let end_lba = if sectors.count() < 1 << 32 {
        sectors.count()
    } else {
        1 << 32
    };
    sectors.extent(1, end_lba.saturating_sub(1))
}

/// Reads the table that `record` starts.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Unsupported`] when entries or logical partitions contradict
/// each other or the disk; [`Error::Io`] when the device fails.
pub(super) fn read(disk: &dyn ReadAt, sectors: Sectors, record: &MBRHeader) -> Result<Table> {
    let usable = usable(sectors).ok_or_else(|| {
        let found = sectors.count();
        Corrupt::new(STRUCTURE, "disk size", 0, "at least 2 sectors", found)
    })?;
    let mut partitions = Vec::new();
    for (number, entry) in used_entries(record) {
        partitions.push(primary(number, &entry, sectors)?);
    }
    if let Some(pair) = overlap(partitions.iter().map(|it| (it.number, it.extent))) {
        return Err(overlap_error(STRUCTURE, pair, sectors).into());
    }
    if let Some(extended) = sole_extended(&partitions)? {
        partitions.extend(chain::read(disk, sectors, extended.extent)?.partitions);
    }
    Ok(table(record, sectors, usable, partitions))
}

/// The partitions that lie wholly on the disk, for a table that [`read`] refuses. A logical partition
/// counts only if its extended partition is known.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn readable(
    disk: &dyn ReadAt,
    sectors: Sectors,
    record: &MBRHeader,
) -> Result<Option<Table>> {
    let Some(usable) = usable(sectors) else {
        return Ok(None);
    };
    let primaries = used_entries(record).into_iter();
    let mut partitions: Vec<Partition> = primaries
        .filter_map(|(number, entry)| primary(number, &entry, sectors).ok())
        .collect();
    let extended = sole_extended(&partitions).ok().flatten();
    if let Some(extended) = extended.map(|extended| extended.extent) {
        partitions.extend(chain::readable(disk, sectors, extended)?.partitions);
    }
    Ok(Some(table(record, sectors, usable, partitions)))
}

fn table(
    record: &MBRHeader,
    sectors: Sectors,
    usable: Extent,
    partitions: Vec<Partition>,
) -> Table {
    Table {
        scheme: Scheme::Mbr,
        disk_guid: None,
        disk_signature: u32::from_le_bytes(record.disk_signature),
        logical_sector_bytes: sectors.bytes(),
        usable,
        slots_max: 4,
        entry_bytes: Scheme::Mbr.entry_bytes(),
        partitions,
    }
}

fn primary(number: u32, entry: &MBRPartitionEntry, sectors: Sectors) -> Result<Partition> {
    let field = "partition entry";
    if entry.sys == PROTECTIVE_TYPE {
        let expected = "a GPT header in sector 1 or in the last sector, as type ee says";
        let found = format!("partition {number} of type ee and no GPT");
        return Err(Corrupt::new("protective MBR", field, 0, expected, found).into());
    }
    let lba = u64::from(entry.starting_lba);
    partition(number, entry, lba, sectors).ok_or_else(|| {
        let last_lba = sectors.last_lba();
        let expected = format!("partition {number}: within sectors 1 to {last_lba} of the disk");
        let found = format!("{} sectors from sector {lba}", entry.sectors);
        Corrupt::new(STRUCTURE, field, 0, expected, found).into()
    })
}

/// The partition of an entry whose first sector is `lba`; `None` when it is not on the disk.
fn partition(
    number: u32,
    entry: &MBRPartitionEntry,
    lba: u64,
    sectors: Sectors,
) -> Option<Partition> {
    let extent = sectors.run(lba, u64::from(entry.sectors))?;
    let is_usable = usable(sectors)?.contains(extent);
    is_usable.then(|| Partition {
        number,
        extent,
        partition_type: PartitionType::Mbr(entry.sys),
        guid: None,
        name: String::new(),
        attributes: 0,
        is_bootable: entry.is_active(),
    })
}

/// The extended partition, if there is one.
pub(super) fn sole_extended(partitions: &[Partition]) -> Result<Option<&Partition>> {
    let mut extended = partitions.iter().filter(|partition| {
        partition.number <= 4
            && matches!(partition.partition_type, PartitionType::Mbr(byte) if is_extended(byte))
    });
    match (extended.next(), extended.next()) {
        (Some(one), Some(other)) => Err(Error::unsupported(
            "an MBR with two extended partitions",
            format!(
                "numbers of logical partitions are ambiguous in partitions {} and {}",
                one.number, other.number
            ),
        )),
        (extended, _) => Ok(extended),
    }
}

/// Says that two things overlap; number 0 is a record of the chain.
fn overlap_error(structure: &'static str, pair: [(u32, Extent); 2], sectors: Sectors) -> Corrupt {
    let told = overlap_told(pair, sectors.bytes());
    Corrupt::contradiction(structure, pair[0].1.offset_bytes(), told)
}
