//! Chunks: which part of the logical address space lies where on the device.
//!
//! `struct btrfs_chunk` and `struct btrfs_stripe`: btrfs on-disk format, "CHUNK_ITEM".

use super::superblock::{Superblock, uuid};
use crate::bytes::{le16, le64};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;

/// `BTRFS_BLOCK_GROUP_*`.
pub(super) const DATA: u64 = 1 << 0;
pub(super) const SYSTEM: u64 = 1 << 1;
pub(super) const METADATA: u64 = 1 << 2;
const DUP: u64 = 1 << 5;
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

/// A range of logical addresses and its one or two places on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) logical: Extent,
    /// `type`: what is in it, and how it is laid out.
    pub(super) flags: u64,
    first: Extent,
    second: Option<Extent>,
}

impl Chunk {
    /// Parses the chunk item at the start of `raw`, which lies at `offset_bytes` of the volume
    /// and whose key says that it starts at `logical`. Also gives the item's length in bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a field is impossible, [`Error::Unsupported`] when the profile is
    /// one for several devices.
    pub(super) fn parse(
        superblock: &Superblock,
        logical: u64,
        raw: &[u8],
        offset_bytes: u64,
    ) -> Result<(Self, usize)> {
        let item = Item { raw, offset_bytes };
        item.check_len(HEADER_BYTES)?;
        let flags = le64(raw, 0x18);
        let stripes = usize::from(le16(raw, 0x2c));
        let expected = copies(flags)?;
        if stripes != expected {
            return Err(item.corrupt("num_stripes", expected, stripes));
        }
        let len_bytes = HEADER_BYTES.saturating_add(STRIPE_BYTES.saturating_mul(stripes));
        item.check_len(len_bytes)?;
        let sector_bytes = superblock.sector_bytes.into();
        let logical = aligned(logical, le64(raw, 0), sector_bytes)
            .ok_or_else(|| item.corrupt("length", "a range of whole sectors", le64(raw, 0)))?;
        let first = item.stripe(superblock, logical.len_bytes(), HEADER_BYTES)?;
        let second = if stripes == 2 {
            let at = HEADER_BYTES.saturating_add(STRIPE_BYTES);
            Some(item.stripe(superblock, logical.len_bytes(), at)?)
        } else {
            None
        };
        let chunk = Self {
            logical,
            flags,
            first,
            second,
        };
        Ok((chunk, len_bytes))
    }

    /// Where on the device `logical` lies, once or twice; nowhere when the chunk doesn't hold all
    /// of it.
    pub(super) fn physical(&self, logical: Extent) -> impl Iterator<Item = Extent> + use<> {
        let chunk = *self;
        self.stripes()
            .filter_map(move |stripe| chunk.place(stripe, logical))
    }

    /// Where in `stripe`, one of this chunk's, `logical` lies.
    pub(super) fn place(&self, stripe: Extent, logical: Extent) -> Option<Extent> {
        if !self.logical.contains(logical) {
            return None;
        }
        let from_start = logical
            .offset_bytes()
            .checked_sub(self.logical.offset_bytes())?;
        let start = stripe.offset_bytes().checked_add(from_start)?;
        Extent::new(start, logical.len_bytes())
    }

    /// Everything that it takes up on the device.
    pub(super) fn stripes(&self) -> impl Iterator<Item = Extent> + use<> {
        [Some(self.first), self.second].into_iter().flatten()
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

fn aligned(start: u64, len_bytes: u64, unit_bytes: u64) -> Option<Extent> {
    let is_aligned = start.is_multiple_of(unit_bytes) && len_bytes.is_multiple_of(unit_bytes);
    Extent::new(start, len_bytes).filter(|_| is_aligned)
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
        Corrupt::new(
            "btrfs chunk item",
            field,
            self.offset_bytes,
            expected,
            found,
        )
        .into()
    }

    fn check_len(&self, len_bytes: usize) -> Result<()> {
        if self.raw.len() >= len_bytes {
            return Ok(());
        }
        let expected = format!("at least {len_bytes} bytes");
        Err(self.corrupt("size", expected, self.raw.len()))
    }

    fn stripe(&self, superblock: &Superblock, len_bytes: u64, at: usize) -> Result<Extent> {
        let field = |offset: usize| at.saturating_add(offset);
        let (device, id) = (superblock.device, le64(self.raw, at));
        if id != device.id {
            return Err(self.corrupt("stripe.devid", device.id, id));
        }
        let found = uuid(self.raw, field(16));
        if found != device.uuid {
            let expected = uuid::Uuid::from_bytes(device.uuid);
            let found = uuid::Uuid::from_bytes(found);
            return Err(self.corrupt("stripe.dev_uuid", expected, found));
        }
        let start = le64(self.raw, field(8));
        aligned(start, len_bytes, superblock.sector_bytes.into())
            .filter(|stripe| stripe.end_bytes() <= device.total_bytes)
            .ok_or_else(|| {
                let expected =
                    format!("whole sectors of the device's {} bytes", device.total_bytes);
                self.corrupt(
                    "stripe.offset",
                    expected,
                    format!("{start:#x}+{len_bytes:#x}"),
                )
            })
    }
}
