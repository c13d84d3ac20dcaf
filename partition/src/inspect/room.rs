//! The room of a drive that nothing claims: for what is kept there for a while.

use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::table::{Table, hybrid_extents, raw_extents};

/// What lies before the first and after the last place for partitions: tables, boot code.
const TABLE_ROOM_BYTES: u64 = 1 << 20;

/// What of a drive lies between the first and the last MiB, where partitions may lie, and belongs to no
/// partition and no table.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Corrupt`] when the chain of logical
/// partitions can't be followed.
pub fn room(drive: &dyn ReadAt, table: &Table) -> Result<ExtentMap> {
    let partitions: ExtentMap = table.partitions.iter().map(|part| part.extent).collect();
    // Tables may have parts of theirs far from both ends: moved entries, the backup of a disk that
    // has grown.
    let taken = partitions
        .union(&raw_extents(drive, table)?)
        .union(&hybrid_extents(drive, table)?);
    let end_bytes = drive.geometry().size_bytes.saturating_sub(TABLE_ROOM_BYTES);
    let between: ExtentMap = Extent::between(TABLE_ROOM_BYTES, end_bytes)
        .and_then(|between| between.intersection(table.usable))
        .into_iter()
        .collect();
    Ok(between.difference(&taken))
}
