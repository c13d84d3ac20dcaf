//! Partitions that the MBR lists beside the GPT: they stay true, or the edit is refused.

use super::Tables;
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::table::boot::{BootSector, PROTECTIVE_TYPE, used_entries};
use crate::table::sectors::Sectors;
use crate::table::{Partition, Table};

/// Checks that no entry of the MBR on `origin` names a partition that goes or moves, room that a
/// new partition takes, or sectors that `sectors` has not.
///
/// # Errors
/// [`Error::Refused`] says which entry, and what to do; [`Error::Io`] when the device fails.
pub(super) fn check(origin: &dyn ReadAt, sectors: Sectors, tables: Tables<'_>) -> Result<()> {
    let BootSector::Record(record) = BootSector::read(origin, sectors)? else {
        return Ok(());
    };
    let Tables { current, wanted } = tables;
    for (number, entry) in used_entries(&record) {
        if entry.sys == PROTECTIVE_TYPE {
            continue;
        }
        let (lba, count) = (u64::from(entry.starting_lba), u64::from(entry.sectors));
        // One from sector 1 is a protective entry of a wrong type.
        let listed = sectors.run(lba, count).filter(|_| lba > 1);
        let problem = match listed {
            _ if lba <= 1 => None,
            None => Some("the entry would end behind the end of the disk".to_owned()),
            Some(listed) => changed(listed, current, wanted),
        };
        if let Some(problem) = problem {
            return Err(Error::Refused(format!(
                "the disk has a hybrid MBR, and its entry {number} (type {:02x}, {count} sectors \
                 from sector {lba}) can't be kept: {problem}. Change or remove the hybrid entries \
                 first (gdisk: x, then n makes a plain protective MBR)",
                entry.sys
            )));
        }
    }
    Ok(())
}

/// What of the partitions at `listed` changes.
fn changed(listed: Extent, current: &Table, wanted: &Table) -> Option<String> {
    let lost = |one: &Table, other: &Table| -> Option<u32> {
        let is_in = |part: &Partition| other.partitions.iter().any(|it| it.extent == part.extent);
        let mut there = one.partitions.iter();
        let found = there.find(|part| part.extent.overlaps(listed) && !is_in(part))?;
        Some(found.number)
    };
    let gone = lost(current, wanted)
        .map(|number| format!("partition {number} of the GPT lies there and changes"));
    gone.or_else(|| {
        let number = lost(wanted, current)?;
        Some(format!("the new partition {number} would lie on it"))
    })
}
