//! Logical partitions: a chain of extended boot records inside the extended partition.
//!
//! Each record (EBR) has one entry for its logical partition, counted from the record, and one
//! link to the next record, counted from the extended partition. Followed by hand: `mbrman`
//! wants ascending records, which tools do not keep when partitions are deleted and added
//! again, takes a loop for an end, and adds sector numbers without a check.

use super::{is_extended, overlap_error, partition};
use crate::bytes::is_zero;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::table::Partition;
use crate::table::boot::{RECORD_BYTES, record};
use crate::table::overlap::overlap;
use crate::table::sectors::Sectors;
use mbrman::{MBRHeader, MBRPartitionEntry};

const STRUCTURE: &str = "extended boot record";

/// The most records followed; Linux stops at 256 partitions.
pub(in crate::table) const RECORDS_MAX: usize = 1024;

/// The chain of an extended partition.
#[derive(Debug, Default)]
pub(in crate::table) struct Chain {
    /// The logical partitions, numbered from 5 in the chain's order. Records without one, as
    /// after deleting the first, have no number.
    pub(in crate::table) partitions: Vec<Partition>,
    /// Where the records are.
    pub(in crate::table) record_lbas: Vec<u64>,
    /// Records that have a partition.
    entries_count: u32,
    /// What is wrong with the first partition that is not inside of the extended one.
    misplaced: Option<Corrupt>,
}

/// What one record says: its logical partition and the link to the next record.
type Entries = (Option<MBRPartitionEntry>, Option<MBRPartitionEntry>);

/// Follows the chain that starts with the partition `extended`.
///
/// # Errors
/// [`Error::Corrupt`] for loops, records or partitions outside the extended partition, overlap,
/// and records without their signature; [`Error::Io`] when the device fails.
pub(in crate::table) fn read(
    disk: &dyn ReadAt,
    sectors: Sectors,
    extended: Extent,
) -> Result<Chain> {
    let mut chain = Chain::default();
    chain.follow(disk, sectors, extended)?;
    if let Some(error) = chain.misplaced.take() {
        return Err(error.into());
    }
    chain.check_overlap(sectors)?;
    Ok(chain)
}

/// What can be told of a chain that [`read`] refuses: the logical partitions inside of the extended
/// one, up to the record from which it can't be followed.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(in crate::table) fn readable(
    disk: &dyn ReadAt,
    sectors: Sectors,
    extended: Extent,
) -> Result<Chain> {
    let mut chain = Chain::default();
    match chain.follow(disk, sectors, extended) {
        Err(error @ Error::Io { .. }) => Err(error),
        _ => Ok(chain),
    }
}

impl Chain {
    /// Goes from record to record.
    fn follow(&mut self, disk: &dyn ReadAt, sectors: Sectors, extended: Extent) -> Result<()> {
        let head_lba = sectors.lba(extended.offset_bytes());
        let mut next_lba = Some(head_lba);
        while let Some(lba) = next_lba {
            self.visit(sectors, extended, lba)?;
            let Some(record) = read_record(disk, sectors, lba, lba == head_lba)? else {
                break;
            };
            let (data, link) = entries(&record, sectors.offset_bytes(lba))?;
            if let Some(entry) = data {
                self.add(sectors, extended, &entry);
            }
            // Both numbers have 32 bits, so the sum fits.
            next_lba = link.map(|link| head_lba.saturating_add(u64::from(link.starting_lba)));
        }
        Ok(())
    }

    /// Notes the record at `lba`, which must be new and inside the extended partition.
    fn visit(&mut self, sectors: Sectors, extended: Extent, lba: u64) -> Result<()> {
        let offset_bytes = sectors.offset_bytes(lba);
        let from = self
            .record_lbas
            .last()
            .map_or(0, |&lba| sectors.offset_bytes(lba));
        let is_inside = sectors
            .run(lba, 1)
            .is_some_and(|sector| extended.contains(sector));
        if !is_inside {
            let expected = format!("a record inside the extended partition {extended}");
            let found = format!("a link to byte {offset_bytes:#x}");
            return Err(Corrupt::new(STRUCTURE, "link entry", from, expected, found).into());
        }
        if self.record_lbas.contains(&lba) {
            let found = format!("a link back to byte {offset_bytes:#x}: a loop");
            let expected = "a record that was not visited yet";
            return Err(Corrupt::new(STRUCTURE, "link entry", from, expected, found).into());
        }
        if self.record_lbas.len() >= RECORDS_MAX {
            return Err(Error::unsupported(
                format!("a chain of more than {RECORDS_MAX} logical partitions"),
                "no system handles so many",
            ));
        }
        self.record_lbas.push(lba);
        Ok(())
    }

    /// Adds the partition of the record visited last; one that is misplaced has a number too, as
    /// for Linux.
    fn add(&mut self, sectors: Sectors, extended: Extent, entry: &MBRPartitionEntry) {
        let record_lba = self.record_lbas.last().copied().unwrap_or(0);
        let lba = record_lba.saturating_add(u64::from(entry.starting_lba));
        // At most RECORDS_MAX.
        let number = self.entries_count.saturating_add(5);
        self.entries_count = self.entries_count.saturating_add(1);
        let found = partition(number, entry, lba, sectors);
        match found.filter(|logical| extended.contains(logical.extent)) {
            Some(found) => self.partitions.push(found),
            None if self.misplaced.is_some() => {}
            None => {
                let expected =
                    format!("partition {number}: inside the extended partition {extended}");
                let found = format!("{} sectors from sector {lba}", entry.sectors);
                let at = sectors.offset_bytes(record_lba);
                let field = "partition entry";
                self.misplaced = Some(Corrupt::new(STRUCTURE, field, at, expected, found));
            }
        }
    }

    /// Neither partitions nor records may lie on one another.
    fn check_overlap(&self, sectors: Sectors) -> Result<()> {
        let records = self
            .record_lbas
            .iter()
            .filter_map(|&lba| Some((0, sectors.run(lba, 1)?)));
        let partitions = self.partitions.iter().map(|it| (it.number, it.extent));
        overlap(partitions.chain(records)).map_or(Ok(()), |pair| {
            Err(overlap_error(STRUCTURE, pair, sectors).into())
        })
    }
}

/// The record at `lba`; `None` when the extended partition is empty and its first sector was
/// never written.
fn read_record(
    disk: &dyn ReadAt,
    sectors: Sectors,
    lba: u64,
    is_head: bool,
) -> Result<Option<MBRHeader>> {
    let offset_bytes = sectors.offset_bytes(lba);
    let mut bytes = read_vec(disk, offset_bytes, RECORD_BYTES)?;
    if is_head && is_zero(&bytes) {
        return Ok(None);
    }
    // Entries 3 and 4 are unused by definition, and old tools leave garbage there.
    if let Some(unused) = bytes.get_mut(478..510) {
        unused.fill(0);
    }
    let found = record(&bytes).ok_or_else(|| {
        let expected = "55 aa at its end and boot indicators 00 or 80";
        let found = bytes
            .get(510..)
            .unwrap_or_default()
            .escape_ascii()
            .to_string();
        Corrupt::new(STRUCTURE, "signature", offset_bytes, expected, found)
    })?;
    Ok(Some(found))
}

/// Tells the partition from the link, which some tools write in the other order.
fn entries(record: &MBRHeader, offset_bytes: u64) -> Result<Entries> {
    let mut found: Entries = (None, None);
    for entry in [&record.partition_1, &record.partition_2] {
        if entry.is_unused() || entry.sectors == 0 {
            continue;
        }
        let place = if is_extended(entry.sys) {
            &mut found.1
        } else {
            &mut found.0
        };
        if place.replace(entry.clone()).is_some() {
            let expected = "one partition and one link";
            let found = format!("two entries of type {:02x}", entry.sys);
            return Err(Corrupt::new(STRUCTURE, "entries", offset_bytes, expected, found).into());
        }
    }
    Ok(found)
}
