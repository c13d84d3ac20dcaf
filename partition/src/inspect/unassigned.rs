//! Bytes of a disk that are in no partition, so clones of its partitions don't carry them.
//!
//! Reading all of it would take as long as to copy it, so it is looked at where things begin and end:
//! the first 16 MiB of the disk, the first and last mebibyte of each room, and 4 KiB at 64 places of it.

use super::usage::outside_of;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::outside::{disk_start, edges, first_set};
use crate::table::Table;
use serde::Serialize;

const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4 << 10;
/// Gaps between partitions that are looked at; later ones are not.
const ROOMS_MAX: usize = 256;

/// Space of a disk that is in no partition, and not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unassigned {
    /// How much space that is.
    pub room_bytes: u64,
    /// The first place where something other than zero was seen.
    pub first_bytes: u64,
}

/// Looks for data in no partition from `from_bytes` on; `None` when none were seen.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Corrupt`] when the chain of logical
/// partitions can't be followed.
pub fn unassigned(disk: &dyn ReadAt, table: &Table, from_bytes: u64) -> Result<Option<Unassigned>> {
    let room = outside_of(disk, table)?.room;
    let room = room.difference(&ExtentMap::whole(from_bytes));
    let windows = edges(&room).union(&disk_start(&room));
    let samples = room.iter().take(ROOMS_MAX).flat_map(samples);
    let windows = windows.union(&samples.collect()).intersection(&room);
    for window in windows.iter().take(ROOMS_MAX * SAMPLES as usize) {
        if let Some(first_bytes) = first_set(disk, window)? {
            return Ok(Some(Unassigned {
                room_bytes: room.total_bytes(),
                first_bytes,
            }));
        }
    }
    Ok(None)
}

/// The first data in no partition that are not in `carried`; `None` when there are none. Reads all of that room.
///
/// # Errors
/// As of [`unassigned`].
pub fn first_unassigned(
    disk: &dyn ReadAt,
    table: &Table,
    carried: &ExtentMap,
) -> Result<Option<Unassigned>> {
    let room = outside_of(disk, table)?.room;
    for extent in room.difference(carried).iter() {
        if let Some(first_bytes) = first_set(disk, extent)? {
            return Ok(Some(Unassigned {
                room_bytes: room.total_bytes(),
                first_bytes,
            }));
        }
    }
    Ok(None)
}

fn samples(room: Extent) -> impl Iterator<Item = Extent> {
    let step_bytes = room.len_bytes() / SAMPLES;
    (1..SAMPLES).filter_map(move |index| {
        let offset_bytes = room.offset_bytes().checked_add(index * step_bytes)?;
        Extent::new(offset_bytes / SAMPLE_BYTES * SAMPLE_BYTES, SAMPLE_BYTES)
    })
}
