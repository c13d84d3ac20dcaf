//! Which table a disk has, when several could be meant.

use super::boot::{BootSector, PROTECTIVE_TYPE, has_ext_superblock, used_entries};
use super::gpt::{self, Gpt};
use super::mbr;
use super::sectors::Sectors;
use super::{Finding, Found, Table};
use crate::device::{Geometry, ReadAt, is_zero_up_to, read_vec};
use crate::error::{Error, Result};
use mbrman::{MBRHeader, MBRPartitionEntry};

/// How much of the start must be zero for a disk to be blank.
const START_BYTES: u64 = 1 << 20;

/// See [`super::read()`].
pub(super) fn read(disk: &dyn ReadAt) -> Result<Found> {
    let geometry = disk.geometry();
    let Some(sectors) = Sectors::of(geometry, geometry.logical_sector_bytes) else {
        return Ok(if is_zero_up_to(disk, START_BYTES)? {
            Found::Blank
        } else {
            Found::NoTable
        });
    };
    match BootSector::read(disk, sectors)? {
        BootSector::Filesystem => Ok(Found::NoTable),
        BootSector::Record(record) => with_record(disk, sectors, &record),
        BootSector::Zero | BootSector::Foreign => without_record(disk),
    }
}

/// See [`super::readable()`].
pub(super) fn readable(disk: &dyn ReadAt) -> Result<Option<Table>> {
    let geometry = disk.geometry();
    let Some(sectors) = Sectors::of(geometry, geometry.logical_sector_bytes) else {
        return Ok(None);
    };
    if let BootSector::Record(record) = BootSector::read(disk, sectors)? {
        let mut entries = used_entries(&record).into_iter();
        if !entries.any(|(_, entry)| entry.sys == PROTECTIVE_TYPE) {
            return mbr::readable(disk, sectors, &record);
        }
    }
    for sectors in sector_sizes(geometry) {
        let found = gpt::readable(disk, sectors)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// See [`super::backup()`].
pub(super) fn backup(disk: &dyn ReadAt) -> Result<Option<Table>> {
    for sectors in sector_sizes(disk.geometry()) {
        let found = gpt::backup(disk, sectors)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The device in its own sectors, and in those of 512 and 4096 bytes.
fn sector_sizes(geometry: Geometry) -> impl Iterator<Item = Sectors> {
    let mut sizes = vec![geometry.logical_sector_bytes, 512, 4096];
    sizes.dedup();
    sizes
        .into_iter()
        .filter_map(move |sector_bytes| Sectors::of(geometry, sector_bytes))
}

/// The GPT in the device's sectors or, in an image of another disk, in those of 512 or 4096
/// bytes. One whose primary header is intact goes first: the other can be left over.
fn find_gpt(disk: &dyn ReadAt) -> Result<Option<Gpt>> {
    let mut best: Result<Option<Gpt>> = Ok(None);
    for sectors in sector_sizes(disk.geometry()) {
        let found = gpt::read(disk, sectors);
        match (&found, &best) {
            (Ok(Some(gpt)), _) if gpt.is_primary_valid => return found,
            (Ok(Some(_)), Ok(None) | Err(_)) | (Err(_), Ok(None)) => best = found,
            _ => {}
        }
    }
    best
}

/// A disk whose first sector is a master boot record: protective, hybrid, real or empty.
fn with_record(disk: &dyn ReadAt, sectors: Sectors, record: &MBRHeader) -> Result<Found> {
    let entries = used_entries(record);
    let protective = entries
        .iter()
        .any(|(_, entry)| entry.sys == PROTECTIVE_TYPE);
    if protective {
        return match find_gpt(disk)? {
            Some(gpt) => Ok(with_boot_findings(gpt, record)),
            // Says what is missing.
            None => Ok(Found::Table(mbr::read(disk, sectors, record)?, Vec::new())),
        };
    }
    // A partition from sector 1 would have an intact GPT header as its first sector: a
    // protective entry with a wrong type.
    let is_suspect = entries.iter().any(|(_, entry)| entry.starting_lba == 1)
        || (entries.is_empty() && !is_new_label(record));
    if is_suspect {
        match find_gpt(disk) {
            Ok(Some(gpt)) if gpt.is_primary_valid => return Ok(with_boot_findings(gpt, record)),
            Err(error @ Error::Io { .. }) => return Err(error),
            _ => {}
        }
    }
    if entries.is_empty() && has_ext_superblock(disk) {
        return Ok(Found::NoTable);
    }
    Ok(Found::Table(mbr::read(disk, sectors, record)?, Vec::new()))
}

/// Whether this is the record of a new MBR without partitions: a signature and not a bit in the
/// entries. `sfdisk` leaves the GPT behind it that it replaces.
fn is_new_label(record: &MBRHeader) -> bool {
    record.disk_signature != [0; 4]
        && record
            .iter()
            .all(|(_, entry)| *entry == MBRPartitionEntry::empty())
}

/// A disk whose first sector is no record. Its GPT counts if the primary is there, or if the
/// start was zeroed; a backup behind other data is left over.
fn without_record(disk: &dyn ReadAt) -> Result<Found> {
    let is_blank = is_zero_up_to(disk, START_BYTES)?;
    match find_gpt(disk) {
        Ok(Some(mut gpt)) if gpt.has_primary || is_blank => {
            let missing = "the first sector is no master boot record".to_owned();
            gpt.findings.push(Finding::ProtectiveMbr(missing));
            Ok(Found::Table(gpt.table, gpt.findings))
        }
        Err(error) if is_blank || !is_left_over(disk, &error) => Err(error),
        _ if is_blank => Ok(Found::Blank),
        _ => Ok(Found::NoTable),
    }
}

/// Whether a damaged GPT is only a backup behind other data.
fn is_left_over(disk: &dyn ReadAt, error: &Error) -> bool {
    let is_header = |offset_bytes| {
        read_vec(disk, offset_bytes, 8).is_ok_and(|bytes| bytes == super::guard::SIGNATURE)
    };
    !matches!(error, Error::Io { .. }) && !is_header(512) && !is_header(4096)
}

/// The GPT with what is unusual about the record in front of it.
fn with_boot_findings(gpt: Gpt, record: &MBRHeader) -> Found {
    let Gpt {
        mut table,
        mut findings,
        alternate_lba,
        ..
    } = gpt;
    table.disk_signature = u32::from_le_bytes(record.disk_signature);
    let entries = used_entries(record);
    let (protective, others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|(_, entry)| entry.sys == PROTECTIVE_TYPE);
    match protective.first() {
        None => {
            let missing = "no partition of type ee covers the GPT".to_owned();
            findings.push(Finding::ProtectiveMbr(missing));
        }
        Some((_, entry)) => {
            let covered = u64::from(entry.sectors);
            let sector_bytes = u64::from(table.logical_sector_bytes);
            let is_whole = covered >= alternate_lba || entry.sectors == u32::MAX;
            if entry.starting_lba != 1 || (!is_whole && others.is_empty()) {
                findings.push(Finding::ProtectiveMbr(format!(
                    "type ee covers {covered} sectors of {sector_bytes} bytes from sector {}",
                    entry.starting_lba
                )));
            }
        }
    }
    if !others.is_empty() {
        let others = others.iter().map(|(number, entry)| {
            let (start, count) = (entry.starting_lba, entry.sectors);
            format!(
                "{number}: type {:02x}, {count} sectors from {start}",
                entry.sys
            )
        });
        findings.push(Finding::Hybrid(others.collect::<Vec<_>>().join("; ")));
    }
    Found::Table(table, findings)
}
