//! Addresses: sectors of the device, and physical extents, which are runs of sectors.

use crate::extent::Extent;
use std::fmt;

/// A number of sectors of 512 bytes, in which all sizes and offsets of the metadata are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sectors(pub(super) u64);

impl Sectors {
    /// The same in bytes; `None` when 64 bits can't count them.
    pub(super) fn bytes(self) -> Option<u64> {
        self.0.checked_mul(512)
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a physical extent, as the metadata has it: the volume may have no such extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PhysicalExtent(pub(super) u32);

/// Physical extents that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) first: PhysicalExtent,
    pub(super) count: u32,
}

impl Run {
    /// One past its last extent.
    pub(super) fn end(self) -> u64 {
        u64::from(self.first.0) + u64::from(self.count)
    }
}

/// All physical extents of a volume: they lie on it, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PhysicalExtents {
    offset_bytes: u64,
    extent_bytes: u64,
    count: u32,
}

impl PhysicalExtents {
    /// `count` extents of `size` from `offset_bytes` on; `None` when they don't end by
    /// `volume_bytes`.
    pub(super) fn new(
        offset_bytes: u64,
        size: Sectors,
        count: u32,
        volume_bytes: u64,
    ) -> Option<Self> {
        let extent_bytes = size.bytes()?;
        let len_bytes = u64::from(count).checked_mul(extent_bytes)?;
        let end_bytes = offset_bytes.checked_add(len_bytes)?;
        (end_bytes <= volume_bytes).then_some(Self {
            offset_bytes,
            extent_bytes,
            count,
        })
    }

    /// Bytes of each.
    pub(super) const fn extent_bytes(&self) -> u64 {
        self.extent_bytes
    }

    /// Where the last one ends.
    pub(super) fn end_bytes(&self) -> u64 {
        self.offset_bytes + u64::from(self.count) * self.extent_bytes
    }

    /// Where all of them lie; `None` when there are none.
    pub(super) fn all(&self) -> Option<Extent> {
        Extent::between(self.offset_bytes, self.end_bytes())
    }

    /// Where a run lies; `None` when the volume has not all of it.
    pub(super) fn extent(&self, run: Run) -> Option<Extent> {
        if run.end() > u64::from(self.count) {
            return None;
        }
        let start_bytes = self.offset_bytes + u64::from(run.first.0) * self.extent_bytes;
        Extent::new(start_bytes, u64::from(run.count) * self.extent_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{PhysicalExtent, PhysicalExtents, Run, Sectors};
    use crate::extent::Extent;

    const MIB: u64 = 1 << 20;

    #[test]
    fn runs_lie_on_the_volume_or_nowhere() {
        let size = Sectors(8192);
        let extents = PhysicalExtents::new(MIB, size, 10, 41 * MIB).unwrap();
        let run = |first, count| Run {
            first: PhysicalExtent(first),
            count,
        };
        assert_eq!(extents.extent(run(8, 2)), Extent::new(33 * MIB, 8 * MIB));
        for nowhere in [run(8, 3), run(10, 1), run(u32::MAX, u32::MAX)] {
            assert_eq!(extents.extent(nowhere), None, "{nowhere:?}");
        }
        assert!(PhysicalExtents::new(MIB, size, 10, 41 * MIB - 1).is_none());
        assert!(PhysicalExtents::new(MIB, Sectors(u64::MAX), 1, u64::MAX).is_none());
    }
}
