//! A set of extents that come in any order. They are joined now and then to keep the set small.

use crate::extent::{Extent, ExtentMap};

/// Extents held before they are sorted and joined.
const PENDING_MAX: usize = 1 << 18;

/// Collects extents, up to a limit of joined ones.
pub(super) struct Gather {
    joined: ExtentMap,
    pending: Vec<Extent>,
    extents_max: usize,
}

impl Gather {
    /// Enough to tell contents from metadata; 32 MiB of memory.
    pub(super) const EXTENTS_MAX: usize = 1 << 21;

    pub(super) const fn new() -> Self {
        Self {
            joined: ExtentMap::new(),
            pending: Vec::new(),
            extents_max: Self::EXTENTS_MAX,
        }
    }

    /// Adds an extent. Whether there is room for more.
    pub(super) fn push(&mut self, extent: Extent) -> bool {
        self.pending.push(extent);
        if self.pending.len() >= PENDING_MAX {
            self.join();
        }
        self.joined.extents().len() <= self.extents_max
    }

    fn join(&mut self) {
        let pending = self.pending.drain(..).collect();
        self.joined = self.joined.union(&pending);
    }

    /// All that was added; `None` when there are too many pieces.
    pub(super) fn finish(mut self) -> Option<ExtentMap> {
        self.join();
        (self.joined.extents().len() <= self.extents_max).then_some(self.joined)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gather, PENDING_MAX};
    use crate::extent::{Extent, ExtentMap};

    fn every_other(count: usize) -> impl Iterator<Item = Extent> {
        (0..count as u64)
            .rev()
            .map(|index| Extent::new(index * 2, 1).unwrap())
    }

    #[test]
    fn order_does_not_matter() {
        let mut gather = Gather::new();
        let count = PENDING_MAX * 2 + 5;
        assert!(every_other(count).all(|extent| gather.push(extent)));
        let expected: ExtentMap = every_other(count).collect();
        assert_eq!(gather.finish(), Some(expected));
    }

    #[test]
    fn too_many_pieces_are_none() {
        let gather = || Gather {
            extents_max: 10,
            ..Gather::new()
        };
        let (mut full, mut over) = (gather(), gather());
        every_other(10).for_each(|extent| assert!(full.push(extent)));
        every_other(11).for_each(|extent| _ = over.push(extent));
        assert!(full.finish().is_some() && over.finish().is_none());
    }
}
