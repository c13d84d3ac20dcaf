//! Items that say where a part of a file lies.
//!
//! `struct btrfs_file_extent_item` (btrfs on-disk format, "EXTENT_DATA").

use super::address::{Logical, LogicalRange};
use super::tree::Item;
use crate::bytes::{le64, u8_at};
use crate::error::Result;

/// `BTRFS_EXTENT_DATA_KEY`.
pub(super) const EXTENT_DATA: u8 = 108;
/// Where the contents of an inline extent start in its item.
pub(super) const INLINE_AT: usize = 21;
/// Size of the structure of an extent that isn't inline.
const LEN_BYTES: usize = 53;
/// `BTRFS_FILE_EXTENT_INLINE`.
const INLINE: u8 = 0;

/// A part of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileExtent {
    pub(super) is_compressed: bool,
    pub(super) place: Place,
}

/// Where the contents of a file extent are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In the item itself.
    Inline,
    /// Nowhere: they are zero.
    Hole,
    OnDisk(OnDisk),
}

/// An extent of data, and the part of it that the file uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnDisk {
    /// `disk_bytenr`, `disk_num_bytes`.
    pub(super) extent: LogicalRange,
    /// Where the file's part starts in the extent, once it is unpacked.
    pub(super) offset: u64,
    /// The length of the file's part.
    pub(super) num_bytes: u64,
}

impl OnDisk {
    /// The file's part of an extent that isn't compressed.
    pub(super) fn used(&self) -> Option<LogicalRange> {
        let start = self.extent.start().checked_add(self.offset)?;
        start.range(self.num_bytes)
    }
}

impl FileExtent {
    /// Parses an `EXTENT_DATA` item.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when it is too short or no range of addresses.
    pub(super) fn parse(item: &Item<'_>) -> Result<Self> {
        item.check_len(INLINE_AT)?;
        let (compression, kind) = (u8_at(item.data, 16), u8_at(item.data, 20));
        let place = if kind == INLINE {
            Place::Inline
        } else {
            place(item)?
        };
        Ok(Self {
            is_compressed: compression != 0,
            place,
        })
    }
}

fn place(item: &Item<'_>) -> Result<Place> {
    item.check_len(LEN_BYTES)?;
    let (disk_bytenr, disk_num_bytes) = (le64(item.data, 21), le64(item.data, 29));
    let (offset, num_bytes) = (le64(item.data, 37), le64(item.data, 45));
    if disk_bytenr == 0 {
        return Ok(Place::Hole);
    }
    let extent = Logical::new(disk_bytenr).range(disk_num_bytes);
    let extent = extent.ok_or_else(|| item.corrupt("disk_num_bytes", "a range", disk_num_bytes))?;
    Ok(Place::OnDisk(OnDisk {
        extent,
        offset,
        num_bytes,
    }))
}
