//! Blocks and clusters that a filesystem lists as bad. They hold nothing, and the drive that they were
//! found on fails when they are read. So they are not in use, unless something else claims them, too.
//! Then the list or the claim is wrong, nobody can say which, and the blocks count as in use.

use super::gather::Gather;
use crate::extent::{Extent, ExtentMap};

/// Which of the listed blocks something else claims.
pub(super) struct Claims {
    listed: ExtentMap,
    claimed: Gather,
    /// Whether all claims could be remembered.
    is_complete: bool,
}

impl Claims {
    pub(super) const fn new(listed: ExtentMap) -> Self {
        Self {
            listed,
            claimed: Gather::new(),
            is_complete: true,
        }
    }

    /// Whether nothing is listed, so that no claim is of interest.
    pub(super) fn is_idle(&self) -> bool {
        self.listed.is_empty()
    }

    /// Notes that something claims `extent`.
    pub(super) fn add(&mut self, extent: Extent) {
        for part in self.listed.within(extent) {
            self.is_complete &= self.claimed.push(part);
        }
    }

    /// The listed blocks that nothing claims; none when there are too many claims to remember.
    pub(super) fn unclaimed(self) -> ExtentMap {
        match (self.is_complete, self.claimed.finish()) {
            (true, Some(claimed)) => self.listed.difference(&claimed),
            _ => ExtentMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Claims;
    use crate::extent::{Extent, ExtentMap};

    fn extents(of: &[(u64, u64)]) -> ExtentMap {
        of.iter()
            .filter_map(|&(start, len)| Extent::new(start, len))
            .collect()
    }

    #[test]
    fn what_is_claimed_too_is_in_use() {
        let mut claims = Claims::new(extents(&[(100, 50), (300, 10)]));
        assert!(!claims.is_idle());
        for extent in extents(&[(0, 90), (120, 10), (140, 100), (305, 1)]).iter() {
            claims.add(extent);
        }
        let expected = extents(&[(100, 20), (130, 10), (300, 5), (306, 4)]);
        assert_eq!(claims.unclaimed(), expected);
        assert!(Claims::new(ExtentMap::new()).is_idle());
    }
}
