//! The entries of a GPT's array, edited: an entry that stays keeps its bytes, and of one that
//! changes only the changed fields are written.

use super::{Tables, put};
use crate::error::{Error, Result};
use crate::table::sectors::Sectors;
use crate::table::write::gpt::entry_bytes;
use crate::table::{Partition, Table};

/// Edits `array` from the partitions of the current table to those of the wanted one.
///
/// # Errors
/// [`Error::Invalid`] when an entry can't be made.
pub(super) fn edit(array: &mut [u8], tables: Tables<'_>, sectors: Sectors) -> Result<()> {
    let Tables { current, wanted } = tables;
    let len = usize::try_from(wanted.entry_bytes)
        .map_err(|_| Error::Invalid("the partition entries are too large".to_owned()))?;
    let of = |table: &Table, number: u32| {
        let mut partitions = table.partitions.iter();
        partitions.find(|it| it.number == number).cloned()
    };
    for (number, entry) in (1..).zip(array.chunks_exact_mut(len.max(1))) {
        match (of(current, number), of(wanted, number)) {
            (old, Some(new)) if old.as_ref() == Some(&new) => {}
            // An entry that is not in use is left alone, too.
            (None, None) => {}
            (Some(_), None) => entry.fill(0),
            (Some(old), Some(new)) if old.guid == new.guid => {
                fields(entry, &old, &new, &entry_bytes(&new, sectors)?);
            }
            (_, Some(new)) => {
                entry.fill(0);
                put(entry, 0, &entry_bytes(&new, sectors)?);
            }
        }
    }
    Ok(())
}

/// The fields of a partition that is the same one (UEFI specification, table 5-6).
fn fields(entry: &mut [u8], old: &Partition, new: &Partition, made: &[u8]) {
    let is_place_new = old.extent != new.extent;
    let changes = [
        (0..16, old.partition_type != new.partition_type),
        (32..48, is_place_new),
        (48..56, old.attributes != new.attributes),
        (56..128, old.name != new.name),
    ];
    for (field, _) in changes.into_iter().filter(|(_, is_new)| *is_new) {
        if let Some(bytes) = made.get(field.clone()) {
            put(entry, field.start, bytes);
        }
    }
}
