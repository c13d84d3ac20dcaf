//! The chain of extended boot records, edited: records stay where they are, with their boot code
//! and what else is in them; new ones are added at its end.

use super::entry::{Change, Entry};
use super::record::{ENTRIES, ENTRY_LEN};
use super::steps::Steps;
use super::{Tables, entry, put};
use crate::bytes::{le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::table::mbr::{chain, is_extended, sole_extended};
use crate::table::sectors::Sectors;
use crate::table::write::mbr::{free_sector, link_bytes, new_chain};
use crate::table::{Partition, Table};

/// Edits the chain from the logical partitions of the current table to those of the wanted one.
///
/// The chain is laid out from scratch when one of its partitions moves or goes, or when a record
/// would lie in a new partition.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Invalid`] when there is no sector
/// for the record of a new partition.
pub(super) fn edit(
    steps: &mut Steps<'_>,
    disk: &dyn ReadAt,
    sectors: Sectors,
    tables: Tables<'_>,
) -> Result<()> {
    let Tables { current, wanted } = tables;
    let Some(extended) = sole_extended(&wanted.partitions)? else {
        return Ok(());
    };
    let before = sole_extended(&current.partitions)?;
    let start = |it: &Partition| it.extent.offset_bytes();
    if before.map(start) == Some(start(extended)) {
        let extent = before.map_or(extended.extent, |before| before.extent);
        let mut chain = Chain::read(disk, sectors, extent)?;
        if chain.change(extended.extent, &logical(current), &logical(wanted))? {
            chain.write(steps);
            return Ok(());
        }
    }
    for (lba, sector) in new_chain(wanted, sectors, extended.extent)? {
        steps.write(sectors.offset_bytes(lba), sector);
    }
    steps.sync();
    Ok(())
}

fn logical(table: &Table) -> Vec<Partition> {
    let mut logical: Vec<Partition> = table.partitions.clone();
    logical.retain(|it| it.number > 4);
    logical.sort_unstable_by_key(|it| it.number);
    logical
}

/// A record, as its sector.
struct Record {
    lba: u64,
    sector: Vec<u8>,
    is_new: bool,
}

impl Record {
    /// Where the entry of its partition is, or of its link; `None` when it has none.
    fn entry(&self, is_link: bool) -> Option<usize> {
        [ENTRIES, ENTRIES + ENTRY_LEN].into_iter().find(|&at| {
            let (kind, count) = (u8_at(&self.sector, at + 4), le32(&self.sector, at + 12));
            kind != 0 && count != 0 && is_extended(kind) == is_link
        })
    }

    /// Where the entry of a link goes: the one beside the partition's.
    fn place_of_link(&self) -> usize {
        match self.entry(false) {
            Some(at) if at != ENTRIES => ENTRIES,
            _ => ENTRIES + ENTRY_LEN,
        }
    }
}

struct Chain {
    sectors: Sectors,
    head_lba: u64,
    records: Vec<Record>,
}

impl Chain {
    fn read(disk: &dyn ReadAt, sectors: Sectors, extended: Extent) -> Result<Self> {
        let found = chain::read(disk, sectors, extended)?;
        let mut records = Vec::new();
        for lba in found.record_lbas {
            let sector = read_vec(disk, sectors.offset_bytes(lba), sectors.len())?;
            records.push(Record {
                lba,
                sector,
                is_new: false,
            });
        }
        Ok(Self {
            sectors,
            head_lba: sectors.lba(extended.offset_bytes()),
            records,
        })
    }

    /// Makes the change in memory; `false` when it takes another chain.
    fn change(&mut self, extended: Extent, old: &[Partition], new: &[Partition]) -> Result<bool> {
        let is_kept = new.len() >= old.len()
            && old
                .iter()
                .zip(new)
                .all(|(old, new)| old.extent == new.extent);
        let own = self.records.iter();
        let own: ExtentMap = own
            .filter_map(|record| self.sectors.run(record.lba, 1))
            .collect();
        let is_clear = new.iter().all(|partition| !own.overlaps(partition.extent));
        if !is_kept || !is_clear {
            return Ok(false);
        }
        let with_entry = (self.records.iter_mut())
            .filter_map(|record| record.entry(false).map(|at| (at, record)));
        for ((at, record), (old, new)) in with_entry.zip(old.iter().zip(new)) {
            let change = Change {
                old: Some(old),
                new: Some(new),
            };
            let entry = Entry {
                sector: &mut record.sector,
                at,
                base_lba: record.lba,
            };
            entry::edit(entry, change, self.sectors)?;
        }
        let extents = new.iter().map(|it| it.extent);
        let mut occupied = own.union(&extents.collect());
        for partition in new.iter().skip(old.len()) {
            let record = self.add(partition, extended, &occupied)?;
            occupied = occupied.union(&record.into_iter().collect());
        }
        Ok(true)
    }

    /// Adds a partition at the chain's end, and says where its record is.
    fn add(
        &mut self,
        partition: &Partition,
        extended: Extent,
        occupied: &ExtentMap,
    ) -> Result<Option<Extent>> {
        let sectors = self.sectors;
        let made = Change {
            old: None,
            new: Some(partition),
        };
        let is_first = self.records.len() == 1;
        if let Some(head) = self.records.first_mut()
            && is_first
            && head.entry(false).is_none()
        {
            // An empty extended partition has a record without entries, or none.
            let entry = Entry {
                sector: &mut head.sector,
                at: ENTRIES,
                base_lba: head.lba,
            };
            entry::edit(entry, made, sectors)?;
            put(&mut head.sector, 510, &[0x55, 0xaa]);
            return Ok(None);
        }
        let lba = free_sector(partition, sectors, extended, occupied)?;
        let mut sector = vec![0; sectors.len()];
        let entry = Entry {
            sector: &mut sector,
            at: ENTRIES,
            base_lba: lba,
        };
        entry::edit(entry, made, sectors)?;
        put(&mut sector, 510, &[0x55, 0xaa]);
        if let Some(last) = self.records.last_mut() {
            let link = link_bytes(lba, partition, self.head_lba, sectors)?;
            let at = last.place_of_link();
            put(&mut last.sector, at, &link);
        }
        self.records.push(Record {
            lba,
            sector,
            is_new: true,
        });
        Ok(sectors.run(lba, 1))
    }

    /// New records first: the chain that is there reaches them when they are durable.
    fn write(self, steps: &mut Steps<'_>) {
        for is_new in [true, false] {
            for record in self.records.iter().filter(|record| record.is_new == is_new) {
                let offset_bytes = self.sectors.offset_bytes(record.lba);
                steps.write(offset_bytes, record.sector.clone());
            }
            steps.sync();
        }
    }
}
