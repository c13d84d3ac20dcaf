//! The end of a volume or a disk that a smaller target has no room for: whether anything of it is in
//! use, and what of it nothing proves free.

use super::DiskLayout;
use crate::bytes::{be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Basis, Kind, Usage};
use crate::table::{self, Finding, Partition, Scheme, Table};

/// Length of the footer of a virtual hard disk (Virtual Hard Disk Image Format Specification,
/// "Hard Disk Footer Format").
const FOOTER_BYTES: u64 = 512;

/// The end of a source that its target has no room for. All of it is free, or not proven to be in use.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Where the target ends.
    pub target_bytes: u64,
    /// The bytes of the end that nothing proves free, at offsets of the source.
    pub rest: Usage,
    /// How much nothing proves free before that end.
    pub unproven_bytes: u64,
}

/// Something that is in use and ends behind the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overrun {
    /// All of the source: nothing of it is proven free, for this reason.
    Whole {
        /// Why.
        reason: String,
        /// Where what must be copied ends.
        end_bytes: u64,
    },
    /// The filesystem of a volume.
    Filesystem {
        /// What it is.
        kind: Kind,
        /// Where it ends.
        end_bytes: u64,
    },
    /// What is in use by other proof.
    Used {
        /// Where it ends.
        end_bytes: u64,
    },
    /// A partition of a disk.
    Partition {
        /// Its number.
        number: u32,
        /// Where it ends.
        end_bytes: u64,
        /// The smallest disk that has room for it and for the table.
        least_bytes: u64,
    },
}

impl Overrun {
    /// The smallest target that has room for it.
    #[must_use]
    pub const fn least_bytes(&self) -> u64 {
        match self {
            Self::Whole { end_bytes, .. }
            | Self::Filesystem { end_bytes, .. }
            | Self::Used { end_bytes } => *end_bytes,
            Self::Partition { least_bytes, .. } => *least_bytes,
        }
    }
}

/// Whether a source fits a smaller target.
#[derive(Clone, Debug)]
pub enum Fitting {
    /// What must be copied ends before the target does. This is cut off.
    Fits(Box<Cut>),
    /// Something in use ends behind the target.
    Overruns(Overrun),
}

/// What a target of `target_bytes` cuts off of a volume. `usage` says what of the volume is in use.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn cut_of_volume(volume: &dyn ReadAt, usage: &Usage, target_bytes: u64) -> Result<Fitting> {
    let size_bytes = volume.geometry().size_bytes;
    let end_bytes = match usage.end_bytes(size_bytes) {
        Some(end_bytes) => end_bytes,
        None => end_without_footer(volume)?,
    };
    if end_bytes > target_bytes {
        let kind = usage.summary.as_ref().map(|summary| summary.kind);
        return Ok(Fitting::Overruns(match (&usage.basis, kind) {
            (Basis::Map, Some(kind)) => Overrun::Filesystem { kind, end_bytes },
            (Basis::Map, None) => Overrun::Used { end_bytes },
            (Basis::Whole { reason, .. } | Basis::Contained { reason }, _) => Overrun::Whole {
                reason: reason.clone(),
                end_bytes,
            },
        }));
    }
    Ok(split(usage, size_bytes, target_bytes, target_bytes))
}

/// What a target of `target_bytes` cuts off of a disk. `usage` says what of the disk is in use. No partition
/// is cut off, nor anything else that is known to be in use.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn cut_of_disk(
    disk: &dyn ReadAt,
    layout: &DiskLayout,
    mut usage: Usage,
    target_bytes: u64,
) -> Result<Fitting> {
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &usage.basis {
        let end_bytes = end_without_footer(disk)?;
        if end_bytes > target_bytes {
            return Ok(Fitting::Overruns(Overrun::Whole {
                reason: reason.clone(),
                end_bytes,
            }));
        }
    }
    let table = layout.believed_table();
    let gpt = table.filter(|table| table.scheme == Scheme::Gpt);
    let structures = match gpt {
        Some(table) => table::raw_extents(disk, table)?,
        None => ExtentMap::new(),
    };
    let last = table.and_then(|table| Some((table, last_of(table)?)));
    if let Some((table, last)) = last.filter(|(_, last)| last.extent.end_bytes() > target_bytes) {
        let end_bytes = last.extent.end_bytes();
        return Ok(Fitting::Overruns(Overrun::Partition {
            number: last.number,
            end_bytes,
            least_bytes: table.least_bytes(end_bytes),
        }));
    }
    let end_bytes = usage.used().difference(&structures).end_bytes();
    if usage.basis == Basis::Map && end_bytes > target_bytes {
        return Ok(Fitting::Overruns(Overrun::Used { end_bytes }));
    }
    let backup = idle_backup(disk, layout, &structures)?;
    usage.unproven = usage.unproven.union(&structures).difference(&backup);
    // The new backup takes the place of what is there on the source.
    let moved = gpt.and_then(|table| table::relocated(table, target_bytes).ok());
    let kept_bytes = moved.map_or(target_bytes, |moved| moved.usable.end_bytes());
    let size_bytes = disk.geometry().size_bytes;
    Ok(split(&usage, size_bytes, target_bytes, kept_bytes))
}

/// A source of `size_bytes` of which the target keeps the first `kept_bytes`.
fn split(usage: &Usage, size_bytes: u64, target_bytes: u64, kept_bytes: u64) -> Fitting {
    let kept = usage.within(Extent::new(0, kept_bytes));
    Fitting::Fits(Box::new(Cut {
        target_bytes,
        rest: usage.within(Extent::between(kept_bytes, size_bytes)),
        unproven_bytes: kept.unproven.total_bytes(),
    }))
}

fn last_of(table: &Table) -> Option<&Partition> {
    let partitions = table.partitions.iter();
    partitions.max_by_key(|partition| partition.extent.end_bytes())
}

/// The part of a GPT's `structures` that nobody needs of a disk whose end is cut off: the backup, which
/// is made anew at the end of the target. Where there is none, something else may lie.
fn idle_backup(
    disk: &dyn ReadAt,
    layout: &DiskLayout,
    structures: &ExtentMap,
) -> Result<ExtentMap> {
    let is_damaged = |finding: &Finding| matches!(finding, Finding::BackupDamaged(_));
    let table = layout.believed_table();
    let Some(table) = table.filter(|_| !layout.findings.iter().any(is_damaged)) else {
        return Ok(ExtentMap::new());
    };
    // The last sector is a place for a backup also when that is elsewhere.
    let sector_bytes = u64::from(table.logical_sector_bytes);
    let sectors = disk.geometry().size_bytes.checked_div(sector_bytes);
    let last = sectors.unwrap_or(0).saturating_sub(1);
    let last_bytes = last.saturating_mul(sector_bytes);
    let is_backup = read_vec(disk, last_bytes, 8)? == b"EFI PART";
    let last: ExtentMap = Extent::new(last_bytes, sector_bytes).into_iter().collect();
    Ok(if is_backup {
        structures.clone()
    } else {
        structures.difference(&last)
    })
}

/// Where `device` may have data in `extents`: no hole of a sparse file, and no footer of a virtual disk.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn data_in(device: &dyn ReadAt, extents: &ExtentMap) -> Result<ExtentMap> {
    let mut data = ExtentMap::new();
    for extent in extents.iter() {
        data = data.union(&device.data(extent)?);
    }
    let disk = ExtentMap::whole(end_without_footer(device)?);
    Ok(data.intersection(extents).intersection(&disk))
}

/// Where a device ends, without the footer of a virtual hard disk of fixed size, which is no part of
/// the disk: cookie, current size, disk type and checksum are as the specification says.
fn end_without_footer(device: &dyn ReadAt) -> Result<u64> {
    let size_bytes = device.geometry().size_bytes;
    let Some(start_bytes) = size_bytes.checked_sub(FOOTER_BYTES) else {
        return Ok(size_bytes);
    };
    let footer = read_vec(device, start_bytes, FOOTER_BYTES as usize)?;
    let sum = footer
        .iter()
        .enumerate()
        .filter(|(at, _)| !(64..68).contains(at))
        .fold(0_u32, |sum, (_, &byte)| sum.wrapping_add(byte.into()));
    // 2 is a fixed hard disk.
    let is_footer = footer.starts_with(b"conectix")
        && be64(&footer, 48) == start_bytes
        && be32(&footer, 60) == 2
        && be32(&footer, 64) == !sum;
    Ok(if is_footer { start_bytes } else { size_bytes })
}

#[cfg(test)]
mod tests;
