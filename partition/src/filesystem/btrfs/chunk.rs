//! Chunks: which range of logical addresses lies where on the device.
//!
//! `struct btrfs_chunk`, `struct btrfs_stripe` (btrfs on-disk format, "CHUNK_ITEM").

use super::address::{Logical, LogicalRange};
use super::superblock::{Superblock, uuid};
use crate::bytes::{le16, le64};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::filesystem::extents::Copies;

/// `BTRFS_BLOCK_GROUP_*`.
pub(super) const DATA: u64 = 1 << 0;
pub(super) const SYSTEM: u64 = 1 << 1;
pub(super) const METADATA: u64 = 1 << 2;
const DUP: u64 = 1 << 5;
/// Profiles for several devices.
const PROFILES: [(u64, &str); 7] = [
    (1 << 3, "RAID0"),
    (1 << 4, "RAID1"),
    (1 << 6, "RAID10"),
    (1 << 7, "RAID5"),
    (1 << 8, "RAID6"),
    (1 << 9, "RAID1C3"),
    (1 << 10, "RAID1C4"),
];

/// Size of the fields before the stripes.
const HEADER_BYTES: usize = 48;
const STRIPE_BYTES: usize = 32;

/// A range of logical addresses, and its one or two places on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) logical: LogicalRange,
    /// `type`: what is in it, and its profile.
    pub(super) flags: u64,
    /// What it takes up on the device.
    pub(super) stripes: Copies,
}

/// A chunk, and the rest of the bytes that it was parsed from.
pub(super) struct Parsed<'a> {
    pub(super) chunk: Chunk,
    pub(super) rest: &'a [u8],
}

impl Chunk {
    /// Parses the chunk item at the start of `raw`, which lies at `offset_bytes` of the volume. Its
    /// key says that the chunk starts at `start`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a field is impossible, [`Error::Unsupported`] when the profile is
    /// one for several devices.
    pub(super) fn parse<'a>(
        superblock: &Superblock,
        start: Logical,
        raw: &'a [u8],
        offset_bytes: u64,
    ) -> Result<Parsed<'a>> {
        let item = Item { raw, offset_bytes };
        let (header, stripes) = item.split(raw, HEADER_BYTES)?;
        let (length, flags) = (le64(header, 0), le64(header, 0x18));
        let num_stripes = usize::from(le16(header, 0x2c));
        let expected = copies(flags)?;
        if num_stripes != expected {
            return Err(item.corrupt("num_stripes", expected, num_stripes));
        }
        let sector_bytes = superblock.sector_bytes.into();
        let logical = start
            .range(length)
            .filter(|range| range.is_aligned(sector_bytes))
            .ok_or_else(|| item.corrupt("length", "a range of whole sectors", length))?;
        let (first, mut rest) = item.split(stripes, STRIPE_BYTES)?;
        let first = item.stripe(superblock, length, first)?;
        let mut second = None;
        if num_stripes == 2 {
            let (stripe, after) = item.split(rest, STRIPE_BYTES)?;
            second = Some(item.stripe(superblock, length, stripe)?);
            rest = after;
        }
        let chunk = Self {
            logical,
            flags,
            stripes: Copies { first, second },
        };
        Ok(Parsed { chunk, rest })
    }

    /// Where on the device `logical` lies; `None` when the chunk doesn't hold all of it.
    pub(super) fn physical(&self, logical: LogicalRange) -> Option<Copies> {
        let second = match self.stripes.second {
            Some(stripe) => Some(self.place(stripe, logical)?),
            None => None,
        };
        Some(Copies {
            first: self.place(self.stripes.first, logical)?,
            second,
        })
    }

    /// Where `logical` lies in `stripe`, which is one of this chunk's.
    pub(super) fn place(&self, stripe: Extent, logical: LogicalRange) -> Option<Extent> {
        let from_start = self.logical.offset_of(logical)?;
        let start = stripe.offset_bytes().checked_add(from_start)?;
        Extent::new(start, logical.len_bytes())
    }
}

/// How often each byte of a chunk is on this device.
fn copies(flags: u64) -> Result<usize> {
    let known = DATA | SYSTEM | METADATA | DUP;
    if flags & known == flags && flags & (DATA | SYSTEM | METADATA) != 0 {
        return Ok(if flags & DUP == 0 { 1 } else { 2 });
    }
    let profile = PROFILES.iter().find(|&&(bit, _)| flags & bit != 0);
    let name = profile.map_or("unknown type", |&(_, name)| name);
    Err(Error::unsupported(
        format!("a btrfs chunk of {name} ({flags:#x})"),
        "klon maps single and DUP chunks of one device; copy the whole volume",
    ))
}

#[derive(Clone, Copy)]
struct Item<'a> {
    raw: &'a [u8],
    offset_bytes: u64,
}

impl Item<'_> {
    fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        let structure = "btrfs chunk item";
        Corrupt::new(structure, field, self.offset_bytes, expected, found).into()
    }

    /// The first `len_bytes` of a part of the item, and what follows them.
    fn split<'a>(&self, part: &'a [u8], len_bytes: usize) -> Result<(&'a [u8], &'a [u8])> {
        part.split_at_checked(len_bytes).ok_or_else(|| {
            let expected = "room for all stripes";
            self.corrupt("size", expected, self.raw.len())
        })
    }

    fn stripe(&self, superblock: &Superblock, length: u64, raw: &[u8]) -> Result<Extent> {
        let (devid, offset, dev_uuid) = (le64(raw, 0), le64(raw, 8), uuid(raw, 16));
        let device = superblock.device;
        if devid != device.id {
            return Err(self.corrupt("stripe.devid", device.id, devid));
        }
        if dev_uuid != device.uuid {
            let expected = uuid::Uuid::from_bytes(device.uuid);
            let found = uuid::Uuid::from_bytes(dev_uuid);
            return Err(self.corrupt("stripe.dev_uuid", expected, found));
        }
        let sector_bytes = superblock.sector_bytes.into();
        Extent::new(offset, length)
            .filter(|_| offset.is_multiple_of(sector_bytes))
            .filter(|stripe| stripe.end_bytes() <= device.total_bytes)
            .ok_or_else(|| {
                let expected =
                    format!("whole sectors of the device's {} bytes", device.total_bytes);
                let found = format!("{offset:#x}+{length:#x}");
                self.corrupt("stripe.offset", expected, found)
            })
    }
}
