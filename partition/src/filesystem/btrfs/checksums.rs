//! The checksum tree: the checksums of data sectors, in the order of their addresses.
//!
//! Its items are bare checksums, one after the other; the key's offset is the address of the first
//! sector (btrfs on-disk format, "EXTENT_CSUM").

use super::address::{Logical, LogicalRange};
use super::superblock::Root;
use super::tree::{Item, Items, Key, Tree};
use crate::error::Result;
use crate::filesystem::extents::{Checksum, Checksums};

/// `BTRFS_EXTENT_CSUM_OBJECTID`, -10.
const EXTENT_CSUM_OBJECTID: u64 = u64::MAX - 9;
/// `BTRFS_EXTENT_CSUM_KEY`.
const EXTENT_CSUM: u8 = 128;

/// Checksums by address. Addresses are asked for in ascending order.
pub(super) struct ChecksumTree<'a> {
    items: Items<'a>,
    checksum: Checksum,
    sector_bytes: u64,
    /// The item that was read last: the sectors that it covers, and their checksums.
    covered: Option<LogicalRange>,
    bytes: Vec<u8>,
}

/// What is known of the first addresses of a range.
pub(super) struct Found<'a> {
    /// The addresses that it is known of.
    pub(super) range: LogicalRange,
    /// `None` where no sector has a checksum.
    pub(super) checksums: Option<Checksums<'a>>,
}

impl<'a> ChecksumTree<'a> {
    pub(super) fn new(tree: Tree<'a>, root: Root) -> Self {
        Self {
            items: Items::new(tree, root),
            checksum: tree.superblock.checksum,
            sector_bytes: tree.superblock.sector_bytes.into(),
            covered: None,
            bytes: Vec::new(),
        }
    }

    /// The checksums of the first sectors of `wanted`, or how many of them have none. Checksums
    /// before `wanted`, which are of no data extent, are passed over.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when an item of the tree is impossible or overlaps the one before,
    /// and as [`Items::next`].
    pub(super) fn first(&mut self, wanted: LogicalRange) -> Result<Found<'_>> {
        while self
            .covered
            .is_none_or(|covered| covered.end() <= wanted.start())
        {
            if !self.advance()? {
                break;
            }
        }
        let none = |range| Found {
            range,
            checksums: None,
        };
        let Some(covered) = self.covered else {
            return Ok(none(wanted));
        };
        let start = wanted.start();
        let next = covered.start().min(wanted.end());
        if let Some(before) = LogicalRange::between(start, next) {
            return Ok(none(before));
        }
        let end = covered.end().min(wanted.end());
        let Some(range) = LogicalRange::between(start, end) else {
            // The last item of the tree ends before.
            return Ok(none(wanted));
        };
        let checksums = self.of(covered, range);
        Ok(Found { range, checksums })
    }

    /// Reads what is left, so that damage there is found too.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub(super) fn read_to_end(mut self) -> Result<()> {
        while self.advance()? {}
        Ok(())
    }

    /// The checksums of the sectors in `range`, a part of what the item covers.
    fn of(&self, covered: LogicalRange, range: LogicalRange) -> Option<Checksums<'_>> {
        let stored = Stored {
            covered,
            bytes: &self.bytes,
        };
        stored.part(range, self.checksum, self.sector_bytes)
    }

    /// Reads the next item; whether there is one.
    fn advance(&mut self) -> Result<bool> {
        let Some(item) = self.items.next()? else {
            return Ok(false);
        };
        let range = range(&item, self.checksum, self.sector_bytes)?;
        let end = self.covered.map_or(Logical::ZERO, LogicalRange::end);
        if range.start() < end {
            let expected = format!("{end} or more, where other checksums end");
            return Err(item.corrupt("key.offset", expected, range));
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(item.data);
        self.covered = Some(range);
        Ok(true)
    }
}

/// The key of an item that begins with the checksum of the sector at `start`.
pub(super) const fn key(start: Logical) -> Key {
    Key {
        objectid: EXTENT_CSUM_OBJECTID,
        kind: EXTENT_CSUM,
        offset: start.bytenr(),
    }
}

/// The sectors that an item has checksums of.
///
/// # Errors
/// [`crate::Error::Corrupt`] when that is impossible.
pub(super) fn range(
    item: &Item<'_>,
    checksum: Checksum,
    sector_bytes: u64,
) -> Result<LogicalRange> {
    if (item.key.objectid, item.key.kind) != (EXTENT_CSUM_OBJECTID, EXTENT_CSUM) {
        return Err(item.unexpected("checksums"));
    }
    let len = checksum.len_bytes();
    if item.data.is_empty() || !item.data.len().is_multiple_of(len) {
        let expected = format!("checksums of {len} bytes");
        return Err(item.corrupt("size", expected, item.data.len()));
    }
    let sectors = (item.data.len() / len) as u64;
    let start = Logical::new(item.key.offset);
    start
        .range(sectors.saturating_mul(sector_bytes))
        .filter(|range| range.is_aligned(sector_bytes))
        .ok_or_else(|| item.corrupt("key.offset", "whole sectors", start))
}

/// What an item stores.
pub(super) struct Stored<'a> {
    /// The addresses of the sectors that it has checksums of.
    pub(super) covered: LogicalRange,
    /// The checksums, one behind the other.
    pub(super) bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// The checksums of the sectors in `range`, a part of what is covered.
    pub(super) fn part(
        &self,
        range: LogicalRange,
        checksum: Checksum,
        sector_bytes: u64,
    ) -> Option<Checksums<'a>> {
        let len = checksum.len_bytes();
        let first = usize::try_from(self.covered.offset_of(range)? / sector_bytes).ok()?;
        let count = usize::try_from(range.len_bytes() / sector_bytes).ok()?;
        let bytes = self.bytes.get(first.checked_mul(len)?..)?;
        let bytes = bytes.get(..count.checked_mul(len)?)?;
        Some(Checksums::new(checksum, bytes))
    }
}
