//! The table that is on the disk, edited: what does not have to change keeps its bytes.
//!
//! Boot loaders, firmware and other systems read bytes that a table in memory does not hold: boot
//! code, the flag of the protective entry, the entries of a hybrid MBR, the second half of large
//! GPT entries, what lies between the structures.

mod chain;
mod entries;
mod entry;
mod gpt;
mod hybrid;
mod mbr;
mod record;
mod steps;

use super::Rewrite;
use crate::device::{InSectors, ReadAt};
use crate::error::Result;
use crate::table::sectors::Sectors;
use crate::table::{Found, Scheme, Table, read};

/// The table on `origin`, if `table` is another state of it.
///
/// One that can't be read is none: it is replaced.
pub(super) fn same(origin: &dyn ReadAt, table: &Table) -> Option<Table> {
    // An MBR does not say which sectors it counts in; that it is in these was found out before.
    let sector_bytes = table.logical_sector_bytes;
    let is_other = origin.geometry().logical_sector_bytes != sector_bytes;
    let found = match (is_other, table.scheme) {
        (true, Scheme::Mbr) => read(&InSectors {
            disk: origin,
            sector_bytes,
        }),
        _ => read(origin),
    };
    let Ok(Found::Table(current, _)) = found else {
        return None;
    };
    let is_same = current.scheme == table.scheme
        && current.logical_sector_bytes == table.logical_sector_bytes
        && (current.slots_max, current.entry_bytes) == (table.slots_max, table.entry_bytes)
        && match table.scheme {
            Scheme::Gpt => current.disk_guid == table.disk_guid,
            Scheme::Mbr => current.disk_signature == table.disk_signature,
        };
    is_same.then_some(current)
}

/// What an edit is about: the table that is on the disk, and the one that shall be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables<'a> {
    pub(super) current: &'a Table,
    pub(super) wanted: &'a Table,
}

/// The steps from the current table, which `origin` holds, to the wanted one on `disk`, which was
/// validated.
///
/// # Errors
/// As [`Rewrite::plan`].
pub(super) fn plan(
    origin: &dyn ReadAt,
    disk: &dyn ReadAt,
    sectors: Sectors,
    tables: Tables<'_>,
) -> Result<Rewrite> {
    match tables.wanted.scheme {
        Scheme::Gpt => gpt::plan(origin, disk, sectors, tables),
        Scheme::Mbr => mbr::plan(disk, sectors, tables),
    }
}

/// Puts `bytes` at `at`; what does not fit is left out.
fn put(sector: &mut [u8], at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if let Some(field) = sector.get_mut(at..end) {
        field.copy_from_slice(bytes);
    }
}
