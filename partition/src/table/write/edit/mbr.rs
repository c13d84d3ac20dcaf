//! An MBR, edited: the record's bytes stay but those of entries that change.

use super::record::{ENTRIES, ENTRY_LEN};
use super::steps::Steps;
use super::{chain, put};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::table::sectors::Sectors;
use crate::table::write::Rewrite;
use crate::table::write::mbr::entry_bytes;
use crate::table::{Partition, Table};

/// See [`super::plan`].
///
/// # Errors
/// As [`Rewrite::plan`].
pub(super) fn plan(
    disk: &dyn ReadAt,
    sectors: Sectors,
    tables: (&Table, &Table),
) -> Result<Rewrite> {
    let mut steps = Steps::new(disk);
    chain::edit(&mut steps, disk, sectors, tables)?;
    let mut sector = read_vec(disk, 0, sectors.len())?;
    for (slot, number) in (1..=4).enumerate() {
        let of = |table: &Table| {
            let mut partitions = table.partitions.iter();
            partitions.find(|it| it.number == number).cloned()
        };
        let at = ENTRIES + slot * ENTRY_LEN;
        let change = (of(tables.0), of(tables.1));
        entry(
            &mut sector,
            at,
            (change.0.as_ref(), change.1.as_ref()),
            0,
            sectors,
        )?;
    }
    steps.write(0, sector);
    steps.sync();
    Ok(Rewrite {
        steps: steps.finish(),
        moved: Vec::new(),
        covered: ExtentMap::new(),
    })
}

/// Edits the entry at `at`, counted from sector `base_lba`, from the first partition to the
/// second. One that is not in use before and after is left alone.
///
/// # Errors
/// [`crate::Error::Invalid`] when the partition is beyond what an entry can count.
pub(super) fn entry(
    sector: &mut [u8],
    at: usize,
    change: (Option<&Partition>, Option<&Partition>),
    base_lba: u64,
    sectors: Sectors,
) -> Result<()> {
    match change {
        (old, Some(new)) => {
            let made = entry_bytes(new, base_lba, sectors)?;
            let is_new = |of: fn(&Partition) -> (u64, u64, bool)| old.map(of) != Some(of(new));
            let place = |it: &Partition| (it.extent.offset_bytes(), it.extent.len_bytes(), false);
            let fields = [
                (0..1, is_new(|it| (0, 0, it.is_bootable))),
                (1..4, is_new(place)),
                (
                    4..5,
                    old.map(|it| it.partition_type) != Some(new.partition_type),
                ),
                (5..16, is_new(place)),
            ];
            for (field, _) in fields.into_iter().filter(|(_, is_new)| *is_new) {
                let start = at.saturating_add(field.start);
                put(sector, start, made.get(field).unwrap_or_default());
            }
        }
        (Some(_), None) => put(sector, at, &[0; ENTRY_LEN]),
        (None, None) => {}
    }
    Ok(())
}
