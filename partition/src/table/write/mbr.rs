//! The bytes of an MBR and its chain of extended boot records.
//!
//! `mbrman` lays out each record, the first and the extended ones alike; where the records go is
//! decided here, because `mbrman` writes them to wrong places beyond 4 GiB.

use super::Step;
use super::kept::Kept;
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::table::mbr::sole_extended;
use crate::table::sectors::Sectors;
use crate::table::{Partition, PartitionType, Table};
use mbrman::{BOOT_ACTIVE, BOOT_INACTIVE, CHS, MBRHeader, MBRPartitionEntry};
use std::io::Cursor;

/// The type byte of links, whatever the type of the extended partition.
const LINK_TYPE: u8 = 0x05;

/// How far before its partition a record goes when there is room, as tools do: the partition
/// and the record are then both aligned.
const RECORD_GAP_BYTES: u64 = 1 << 20;

/// The steps that write `table`, which was validated.
///
/// # Errors
/// [`Error::Invalid`] when there is no sector for the record of a logical partition.
pub(super) fn steps(table: &Table, sectors: Sectors, kept: &Kept) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if let Some(extended) = sole_extended(&table.partitions)? {
        for (lba, bytes) in new_chain(table, sectors, extended.extent)? {
            steps.push(Step::Write(sectors.offset_bytes(lba), bytes));
        }
        steps.push(Step::Sync);
    }
    let mut record = MBRHeader::new(table.disk_signature.to_le_bytes());
    record.bootstrap_code = kept.boot_code;
    for partition in table.partitions.iter().filter(|it| it.number <= 4) {
        let slot = usize::try_from(partition.number).ok();
        if let Some(place) = slot.and_then(|slot| record.get_mut(slot)) {
            *place = entry(partition, 0, sectors)?;
        }
    }
    steps.push(Step::Write(0, record_bytes(&record, &kept.rest, sectors)?));
    steps.push(Step::Sync);
    Ok(steps)
}

/// The 16 bytes of the entry of `partition`, counted from sector `base_lba`.
///
/// # Errors
/// [`Error::Invalid`] when it is beyond what an entry can count.
pub(super) fn entry_bytes(
    partition: &Partition,
    base_lba: u64,
    sectors: Sectors,
) -> Result<Vec<u8>> {
    packed(entry(partition, base_lba, sectors)?, sectors)
}

/// The 16 bytes of the link to the record in `record_lba` and its `partition`.
///
/// # Errors
/// [`Error::Invalid`] when that is beyond what an entry can count.
pub(super) fn link_bytes(
    record_lba: u64,
    partition: &Partition,
    head_lba: u64,
    sectors: Sectors,
) -> Result<Vec<u8>> {
    packed(link(record_lba, partition, head_lba, sectors)?, sectors)
}

/// An entry as `mbrman` lays it out in a record.
fn packed(entry: MBRPartitionEntry, sectors: Sectors) -> Result<Vec<u8>> {
    let mut record = MBRHeader::new([0; 4]);
    record.partition_1 = entry;
    let sector = record_bytes(&record, &[], sectors)?;
    Ok(sector.get(446..462).unwrap_or_default().to_vec())
}

/// The record as a whole sector, `rest` behind its 512 bytes.
fn record_bytes(record: &MBRHeader, rest: &[u8], sectors: Sectors) -> Result<Vec<u8>> {
    let mut sector = Vec::new();
    record
        .write_into(&mut Cursor::new(&mut sector))
        .map_err(|error| Error::Invalid(format!("the MBR could not be built: {error}")))?;
    sector.extend_from_slice(rest);
    sector.resize(sectors.len(), 0);
    Ok(sector)
}

/// The entry of `partition`, counted from sector `base_lba`.
fn entry(partition: &Partition, base_lba: u64, sectors: Sectors) -> Result<MBRPartitionEntry> {
    let PartitionType::Mbr(type_byte) = partition.partition_type else {
        let number = partition.number;
        return Err(Error::Invalid(format!(
            "partition {number} has no MBR type"
        )));
    };
    let indicator = if partition.is_bootable {
        BOOT_ACTIVE
    } else {
        BOOT_INACTIVE
    };
    let fields = Fields {
        boot: indicator,
        sys: type_byte,
    };
    raw_entry(fields, partition.extent, base_lba, sectors)
}

/// The fields of an entry that say nothing of sectors.
struct Fields {
    /// Whether a BIOS boots it.
    boot: u8,
    /// The type.
    sys: u8,
}

fn raw_entry(
    fields: Fields,
    extent: Extent,
    base_lba: u64,
    sectors: Sectors,
) -> Result<MBRPartitionEntry> {
    let first_lba = sectors.lba(extent.offset_bytes());
    let count = sectors.lba(extent.len_bytes());
    let narrow = |value: Option<u64>| {
        value
            .and_then(|value| u32::try_from(value).ok())
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "a partition ends at sector {}, and an MBR counts {} sectors. Use a GPT",
                    sectors.lba(extent.end_bytes()),
                    u32::MAX
                ))
            })
    };
    Ok(MBRPartitionEntry {
        boot: fields.boot,
        first_chs: chs(first_lba),
        sys: fields.sys,
        last_chs: chs(first_lba.saturating_add(count).saturating_sub(1)),
        starting_lba: narrow(first_lba.checked_sub(base_lba))?,
        sectors: narrow(Some(count))?,
    })
}

/// The cylinder, head and sector of `lba` on a disk of 255 heads and 63 sectors per track; the
/// last address (1023, 254, 63: bytes fe ff ff) for everything beyond, as is convention.
fn chs(lba: u64) -> CHS {
    // What 32 bits can't count is far beyond the last cylinder too.
    let lba = u32::try_from(lba).unwrap_or(u32::MAX);
    CHS::from_lba_exact(lba, 1023, 255, 63).unwrap_or(CHS::new(1023, 254, 63))
}

/// A link spans the next record and its partition.
fn link(
    record_lba: u64,
    partition: &Partition,
    head_lba: u64,
    sectors: Sectors,
) -> Result<MBRPartitionEntry> {
    let start_bytes = sectors.offset_bytes(record_lba);
    let span = Extent::between(start_bytes, partition.extent.end_bytes()).ok_or_else(|| {
        Error::Invalid(format!(
            "partition {} starts before its record",
            partition.number
        ))
    })?;
    let fields = Fields {
        boot: BOOT_INACTIVE,
        sys: LINK_TYPE,
    };
    raw_entry(fields, span, head_lba, sectors)
}

/// The sectors of a new chain and where they go, in the chain's order.
///
/// # Errors
/// [`Error::Invalid`] when there is no sector for the record of a logical partition.
pub(super) fn new_chain(
    table: &Table,
    sectors: Sectors,
    extended: Extent,
) -> Result<Vec<(u64, Vec<u8>)>> {
    let records = chain(table, sectors, extended)?.into_iter();
    records
        .map(|(lba, record)| Ok((lba, record_bytes(&record, &[], sectors)?)))
        .collect()
}

/// The records of the chain and where they go, in the chain's order.
fn chain(table: &Table, sectors: Sectors, extended: Extent) -> Result<Vec<(u64, MBRHeader)>> {
    let mut logical: Vec<&Partition> = table.partitions.iter().filter(|it| it.number > 4).collect();
    logical.sort_unstable_by_key(|it| it.number);
    let head_lba = sectors.lba(extended.offset_bytes());
    if logical.is_empty() {
        return Ok(vec![(head_lba, MBRHeader::new([0; 4]))]);
    }
    let lbas = record_lbas(&logical, sectors, extended)?;
    let mut records = Vec::new();
    for (index, (partition, &lba)) in logical.iter().zip(&lbas).enumerate() {
        let mut record = MBRHeader::new([0; 4]);
        record.partition_1 = entry(partition, lba, sectors)?;
        let next = index.saturating_add(1);
        if let (Some(next), Some(&next_lba)) = (logical.get(next), lbas.get(next)) {
            record.partition_2 = link(next_lba, next, head_lba, sectors)?;
        }
        records.push((lba, record));
    }
    Ok(records)
}

/// A sector for the record of each of `logical` (in the chain's order): the first is the first
/// of the extended partition, the others lie before their partitions.
///
/// Going upwards on the disk and taking any free sector below finds a place for all of them
/// whenever there is one.
fn record_lbas(logical: &[&Partition], sectors: Sectors, extended: Extent) -> Result<Vec<u64>> {
    let head_lba = sectors.lba(extended.offset_bytes());
    let mut lbas = vec![head_lba; logical.len()];
    let mut occupied: ExtentMap = logical
        .iter()
        .map(|it| it.extent)
        .chain(sectors.run(head_lba, 1))
        .collect();
    let mut upwards: Vec<(usize, &&Partition)> = logical.iter().enumerate().skip(1).collect();
    upwards.sort_unstable_by_key(|(_, partition)| partition.extent);
    for (index, partition) in upwards {
        let lba = free_sector(partition, sectors, extended, &occupied)?;
        occupied = occupied.union(&sectors.run(lba, 1).into_iter().collect());
        if let Some(place) = lbas.get_mut(index) {
            *place = lba;
        }
    }
    Ok(lbas)
}

/// A free sector for the record of `partition`, before it.
///
/// # Errors
/// [`Error::Invalid`] when there is none.
pub(super) fn free_sector(
    partition: &Partition,
    sectors: Sectors,
    extended: Extent,
    occupied: &ExtentMap,
) -> Result<u64> {
    let start_bytes = partition.extent.offset_bytes();
    let gap = Extent::between(extended.offset_bytes(), start_bytes)
        .and_then(|before| ExtentMap::from(before).difference(occupied).iter().last())
        .ok_or_else(|| {
            Error::Invalid(format!(
                "no sector is free for the extended boot record of logical partition {}. Leave \
                 at least one sector before the partition",
                partition.number
            ))
        })?;
    let wanted_bytes = start_bytes.saturating_sub(RECORD_GAP_BYTES);
    let last_bytes = gap.end_bytes().saturating_sub(u64::from(sectors.bytes()));
    Ok(sectors.lba(wanted_bytes.clamp(gap.offset_bytes(), last_bytes)))
}
