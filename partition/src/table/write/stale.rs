//! GPT headers of an older table that the new one does not overwrite.
//!
//! A table in sectors of another size, or a GPT under a new MBR, would leave a second table that
//! other tools find first.

use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::table::guard::SIGNATURE;
use crate::table::{Found, Scheme, Table};

/// The sectors of headers that must go, without what the new table writes anyway.
///
/// A header inside a new partition is cleared only if the disk has a GPT now; otherwise these
/// bytes are that partition's.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn headers(
    disk: &dyn ReadAt,
    table: &Table,
    structures: &ExtentMap,
) -> Result<ExtentMap> {
    let size_bytes = disk.geometry().size_bytes;
    let mut found = Vec::new();
    for sector_bytes in [512, 4096_u64] {
        let last_bytes = (size_bytes / sector_bytes)
            .saturating_sub(1)
            .saturating_mul(sector_bytes);
        for offset_bytes in [sector_bytes, last_bytes] {
            if has_header(disk, offset_bytes)? {
                found.extend(Extent::new(offset_bytes, 512));
            }
        }
    }
    let unit_bytes = u64::from(table.logical_sector_bytes.max(512));
    let stale = found
        .into_iter()
        .collect::<ExtentMap>()
        .aligned_out(unit_bytes, size_bytes)
        .difference(structures);
    let is_outside = |extent: Extent| !table.partitions.iter().any(|it| it.extent.overlaps(extent));
    let is_gpt = stale.iter().any(|extent| !is_outside(extent)) && has_gpt(disk);
    Ok(stale
        .iter()
        .filter(|&extent| is_gpt || is_outside(extent))
        .collect())
}

fn has_header(disk: &dyn ReadAt, offset_bytes: u64) -> Result<bool> {
    let end_bytes = offset_bytes.saturating_add(512);
    if offset_bytes == 0 || end_bytes > disk.geometry().size_bytes {
        return Ok(false);
    }
    Ok(read_vec(disk, offset_bytes, SIGNATURE.len())? == SIGNATURE)
}

fn has_gpt(disk: &dyn ReadAt) -> bool {
    matches!(crate::table::read(disk), Ok(Found::Table(table, _)) if table.scheme == Scheme::Gpt)
}
