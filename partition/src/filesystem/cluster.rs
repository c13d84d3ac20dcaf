//! Clusters of FAT and exFAT: their numbers, which start at 2, and where they lie.

use crate::extent::Extent;
use std::fmt;

/// The number of a cluster, as a field on the disk has it: the volume may have no such cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cluster(pub(super) u32);

impl Cluster {
    /// The first one; entries 0 and 1 of the FAT hold marks.
    pub(super) const FIRST: Self = Self(2);
    /// What stands where there is no cluster.
    pub(super) const NONE: Self = Self(0);

    /// The cluster after this one; `None` after the last number.
    pub(super) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All clusters of a volume: one after another from an offset on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clusters {
    offset_bytes: u64,
    count: u32,
    size_bytes: u32,
}

impl Clusters {
    /// `count` clusters of `size_bytes` each, the first at `offset_bytes`; `None` when 32 bits
    /// can't number them, or 64 bits not say where they end.
    pub(super) fn new(offset_bytes: u64, count: u32, size_bytes: u32) -> Option<Self> {
        count.checked_add(Cluster::FIRST.0)?;
        let len_bytes = u64::from(count).checked_mul(size_bytes.into())?;
        offset_bytes.checked_add(len_bytes)?;
        Some(Self {
            offset_bytes,
            count,
            size_bytes,
        })
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// The size of each.
    pub(super) const fn size_bytes(&self) -> u32 {
        self.size_bytes
    }

    /// Where the first one lies.
    pub(super) const fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// Bytes of all of them.
    pub(super) fn len_bytes(&self) -> u64 {
        u64::from(self.count) * u64::from(self.size_bytes)
    }

    /// One past the last byte of the last one.
    pub(super) fn end_bytes(&self) -> u64 {
        self.offset_bytes + self.len_bytes()
    }

    /// One past the last one.
    pub(super) const fn end(&self) -> Cluster {
        Cluster(Cluster::FIRST.0 + self.count)
    }

    /// Whether the volume has this cluster.
    pub(super) fn has(&self, cluster: Cluster) -> bool {
        (Cluster::FIRST..self.end()).contains(&cluster)
    }

    /// Where `cluster` lies; `None` when there is no such cluster.
    pub(super) fn extent(&self, cluster: Cluster) -> Option<Extent> {
        self.run(cluster, 1)
    }

    /// Where `count` clusters from `first` on lie; `None` when not all of them are there, or none.
    pub(super) fn run(&self, first: Cluster, count: u64) -> Option<Extent> {
        let index = u64::from(first.0.checked_sub(Cluster::FIRST.0)?);
        if index.checked_add(count)? > u64::from(self.count) {
            return None;
        }
        let size_bytes = u64::from(self.size_bytes);
        Extent::new(self.offset_bytes + index * size_bytes, count * size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cluster, Clusters};
    use crate::extent::Extent;

    #[test]
    fn clusters_start_at_two_and_end() {
        let clusters = Clusters::new(1 << 20, 10, 4096).unwrap();
        assert_eq!(clusters.extent(Cluster(2)), Extent::new(1 << 20, 4096));
        assert_eq!(
            clusters.run(Cluster(3), 9),
            Extent::between((1 << 20) + 4096, clusters.end_bytes())
        );
        for outside in [Cluster(0), Cluster(1), Cluster(12), Cluster(u32::MAX)] {
            assert!(!clusters.has(outside), "{outside}");
            assert_eq!(clusters.extent(outside), None);
        }
        for count in [0, 10, u64::MAX] {
            assert_eq!(clusters.run(Cluster(3), count), None);
        }
    }

    #[test]
    fn what_does_not_fit_numbers_is_refused() {
        assert!(Clusters::new(0, u32::MAX - 1, 512).is_none());
        assert!(Clusters::new(u64::MAX - 100, 1, 512).is_none());
        let largest = Clusters::new(0, u32::MAX - 2, 1 << 25).unwrap();
        assert_eq!(largest.end(), Cluster(u32::MAX));
        assert!(largest.extent(Cluster(u32::MAX - 1)).is_some());
    }
}
