//! Bytes that nothing proves free: space in no partition, and what lies behind a filesystem's own end.
//! Which of them are copied is the user's choice.

use crate::bytes::is_zero;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much of the start of a volume or disk is copied whatever is in use there, and whatever the choice
/// is: signatures and boot loaders of the BIOS are there.
pub const FIRST_BYTES: u64 = 1 << 20;

/// Room up to this size is an edge as a whole, and so is this much at the start of a disk: boot
/// loaders embed themselves there.
const WHOLE_BYTES: u64 = 16 << 20;

/// Of larger room, its first and last mebibyte: extended boot records, RAID superblocks, footers.
const EDGE_BYTES: u64 = 1 << 20;

/// What is copied of the bytes that nothing proves free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outside {
    /// All of them, where they are not zero.
    #[default]
    All,
    /// The first 16 MiB of a disk, rooms of at most 16 MiB, and of larger ones the first and the last
    /// mebibyte.
    Edges,
    /// None: of a disk only its table, and the first mebibyte, where boot loaders of the BIOS are.
    None,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Edges => "edges",
            Self::None => "none",
        })
    }
}

/// What [`Outside::Edges`] copies of `room`.
pub(crate) fn edges(room: &ExtentMap) -> ExtentMap {
    room.iter().flat_map(edges_of).flatten().collect()
}

/// What both [`Outside::Edges`] and [`Outside::None`] copy of a disk's room in no partition.
pub(crate) fn disk_start(room: &ExtentMap) -> ExtentMap {
    room.intersection(&ExtentMap::whole(WHOLE_BYTES))
}

/// Where the first byte that is not zero lies in `extent` of `device`.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn first_set(device: &dyn ReadAt, extent: Extent) -> Result<Option<u64>> {
    const READ_BYTES: u64 = 1 << 20;
    // Holes of a sparse file are known to be zero.
    let data = device.data(extent)?;
    for piece in data.iter().flat_map(|extent| extent.split(READ_BYTES)) {
        // At most READ_BYTES.
        let len = usize::try_from(piece.len_bytes()).unwrap_or(0);
        let bytes = read_vec(device, piece.offset_bytes(), len)?;
        if is_zero(&bytes) {
            continue;
        }
        let at = bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
        return Ok(piece.offset_bytes().checked_add(at as u64));
    }
    Ok(None)
}

/// Where the first sector of `map` begins that starts with `magic`; `None` without one.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(crate) fn first_with(
    device: &dyn ReadAt,
    map: &ExtentMap,
    magic: [u8; 8],
) -> Result<Option<u64>> {
    const READ_BYTES: u64 = 1 << 20;
    const SECTOR: usize = 512;
    let pieces = map.iter().flat_map(|extent| extent.split(READ_BYTES));
    for piece in pieces {
        for data in device.data(piece)?.iter() {
            // At most READ_BYTES.
            let len = usize::try_from(data.len_bytes()).unwrap_or(0);
            let bytes = read_vec(device, data.offset_bytes(), len)?;
            // A hole may end within a sector.
            let skip = data.offset_bytes().next_multiple_of(SECTOR as u64) - data.offset_bytes();
            let skip = usize::try_from(skip).unwrap_or(0).min(len);
            let mut sectors = bytes[skip..].chunks(SECTOR);
            if let Some(number) = sectors.position(|sector| sector.starts_with(&magic)) {
                let at = (skip + number * SECTOR) as u64;
                return Ok(data.offset_bytes().checked_add(at));
            }
        }
    }
    Ok(None)
}

fn edges_of(room: Extent) -> [Option<Extent>; 2] {
    if room.len_bytes() <= WHOLE_BYTES {
        return [Some(room), None];
    }
    let last_start_bytes = room.end_bytes().saturating_sub(EDGE_BYTES);
    [
        Extent::new(room.offset_bytes(), EDGE_BYTES),
        Extent::between(last_start_bytes, room.end_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::{disk_start, edges};
    use crate::extent::{Extent, ExtentMap};

    fn mebibytes(ranges: &[(u64, u64)]) -> ExtentMap {
        let extent = |&(start, end): &(u64, u64)| Extent::between(start << 20, end << 20);
        ranges.iter().filter_map(extent).collect()
    }

    #[test]
    fn of_large_rooms_the_edges_count_and_small_ones_whole() {
        let room = mebibytes(&[(0, 100), (200, 211), (300, 350), (400, 1000)]);
        let expected = mebibytes(&[
            (0, 1),
            (99, 100),
            (200, 211),
            (300, 301),
            (349, 350),
            (400, 401),
            (999, 1000),
        ]);
        assert_eq!(edges(&room), expected);
    }

    #[test]
    fn of_a_disk_the_first_sixteen_mebibytes_count() {
        let room = mebibytes(&[(0, 10), (12, 100)]);
        assert_eq!(disk_start(&room), mebibytes(&[(0, 10), (12, 16)]));
    }
}
