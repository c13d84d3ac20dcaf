//! An MBR, edited: only entries that change are written; the record's other bytes stay.

use super::entry::{Change, Entry};
use super::record::{ENTRIES, ENTRY_LEN};
use super::steps::Steps;
use super::{Tables, chain, entry};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::table::sectors::Sectors;
use crate::table::write::Rewrite;
use crate::table::{Partition, Table};

/// See [`super::plan`].
///
/// # Errors
/// As [`Rewrite::plan`].
pub(super) fn plan(disk: &dyn ReadAt, sectors: Sectors, tables: Tables<'_>) -> Result<Rewrite> {
    let mut steps = Steps::new(disk);
    chain::edit(&mut steps, disk, sectors, tables)?;
    let mut sector = read_vec(disk, 0, sectors.len())?;
    for (slot, number) in (1..=4).enumerate() {
        let at = ENTRIES + slot * ENTRY_LEN;
        let change = Change {
            old: numbered(tables.current, number),
            new: numbered(tables.wanted, number),
        };
        let entry = Entry {
            sector: &mut sector,
            at,
            base_lba: 0,
        };
        entry::edit(entry, change, sectors)?;
    }
    steps.write(0, sector);
    steps.sync();
    Ok(Rewrite {
        steps: steps.finish(),
        moved: Vec::new(),
        covered: ExtentMap::new(),
    })
}

fn numbered(table: &Table, number: u32) -> Option<&Partition> {
    let mut partitions = table.partitions.iter();
    partitions.find(|partition| partition.number == number)
}
