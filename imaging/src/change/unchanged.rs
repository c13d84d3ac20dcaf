//! Which chunks need not be read: all that is in use of them is proven to be as it was.

use klon_partition::{Extent, ExtentMap};

/// What of a source is proven to be as its record says.
///
/// A chunk is the unit: of one that is proven in part, the rest has to be read, and one request for all
/// of it costs hardly more. Reading the proven part from the target instead would cost the same.
#[derive(Debug)]
pub struct Unchanged {
    proven: ExtentMap,
    described: ExtentMap,
}

impl Unchanged {
    /// `proven` is as the record says, whose digests are of what it describes: `described`.
    #[must_use]
    pub const fn new(proven: ExtentMap, described: ExtentMap) -> Self {
        Self { proven, described }
    }

    /// Whether the record's digest is that of `chunk`, of which `wanted` is in use now: all of that
    /// is proven, and the record describes nothing else there. The digest takes all else as zero.
    #[must_use]
    pub fn covers(&self, chunk: Extent, wanted: &[Extent]) -> bool {
        let is_proven = |&extent: &Extent| self.proven.contains(extent);
        !wanted.is_empty()
            && wanted.iter().all(is_proven)
            && self.described.within(chunk).eq(wanted.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::Unchanged;
    use klon_partition::{Extent, ExtentMap};

    fn map(ranges: &[(u64, u64)]) -> ExtentMap {
        let extents = ranges.iter().filter_map(|&(at, len)| Extent::new(at, len));
        extents.collect()
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
}
