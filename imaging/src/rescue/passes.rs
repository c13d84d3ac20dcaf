//! The passes of a rescue: what each reads, how much at once, and in which direction.

use super::status::Status;
use crate::chunk::CHUNK_BYTES;
use klon_partition::{Extent, Geometry};

/// What is read around a failure first.
const SMALLER_BYTES: u64 = 64 << 10;
/// What is read then: a page, or a physical sector.
const SMALL_BYTES: u64 = 4 << 10;

/// How a pass goes through what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Whole chunks. After some failures in a row the pass skips ahead, and leaves the gap to the next
    /// pass: sound places come before torn ones.
    Skip,
    /// Whole chunks.
    Chunks,
    /// Piece by piece.
    Pieces,
    /// The same, but only where a failure costs less time than this many reads of sectors: that is how
    /// many the pass saves.
    Worth(u32),
    /// Piece by piece from both ends of an extent up to the first failures; what is left between
    /// gets [`Status::NonScraped`].
    Edges,
}

/// One pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// What it reads.
    pub(super) from: Status,
    /// How much at once; cut at multiples of this.
    pub(super) piece_bytes: u64,
    /// What becomes of a piece that can't be read.
    pub(super) failed: Status,
    /// How it goes.
    pub(super) how: How,
    /// Whether it goes from the end to the start.
    pub(super) is_reversed: bool,
}

impl Pass {
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

/// The passes over a source of this geometry, and `retries` over what is bad then.
/// Each pass goes the other way than the one before: a head that is stuck in front of a bad place
/// may reach what lies behind from the other side.
///
/// On a failing disk, failed reads take the most time. A physical sector fails as a whole, so the
/// logical sectors in it are tried only in retries, or once when there are no retries.
pub(super) fn passes(geometry: Geometry, retries: u32) -> Vec<Pass> {
    let sector_bytes = u64::from(geometry.logical_sector_bytes).clamp(512, SMALLER_BYTES);
    let unit_bytes = u64::from(geometry.physical_sector_bytes).min(SMALL_BYTES);
    let unit_bytes = unit_bytes.max(sector_bytes);
    let saved = |area_bytes: u64, piece_bytes: u64| {
        let saved = area_bytes / unit_bytes - area_bytes / piece_bytes - piece_bytes / unit_bytes;
        How::Worth(u32::try_from(saved).unwrap_or(u32::MAX))
    };
    let (tried, trimmed, scraped) = (Status::NonTried, Status::NonTrimmed, Status::NonScraped);
    let mut steps = vec![
        (tried, CHUNK_BYTES, trimmed, How::Skip),
        (tried, CHUNK_BYTES, trimmed, How::Skip),
        (tried, CHUNK_BYTES, trimmed, How::Chunks),
    ];
    if unit_bytes < SMALLER_BYTES {
        let how = saved(CHUNK_BYTES, SMALLER_BYTES);
        steps.push((trimmed, SMALLER_BYTES, scraped, how));
    }
    // Where the pass before this was left out.
    steps.push((trimmed, unit_bytes, Status::Bad, How::Edges));
    if unit_bytes < SMALL_BYTES {
        let how = saved(SMALLER_BYTES, SMALL_BYTES);
        steps.push((scraped, SMALL_BYTES, scraped, how));
    }
    steps.push((scraped, unit_bytes, Status::Bad, How::Pieces));
    let is_by_sector = unit_bytes > sector_bytes;
    let retries = usize::try_from(retries).unwrap_or(usize::MAX);
    let retries = retries.clamp(usize::from(is_by_sector), RETRIES_MAX);
    let retry = (Status::Bad, sector_bytes, Status::Bad, How::Pieces);
    steps
        .into_iter()
        .chain(std::iter::repeat_n(retry, retries))
        .enumerate()
        .map(|(index, (from, piece_bytes, failed, how))| Pass {
            from,
            piece_bytes,
            failed,
            how,
            is_reversed: index % 2 == 1,
        })
        .collect()
}

/// The most retries; nobody waits for more.
const RETRIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::{How, Status, passes};
    use klon_partition::{Extent, Geometry};

    #[test]
    fn pieces_cover_an_extent_in_either_direction() {
        let extent = Extent::new(700, 9000).unwrap();
        for pass in passes(Geometry::new(1 << 30, 512), 3) {
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
        for (logical, physical) in [
            (0, 0),
            (512, 512),
            (512, 4096),
            (4096, 4096),
            (512, 1 << 30),
        ] {
            for retries in 0..3 {
                let geometry = Geometry {
                    physical_sector_bytes: physical,
                    ..Geometry::new(1 << 30, logical)
                };
                let all = passes(geometry, retries);
                assert!(
                    all.windows(2)
                        .all(|two| two[0].is_reversed != two[1].is_reversed)
                );
                // Nothing is left out by a pass that may be, or skips.
                let certain = |pass: &&super::Pass| !matches!(pass.how, How::Skip | How::Worth(_));
                let certain: Vec<_> = all.iter().filter(certain).collect();
                let order = [Status::NonTried, Status::NonTrimmed, Status::NonScraped];
                assert!(certain.iter().map(|pass| pass.from).take(3).eq(order));
                assert_eq!(all.last().unwrap().failed, Status::Bad);
                assert_eq!(all.last().unwrap().piece_bytes, u64::from(logical.max(512)));
                assert!(all.iter().all(|pass| (1 << 20) % pass.piece_bytes == 0));
            }
        }
    }
}
