//! What a disk has outside of its partitions: boot code, a loader, and other data.

use crate::named::open::OpenPlace;
use anyhow::Result;
use klon_partition::device::read_vec;
use klon_partition::inspect::{DiskLayout, Unassigned, first_unassigned, unassigned};
use klon_partition::outside::first_set;
use klon_partition::planner::{
    BOOT_CODE_BYTES, LOADER_BYTES_MAX, LOADER_END_BYTES, Loader, Original,
};
use klon_partition::table::{Scheme, Table};
use klon_partition::{Extent, ExtentMap, Identity};

/// Whether a disk has boot code in its first sector.
///
/// # Errors
/// When it can't be read.
pub fn has_code(open: &OpenPlace) -> Result<bool> {
    Ok(!boot_code(open)?.is_empty())
}

/// Boot code in the first sector of a disk, without the zeroes at its end.
fn boot_code(open: &OpenPlace) -> Result<Vec<u8>> {
    if !open.is_disk() {
        return Ok(Vec::new());
    }
    let mut code = read_vec(&*open.device, 0, BOOT_CODE_BYTES)?;
    let len = code.iter().rposition(|&byte| byte != 0);
    code.truncate(len.map_or(0, |last| last.saturating_add(1)));
    Ok(code)
}

/// The disk of a source: its table, and the boot loader as far as it lies outside of partitions. If the source
/// is one partition, only the table of its disk is known.
///
/// # Errors
/// When it can't be read.
pub fn original(
    open: &OpenPlace,
    identity: Identity,
    layout: &DiskLayout,
) -> Result<Option<Original>> {
    let Some(table) = layout.believed_table() else {
        return Ok(None);
    };
    let gap = gap(table).filter(|_| open.is_disk());
    let first = match gap {
        Some(gap) => first_set(&*open.device, gap)?,
        None => None,
    };
    let loader = match (gap, first) {
        (Some(gap), Some(first_bytes)) => loader(open, gap, first_bytes)?,
        _ => None,
    };
    Ok(Some(Original {
        boot_code: boot_code(open)?,
        has_loader_in_gap: first.is_some(),
        loader,
        ..Original::new(identity, layout.geometry.size_bytes, table)
    }))
}

/// What is between the table and the first partition, where loaders have their second part.
fn gap(table: &Table) -> Option<Extent> {
    let partitions = table.partitions.iter();
    let first_bytes = partitions.map(|one| one.extent.offset_bytes()).min();
    let start_bytes = match table.scheme {
        Scheme::Gpt => table.usable.offset_bytes(),
        Scheme::Mbr => u64::from(table.logical_sector_bytes),
    };
    Extent::between(start_bytes, first_bytes.unwrap_or(0).min(LOADER_END_BYTES))
}

/// The loader in a gap: whole sectors, from the first byte that is not zero (`first_bytes`) to the last. `None`
/// when a plan has no room for it.
fn loader(open: &OpenPlace, gap: Extent, first_bytes: u64) -> Result<Option<Loader>> {
    let bytes = read_vec(
        &*open.device,
        gap.offset_bytes(),
        usize::try_from(gap.len_bytes())?,
    )?;
    let sector = usize::try_from(open.device.geometry().logical_sector_bytes)?;
    let skipped =
        usize::try_from(first_bytes.saturating_sub(gap.offset_bytes()))? / sector * sector;
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
    let end = last
        .saturating_add(1)
        .next_multiple_of(sector)
        .min(bytes.len());
    let found = bytes.get(skipped..end).unwrap_or_default();
    if found.is_empty() || found.len() > LOADER_BYTES_MAX {
        return Ok(None);
    }
    Ok(Some(Loader {
        start_bytes: gap.offset_bytes().saturating_add(skipped as u64),
        bytes: found.to_vec(),
    }))
}

/// Data of a disk in no partition; boot code at its start is told by itself.
///
/// # Errors
/// When it can't be read.
pub fn data_outside(open: &OpenPlace) -> Result<Option<Unassigned>> {
    let from_bytes = if has_code(open)? { LOADER_END_BYTES } else { 0 };
    match open.layout.table.as_ref().filter(|_| open.is_disk()) {
        Some(table) => Ok(unassigned(&*open.device, table, from_bytes)?),
        None => Ok(None),
    }
}

/// Data outside of all partitions that `original` does not carry. Reads all bytes outside of partitions.
///
/// # Errors
/// When it can't be read.
pub fn not_carried(open: &OpenPlace, original: &Original) -> Result<Option<Unassigned>> {
    let loader = original.loader.as_ref();
    let loader = loader.and_then(|it| Extent::new(it.start_bytes, it.bytes.len() as u64));
    let carried: ExtentMap = loader.into_iter().collect();
    match open.layout.table.as_ref().filter(|_| open.is_disk()) {
        Some(table) => Ok(first_unassigned(&*open.device, table, &carried)?),
        None => Ok(None),
    }
}
