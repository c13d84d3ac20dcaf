//! Checksums by where data lies on the device: places become addresses by the chunks, and addresses
//! are looked up in the checksum tree.
//!
//! A chunk's addresses ascend with its places, so what is asked for in the order of places is asked of
//! the tree in its own order but where a chunk ends.

use super::address::{Logical, LogicalRange};
use super::checksums;
use super::chunk::{Chunk, DATA};
use super::roots::Roots;
use super::tree::{Search, Tree};
use crate::error::Result;
use crate::extent::Extent;
use crate::filesystem::extents::{ChecksumLookup, SummedSectors};
use crate::locks::lock;
use std::sync::Mutex;

/// Looks up checksums in the checksum tree.
pub(super) struct Lookup<'a> {
    tree: Tree<'a>,
    /// Where copies of chunks of data lie, in order.
    stripes: Vec<Stripe>,
    search: Mutex<Search<'a>>,
}

/// A copy of a chunk.
struct Stripe {
    place: Extent,
    logical: LogicalRange,
}

impl<'a> Lookup<'a> {
    /// Gets ready to look up checksums.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there is no checksum tree, [`crate::Error::Io`] when the device
    /// fails.
    pub(super) fn new(tree: Tree<'a>) -> Result<Self> {
        let root = Roots::read(tree)?.checksum_tree(tree)?;
        let chunks = tree.chunks.all().iter();
        let data = chunks.filter(|chunk| chunk.flags & DATA != 0);
        let stripes = |chunk: &'a Chunk| {
            let logical = chunk.logical;
            let copies = chunk.stripes.iter();
            copies.map(move |place| Stripe { place, logical })
        };
        let mut stripes: Vec<Stripe> = data.flat_map(stripes).collect();
        stripes.sort_unstable_by_key(|stripe| stripe.place);
        Ok(Self {
            tree,
            stripes,
            search: Mutex::new(Search::new(tree, root)),
        })
    }

    /// Adds the checksums of the sectors of `wanted`, a part of `stripe`, to `found`.
    fn of_stripe(
        &self,
        stripe: &Stripe,
        wanted: Extent,
        found: &mut Vec<SummedSectors>,
    ) -> Result<()> {
        let superblock = self.tree.superblock;
        let sector_bytes = u64::from(superblock.sector_bytes);
        let Some(logical) = addresses(stripe, wanted, sector_bytes) else {
            return Ok(());
        };
        let mut search = lock(&self.search);
        let mut key = checksums::key(logical.start());
        loop {
            let leaf = search.leaf(key)?;
            let first = leaf.block.count_up_to(key).saturating_sub(1);
            for index in first..leaf.block.items() {
                let item = leaf.block.item(index)?;
                let covered = checksums::range(&item, superblock.checksum, sector_bytes)?;
                if covered.start() >= logical.end() {
                    return Ok(());
                }
                let sectors = intersection(covered, logical).and_then(|range| {
                    let kind = superblock.checksum;
                    let stored = checksums::Stored {
                        covered,
                        bytes: item.data,
                    };
                    let checksums = stored.part(range, kind, sector_bytes)?;
                    let place = place(stripe, range)?;
                    Some(SummedSectors::new(
                        place,
                        superblock.sector_bytes,
                        checksums,
                    ))
                });
                found.extend(sectors);
            }
            // Keys ascend from leaf to leaf, so this ends.
            match leaf.next_key.filter(|next| *next > key) {
                Some(next) => key = next,
                None => return Ok(()),
            }
        }
    }
}

impl ChecksumLookup for Lookup<'_> {
    fn within(&self, extent: Extent) -> Result<Vec<SummedSectors>> {
        let mut found = Vec::new();
        let first = self
            .stripes
            .partition_point(|stripe| stripe.place.end_bytes() <= extent.offset_bytes());
        for stripe in self.stripes.iter().skip(first) {
            let Some(wanted) = stripe.place.intersection(extent) else {
                break;
            };
            self.of_stripe(stripe, wanted, &mut found)?;
        }
        Ok(found)
    }
}

/// The addresses of the sectors that have a byte in `wanted`, a part of `stripe`.
fn addresses(stripe: &Stripe, wanted: Extent, sector_bytes: u64) -> Option<LogicalRange> {
    let start = wanted
        .offset_bytes()
        .checked_sub(stripe.place.offset_bytes())?;
    let start = start / sector_bytes * sector_bytes;
    let end = wanted
        .end_bytes()
        .checked_sub(stripe.place.offset_bytes())?;
    let end = end.checked_next_multiple_of(sector_bytes)?;
    let base = stripe.logical.start();
    LogicalRange::between(base.checked_add(start)?, base.checked_add(end)?)
}

/// Where addresses of a chunk lie in a copy of it.
fn place(stripe: &Stripe, range: LogicalRange) -> Option<Extent> {
    let in_chunk_bytes = stripe.logical.offset_of(range)?;
    let start_bytes = stripe.place.offset_bytes().checked_add(in_chunk_bytes)?;
    Extent::new(start_bytes, range.len_bytes())
}

fn intersection(one: LogicalRange, other: LogicalRange) -> Option<LogicalRange> {
    let start = Logical::max(one.start(), other.start());
    LogicalRange::between(start, Logical::min(one.end(), other.end()))
}
