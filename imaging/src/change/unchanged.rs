//! What need not be read of chunks: what is in use of them and proven to be as it was.

use crate::chunk::read_len_bytes;
use klon_partition::{Extent, ExtentMap};

/// What is read whole or not at all: a block, which may have a checksum.
const UNIT_BYTES: u64 = 4096;

/// The bytes of a source that are proven to be as its record says.
#[derive(Debug)]
pub struct Unchanged {
    proven: ExtentMap,
    described: ExtentMap,
    /// Whether chunks are read whole or not at all.
    is_whole: bool,
}

/// What is known of a chunk that is proven in part. The proven part can be had without the source: from
/// where the chunk is as the record says, which its digest shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPart {
    /// The parts of the chunk that the record describes. Its digest takes all else as zero.
    pub described: Vec<Extent>,
    /// The parts that would be read and are proven.
    pub proven: Vec<Extent>,
    /// The parts that are to be read from the source.
    pub unproven: Vec<Extent>,
    /// The bytes that could make the chunk another one than the record describes. `None` where another part
    /// of the chunk is in use now.
    pub doubtful: Option<ExtentMap>,
    /// What of it may be other than the record says, or is in use only now or only then.
    pub touched: ExtentMap,
}

impl Unchanged {
    /// `proven` is as the record says, whose digests are of what it describes: `described`.
    #[must_use]
    pub const fn new(proven: ExtentMap, described: ExtentMap) -> Self {
        Self {
            proven,
            described,
            is_whole: false,
        }
    }

    /// The same, where chunks shall be read whole or not at all, as the target is not to be read.
    #[must_use]
    pub fn by_chunks(self) -> Self {
        Self {
            is_whole: true,
            ..self
        }
    }

    /// Whether the record's digest is the digest of `chunk` now. `wanted` is what of the chunk is in use. All
    /// of it must be proven, and the record must describe nothing else there, because the digest takes all
    /// else as zero.
    #[must_use]
    pub fn covers(&self, chunk: Extent, wanted: &[Extent]) -> bool {
        let is_proven = |&extent: &Extent| self.proven.contains(extent);
        !wanted.is_empty()
            && wanted.iter().all(is_proven)
            && self.described.within(chunk).eq(wanted.iter().copied())
    }

    /// What of `chunk` must come from the source, where that is little: of `wanted`, which is in use now, `copy`
    /// would be read, and the rest is zero. `None` when nothing of it is proven, or requests for what is not
    /// would read more than half of what one for everything does: then two places are read instead of one, for
    /// little.
    #[must_use]
    pub fn in_part(&self, chunk: Extent, copy: &[Extent], wanted: &[Extent]) -> Option<InPart> {
        if self.is_whole || !copy.iter().any(|&extent| self.proven.overlaps(extent)) {
            return None;
        }
        let map = |extents: &[Extent]| extents.iter().copied().collect::<ExtentMap>();
        let (copy, wanted) = (map(copy), map(wanted));
        let described: ExtentMap = self.described.within(chunk).collect();
        // Nothing is known of what the record does not describe.
        let known: ExtentMap = self.proven.within(chunk).collect();
        let known = whole_units(chunk, &known.intersection(&described));
        let proven = copy.intersection(&known);
        let unproven = copy.difference(&proven);
        let all_bytes = read_len_bytes(chunk, copy.extents());
        let part_bytes = read_len_bytes(chunk, unproven.extents());
        if proven.is_empty() || part_bytes > all_bytes / 2 {
            return None;
        }
        let doubtful = wanted.difference(&known);
        let touched = doubtful.union(&described.difference(&wanted));
        Some(InPart {
            doubtful: (described == wanted).then_some(doubtful),
            touched,
            described: described.iter().collect(),
            proven: proven.iter().collect(),
            unproven: unproven.iter().collect(),
        })
    }
}

/// The units of `chunk` that are all in `known`.
fn whole_units(chunk: Extent, known: &ExtentMap) -> ExtentMap {
    let all = ExtentMap::from(chunk);
    let rest = all.difference(known);
    all.difference(&rest.aligned_out(UNIT_BYTES, chunk.end_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{InPart, Unchanged};
    use klon_partition::{Extent, ExtentMap};

    const KIB: u64 = 1 << 10;

    fn map(ranges: &[(u64, u64)]) -> ExtentMap {
        let extents = ranges.iter().filter_map(|&(at, len)| Extent::new(at, len));
        extents.collect()
    }

    fn list(ranges: &[(u64, u64)]) -> Vec<Extent> {
        map(ranges).iter().collect()
    }

    #[test]
    fn a_chunk_is_left_unread_only_when_all_of_it_is_proven_and_described() {
        let chunk = Extent::new(100, 100).unwrap();
        let covers = |proven: &[(u64, u64)], described: &[(u64, u64)], wanted: &[(u64, u64)]| {
            let wanted: Vec<Extent> = map(wanted).within(chunk).collect();
            Unchanged::new(map(proven), map(described)).covers(chunk, &wanted)
        };
        let part = &[(110, 20), (150, 10)][..];
        assert!(covers(part, part, part));
        assert!(covers(&[(0, 999)], &[(0, 999)], &[(100, 100)]));
        assert!(covers(&[(0, 999)], &[(90, 20)], &[(90, 20)]));
        // A part is not proven, was freed, is new, or nothing is in use.
        assert!(!covers(&part[..1], part, part));
        assert!(!covers(part, part, &part[..1]));
        assert!(!covers(&[(0, 999)], &part[..1], part));
        assert!(!covers(&[(0, 999)], &[(0, 999)], &[]));
    }

    /// Of the second chunk, by KiB from its start.
    fn in_part(
        proven: &[(u64, u64)],
        described: &[(u64, u64)],
        copy: &[(u64, u64)],
        wanted: &[(u64, u64)],
    ) -> Option<InPart> {
        let at = |ranges: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let scaled = ranges
                .iter()
                .map(|&(at, len)| ((1024 + at) * KIB, len * KIB));
            scaled.collect()
        };
        let unchanged = Unchanged::new(map(&at(proven)), map(&at(described)));
        let chunk = Extent::new(1024 * KIB, 1024 * KIB).unwrap();
        let shift = |extents: &[Extent]| -> Vec<Extent> {
            let parts = extents.iter().map(|extent| {
                let start = extent.offset_bytes() / KIB - 1024;
                Extent::new(start, extent.len_bytes() / KIB).unwrap()
            });
            parts.collect()
        };
        let found = unchanged.in_part(chunk, &list(&at(copy)), &list(&at(wanted)))?;
        Some(InPart {
            described: shift(&found.described),
            proven: shift(&found.proven),
            unproven: shift(&found.unproven),
            doubtful: found
                .doubtful
                .map(|doubtful| shift(doubtful.extents()).into_iter().collect()),
            touched: shift(found.touched.extents()).into_iter().collect(),
        })
    }

    #[test]
    fn little_that_is_not_proven_is_read_alone() {
        let all = &[(0, 1024)][..];
        let found = in_part(&[(0, 600)], all, all, all);
        let expected = InPart {
            described: list(all),
            proven: list(&[(0, 600)]),
            unproven: list(&[(600, 424)]),
            doubtful: Some(map(&[(600, 424)])),
            touched: map(&[(600, 424)]),
        };
        assert_eq!(found, Some(expected));
        // More than half, or nothing at all is proven.
        assert_eq!(in_part(&[(0, 500)], all, all, all), None);
        assert_eq!(in_part(&[(2000, 500)], all, all, all), None);
        // Requests join what is near, so that nothing would be left out.
        let scattered: Vec<(u64, u64)> = (0..31).map(|at| (at * 33 + 1, 32)).collect();
        assert_eq!(in_part(&scattered, all, all, all), None);
    }

    #[test]
    fn where_the_target_is_not_read_chunks_are_read_whole() {
        let all = map(&[(0, 1 << 20)]);
        let unchanged = Unchanged::new(map(&[(0, 900_000)]), all.clone());
        let chunk = all.extents()[0];
        assert!(unchanged.in_part(chunk, &[chunk], &[chunk]).is_some());
        let unchanged = unchanged.by_chunks();
        assert_eq!(unchanged.in_part(chunk, &[chunk], &[chunk]), None);
    }

    #[test]
    fn what_the_record_does_not_describe_is_not_proven() {
        let all = &[(0, 1024)][..];
        let old = &[(0, 900)][..];
        let found = in_part(all, old, all, all).unwrap();
        assert_eq!(found.proven, list(old));
        assert_eq!(found.unproven, list(&[(900, 124)]));
        // Another part of the chunk is in use, so its digest is another one.
        assert_eq!(found.doubtful, None);
        assert_eq!(found.touched, map(&[(900, 124)]));
        let freed = in_part(old, all, old, old).unwrap();
        assert_eq!(freed.described, list(all));
        assert!(freed.unproven.is_empty() && freed.doubtful.is_none());
        assert_eq!(freed.touched, map(&[(900, 124)]));
    }

    #[test]
    fn zeroes_that_are_not_proven_make_another_chunk() {
        let all = &[(0, 1024)][..];
        let found = in_part(&[(0, 900)], all, &[(0, 900)], all).unwrap();
        assert!(found.unproven.is_empty());
        assert_eq!(found.doubtful, Some(map(&[(900, 124)])));
    }
}
