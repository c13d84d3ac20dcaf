//! The passes of a rescue: what each reads, how much at once, and in which direction.

use super::status::Status;
use crate::chunk::CHUNK_BYTES;
use klon_partition::Extent;

/// What is read around a failure first.
const SMALLER_BYTES: u64 = 64 << 10;
/// What is read then: a page, or a physical sector.
const SMALL_BYTES: u64 = 4 << 10;

/// One pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// What it reads.
    pub(super) from: Status,
    /// How much at once; cut at multiples of this.
    pub(super) piece_bytes: u64,
    /// What becomes of a piece that can't be read.
    pub(super) failed: Status,
    /// Whether it goes from the end to the start.
    pub(super) is_reversed: bool,
}

impl Pass {
    /// Whether it reads whole chunks, with small gaps in them.
    pub(super) const fn is_large(&self) -> bool {
        self.piece_bytes == CHUNK_BYTES
    }

    /// The pieces of `extent`, in the direction of the pass.
    pub(super) fn pieces(self, extent: Extent) -> impl Iterator<Item = Extent> {
        let (mut start, mut end) = (extent.offset_bytes(), extent.end_bytes());
        let unit = self.piece_bytes;
        std::iter::from_fn(move || {
            if self.is_reversed {
                let boundary = end.saturating_sub(1) / unit * unit;
                let piece = Extent::between(boundary.max(start), end)?;
                end = piece.offset_bytes();
                Some(piece)
            } else {
                let boundary = (start / unit).saturating_add(1).saturating_mul(unit);
                let piece = Extent::between(start, boundary.min(end))?;
                start = piece.end_bytes();
                Some(piece)
            }
        })
    }
}

/// The passes over a source with sectors of `sector_bytes`, and `retries` over what is bad then.
/// Each goes the other way than the one before: where a head is stuck behind a bad place, it may
/// come to it from the other side.
pub(super) fn passes(sector_bytes: u64, retries: u32) -> Vec<Pass> {
    let sector_bytes = sector_bytes.clamp(512, SMALLER_BYTES);
    let mut steps = vec![
        (Status::NonTried, CHUNK_BYTES, Status::NonTrimmed),
        (Status::NonTrimmed, SMALLER_BYTES, Status::NonScraped),
    ];
    if sector_bytes < SMALL_BYTES {
        steps.push((Status::NonScraped, SMALL_BYTES, Status::NonScraped));
    }
    steps.push((Status::NonScraped, sector_bytes, Status::Bad));
    let retries = usize::try_from(retries).unwrap_or(usize::MAX);
    let retry = (Status::Bad, sector_bytes, Status::Bad);
    steps
        .into_iter()
        .chain(std::iter::repeat_n(retry, retries.min(RETRIES_MAX)))
        .enumerate()
        .map(|(index, (from, piece_bytes, failed))| Pass {
            from,
            piece_bytes,
            failed,
            is_reversed: index % 2 == 1,
        })
        .collect()
}

/// More retries than anyone waits for.
const RETRIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::{Status, passes};
    use klon_partition::Extent;

    #[test]
    fn pieces_cover_an_extent_in_either_direction() {
        let extent = Extent::new(700, 9000).unwrap();
        for pass in passes(512, 3) {
            let mut pieces: Vec<Extent> = pass.pieces(extent).collect();
            let is_descending = pieces.is_sorted_by(|a, b| a > b);
            assert!(pieces.len() == 1 || pass.is_reversed == is_descending);
            pieces.sort();
            assert_eq!(pieces[0].offset_bytes(), 700);
            assert_eq!(pieces.last().unwrap().end_bytes(), 9700);
            assert!(
                pieces
                    .windows(2)
                    .all(|two| two[0].end_bytes() == two[1].offset_bytes())
            );
            assert!(
                pieces
                    .iter()
                    .all(|piece| piece.len_bytes() <= pass.piece_bytes)
            );
        }
    }

    #[test]
    fn directions_alternate_and_all_ends_bad_or_read() {
        for sector_bytes in [0, 512, 4096, 1 << 30] {
            let all = passes(sector_bytes, 2);
            assert!(
                all.windows(2)
                    .all(|two| two[0].is_reversed != two[1].is_reversed)
            );
            assert!(all.windows(2).all(|two| two[0].failed == two[1].from));
            assert_eq!(all.last().unwrap().failed, Status::Bad);
            assert!(all.iter().all(|pass| (1 << 20) % pass.piece_bytes == 0));
        }
    }
}
