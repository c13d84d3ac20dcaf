//! What of a disk is in no partition, so that clones of its partitions don't carry it.
//!
//! Reading all of it would take as long as to copy it, so it is looked at where things begin and end:
//! the first 16 MiB of the disk, the first and last mebibyte of each room, and 4 KiB at 64 places of it.

use super::usage::outside_of;
use crate::bytes::is_zero;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::outside::{disk_start, edges};
use crate::table::Table;
use serde::Serialize;

const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4 << 10;
const READ_BYTES: u64 = 1 << 20;
/// Of more rooms than these, those that come later are not looked at.
const ROOMS_MAX: usize = 256;

/// The room of a disk that is in no partition, and not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unassigned {
    /// How much room that is.
    pub room_bytes: u64,
    /// The first place where something else than zero was seen.
    pub first_bytes: u64,
}

/// Looks for data in no partition from `from_bytes` on; `None` when none were seen.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Corrupt`] when the chain of logical
/// partitions can't be followed.
pub fn unassigned(disk: &dyn ReadAt, table: &Table, from_bytes: u64) -> Result<Option<Unassigned>> {
    let (_, room) = outside_of(disk, table)?;
    let room = room.difference(&ExtentMap::whole(from_bytes));
    let windows = edges(&room).union(&disk_start(&room));
    let samples = room.iter().take(ROOMS_MAX).flat_map(samples);
    let windows = windows.union(&samples.collect()).intersection(&room);
    for window in windows.iter().take(ROOMS_MAX * SAMPLES as usize) {
        // Holes of a sparse file are known to be zero.
        let data = disk.data(window)?;
        for piece in data.iter().flat_map(|extent| extent.split(READ_BYTES)) {
            // At most READ_BYTES.
            let len = usize::try_from(piece.len_bytes()).unwrap_or(0);
            let bytes = read_vec(disk, piece.offset_bytes(), len)?;
            if is_zero(&bytes) {
                continue;
            }
            let at = bytes.iter().position(|&byte| byte != 0).unwrap_or(0) as u64;
            return Ok(Some(Unassigned {
                room_bytes: room.total_bytes(),
                first_bytes: piece.offset_bytes().saturating_add(at),
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
