//! Which bytes of a disk hold its partition table.

use super::boot::{BootSector, PROTECTIVE_TYPE, used_entries};
use super::gpt::Copies;
use super::mbr::{chain, sole_extended};
use super::sectors::Sectors;
use super::{Scheme, Table};
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};

/// The bytes of `disk` that hold the structures of `table`, which was read from it.
///
/// GPT: the protective MBR, both headers and both arrays, also where a damaged one would be.
/// MBR: the first sector and every extended boot record. Whole sectors, none of a partition's
/// (but the extended partition's).
///
/// # Errors
/// [`Error::Io`] when the device fails; [`Error::Corrupt`] when the chain of logical partitions
/// can't be followed; [`Error::Invalid`] when the table can't be of this disk.
pub fn raw_extents(disk: &dyn ReadAt, table: &Table) -> Result<ExtentMap> {
    let sectors = Sectors::of(disk.geometry(), table.logical_sector_bytes).ok_or_else(|| {
        Error::Invalid("the table counts in sectors that the disk does not have".to_owned())
    })?;
    match table.scheme {
        Scheme::Gpt => {
            let structures: ExtentMap = Copies::load(disk, sectors).extents().into_iter().collect();
            let partitions = table.partitions.iter().map(|it| it.extent).collect();
            Ok(structures.difference(&partitions))
        }
        Scheme::Mbr => mbr(disk, table, sectors),
    }
}

/// Where the MBR of a disk with a GPT, `table`, lists partitions of its own: a hybrid MBR.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub fn hybrid_extents(disk: &dyn ReadAt, table: &Table) -> Result<ExtentMap> {
    let entries = hybrid_entries(disk, table)?;
    Ok(entries.into_iter().map(|(extent, _)| extent).collect())
}

/// Where a hybrid MBR lists partitions that no entry of the GPT, `table`, is.
///
/// # Errors
/// As [`hybrid_extents`].
pub fn unknown_hybrid_extents(disk: &dyn ReadAt, table: &Table) -> Result<ExtentMap> {
    let entries = hybrid_entries(disk, table)?;
    let is_known = |place: &Extent| table.partitions.iter().any(|it| it.extent == *place);
    let places = entries.into_iter().map(|(place, _)| place);
    Ok(places.filter(|place| !is_known(place)).collect())
}

/// The hybrid entries with the types of their partitions.
///
/// # Errors
/// As [`hybrid_extents`].
pub(crate) fn hybrid_entries(disk: &dyn ReadAt, table: &Table) -> Result<Vec<(Extent, u8)>> {
    let sectors = Sectors::of(disk.geometry(), table.logical_sector_bytes);
    let Some(sectors) = sectors.filter(|_| table.scheme == Scheme::Gpt) else {
        return Ok(Vec::new());
    };
    let BootSector::Record(record) = BootSector::read(disk, sectors)? else {
        return Ok(Vec::new());
    };
    let listed = used_entries(&record).into_iter();
    // One from sector 1 is a protective entry of a wrong type.
    let own = listed.filter(|(_, entry)| entry.sys != PROTECTIVE_TYPE && entry.starting_lba > 1);
    let places = own.filter_map(|(_, entry)| {
        let place = sectors.run(u64::from(entry.starting_lba), u64::from(entry.sectors))?;
        Some((place, entry.sys))
    });
    Ok(places.collect())
}

fn mbr(disk: &dyn ReadAt, table: &Table, sectors: Sectors) -> Result<ExtentMap> {
    if !matches!(BootSector::read(disk, sectors)?, BootSector::Record(_)) {
        return Err(Error::Invalid("the disk has no MBR any more".to_owned()));
    }
    let mut extents: Vec<Extent> = sectors.run(0, 1).into_iter().collect();
    if let Some(extended) = sole_extended(&table.partitions)? {
        let chain = chain::read(disk, sectors, extended.extent)?;
        extents.extend(
            chain
                .record_lbas
                .iter()
                .filter_map(|&lba| sectors.run(lba, 1)),
        );
    }
    Ok(extents.into_iter().collect())
}
