//! An entry of a boot record, edited: only fields that change are written.

use super::put;
use super::record::ENTRY_LEN;
use crate::error::Result;
use crate::table::Partition;
use crate::table::sectors::Sectors;
use crate::table::write::mbr::entry_bytes;

/// A partition before and after; `None` where its entry is not in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) old: Option<&'a Partition>,
    pub(super) new: Option<&'a Partition>,
}

/// An entry of a boot record.
pub(super) struct Entry<'a> {
    /// The sector that it is in, and where.
    pub(super) sector: &'a mut [u8],
    pub(super) at: usize,
    /// The sector from which it counts.
    pub(super) base_lba: u64,
}

/// Edits an entry. One that is not in use before and after is left alone.
///
/// # Errors
/// [`crate::Error::Invalid`] when the partition is beyond what an entry can count.
pub(super) fn edit(entry: Entry<'_>, change: Change<'_>, sectors: Sectors) -> Result<()> {
    let Entry {
        sector,
        at,
        base_lba,
    } = entry;
    let Some(new) = change.new else {
        if change.old.is_some() {
            put(sector, at, &[0; ENTRY_LEN]);
        }
        return Ok(());
    };
    let made = entry_bytes(new, base_lba, sectors)?;
    let differs = |is_same: fn(&Partition, &Partition) -> bool| {
        change.old.is_none_or(|old| !is_same(old, new))
    };
    let is_moved = differs(|old, new| old.extent == new.extent);
    let fields = [
        (0..1, differs(|old, new| old.is_bootable == new.is_bootable)),
        (1..4, is_moved),
        (
            4..5,
            differs(|old, new| old.partition_type == new.partition_type),
        ),
        (5..16, is_moved),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_new)| *is_new) {
        let start = at.saturating_add(field.start);
        put(sector, start, made.get(field).unwrap_or_default());
    }
    Ok(())
}
