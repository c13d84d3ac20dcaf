//! Sets of bytes of bounded size: one that may only lose bytes, and one that may only gain some.

use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap};

/// Extents held before they are sorted and joined.
const PENDING_MAX: usize = 1 << 18;
/// Joined extents of one set: 16 MiB of memory.
const EXTENTS_MAX: usize = 1 << 20;

/// All of `extents`, and the smallest gaps between them when they are more than `extents_max`.
pub(super) fn coarse(extents: &[Extent], extents_max: usize) -> ExtentMap {
    let mut sorted = extents.to_vec();
    sorted.sort_unstable();
    let mut builder = ExtentMapBuilder::with_limit(extents_max);
    for extent in sorted {
        builder.push(extent);
    }
    builder.finish()
}

/// What happens to a set of too many extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// The smallest extents are dropped.
    Dropped,
    /// The smallest gaps are closed.
    Closed,
}

/// A set of bytes of bounded size, whose extents come in any order.
#[derive(Debug)]
pub(in crate::change) struct Area {
    joined: ExtentMap,
    pending: Vec<Extent>,
    excess: Excess,
    extents_max: usize,
}

impl Area {
    pub(super) const fn new(excess: Excess) -> Self {
        Self::with_limit(excess, EXTENTS_MAX)
    }

    /// A set that covers all that is pushed.
    pub(in crate::change) const fn covering() -> Self {
        Self::new(Excess::Closed)
    }

    const fn with_limit(excess: Excess, extents_max: usize) -> Self {
        Self {
            joined: ExtentMap::new(),
            pending: Vec::new(),
            excess,
            extents_max,
        }
    }

    pub(in crate::change) fn push(&mut self, extent: Extent) {
        // Files that follow each other in the table often do so on the volume.
        if let Some(last) = self.pending.last_mut()
            && last.end_bytes() == extent.offset_bytes()
            && let Some(both) = Extent::between(last.offset_bytes(), extent.end_bytes())
        {
            *last = both;
            return;
        }
        self.pending.push(extent);
        if self.pending.len() >= PENDING_MAX {
            self.join();
        }
    }

    fn join(&mut self) {
        let pending = self.pending.drain(..).collect();
        let all = self.joined.union(&pending);
        self.joined = match self.excess {
            _ if all.extents().len() <= self.extents_max => all,
            Excess::Dropped => largest(&all, self.extents_max),
            Excess::Closed => coarse(all.extents(), self.extents_max),
        };
    }

    pub(in crate::change) fn finish(mut self) -> ExtentMap {
        self.join();
        self.joined
    }
}

/// The extents of a map from such a size on that they are at most `extents_max`.
fn largest(all: &ExtentMap, extents_max: usize) -> ExtentMap {
    let mut len_bytes = 1_u64;
    loop {
        len_bytes = len_bytes.saturating_mul(2);
        let kept = || all.iter().filter(|extent| extent.len_bytes() >= len_bytes);
        if kept().count() <= extents_max {
            return kept().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Area, Excess, PENDING_MAX};
    use klon_partition::{Extent, ExtentMap};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn a_set_errs_to_its_side(
            pairs in proptest::collection::vec((0..100_000_u64, 1..60_u64), 0..400),
            extents_max in 1..200_usize,
        ) {
            let extents = || pairs.iter().filter_map(|&(at, len)| Extent::new(at, len));
            let exact: ExtentMap = extents().collect();
            for excess in [Excess::Dropped, Excess::Closed] {
                let mut area = Area::with_limit(excess, extents_max);
                extents().for_each(|extent| area.push(extent));
                let found = area.finish();
                prop_assert!(found.extents().len() <= extents_max);
                let (small, large) = match excess {
                    Excess::Dropped => (&found, &exact),
                    Excess::Closed => (&exact, &found),
                };
                prop_assert!(small.difference(large).is_empty());
                if exact.extents().len() <= extents_max {
                    prop_assert_eq!(&found, &exact);
                }
            }
        }
    }

    #[test]
    fn many_are_joined_on_the_way() {
        let mut area = Area::new(Excess::Dropped);
        let count = PENDING_MAX as u64 * 2;
        for index in (0..count).rev() {
            area.push(Extent::new(index, 1).unwrap());
        }
        assert_eq!(area.finish(), ExtentMap::whole(count));
    }
}
