//! Tables with something in every byte that the specification leaves free: an edit changes the
//! bytes that it must, and no others.

mod gpt;
mod hostile;
mod mbr;

use super::extent;
use crate::device::{MemoryDevice, Overlay, ReadAt};
use crate::error::Result;
use crate::table::{Rewrite, Table};
use std::ops::Range;

/// Numbers without a pattern (SplitMix64), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `range`.
    fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn index(&mut self, range: Range<usize>) -> usize {
        usize::try_from(self.of(range.start as u64..range.end as u64)).unwrap()
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(0..from.len())].clone()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}

/// A place in bytes, from sectors.
fn at(lba: u64, sector_bytes: u32) -> usize {
    usize::try_from(lba * u64::from(sector_bytes)).unwrap()
}

/// How much is compared at once.
const PIECE: usize = 4096;

/// The positions where the two differ, and those where one has nothing and the other no zero.
fn differing(before: &[u8], after: &[u8]) -> Vec<usize> {
    let piece = |bytes: &[u8], start: usize| {
        let there = bytes.get(start..).unwrap_or_default();
        let mut piece = there[..there.len().min(PIECE)].to_vec();
        piece.resize(PIECE, 0);
        piece
    };
    (0..before.len().max(after.len()))
        .step_by(PIECE)
        .flat_map(|start| {
            let (one, other) = (piece(before, start), piece(after, start));
            let len = if one == other { 0 } else { PIECE };
            let is_other = move |index: &usize| one[*index] != other[*index];
            (0..len).filter(is_other).map(move |index| start + index)
        })
        .collect()
}

/// Fails if anything outside of `allowed` differs.
#[track_caller]
fn assert_only(before: &[u8], after: &[u8], allowed: &[Range<usize>]) {
    let others: Vec<usize> = differing(before, after)
        .into_iter()
        .filter(|index| !allowed.iter().any(|range| range.contains(index)))
        .collect();
    let first = others.first();
    assert!(
        others.is_empty(),
        "{} bytes changed, the first at {first:x?}",
        others.len()
    );
}

/// `disk` with `table` as on a disk of `size_bytes`.
fn moved(disk: &MemoryDevice, table: &Table, size_bytes: u64) -> Result<Vec<u8>> {
    let geometry = crate::device::Geometry {
        size_bytes,
        ..disk.geometry()
    };
    let overlay = Overlay::with_geometry(disk, geometry, 1 << 20);
    Rewrite::plan(disk, &overlay, table)?.carry_out(&overlay)?;
    crate::device::read_vec(&overlay, 0, usize::try_from(size_bytes).unwrap())
}
