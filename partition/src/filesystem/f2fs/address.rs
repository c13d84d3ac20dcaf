//! Addresses: blocks of the volume, segments of the main area, numbers of nodes.
//!
//! The three are 32-bit integers on the disk (`block_t`, `segno`, `nid_t` in Linux,
//! [f2fs_fs.h](https://github.com/torvalds/linux/blob/master/include/linux/f2fs_fs.h)), and one
//! taken for another would name bytes that have nothing to do with it.

/// Blocks of a segment; drivers know no other count.
pub(super) const SEGMENT_BLOCKS: u32 = 512;

/// A block of the filesystem that lies on the volume. Only an [`Area`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block(u64);

impl Block {
    /// How many blocks come before it.
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    /// How many blocks lie between `earlier` and this one; 0 when it is the earlier one.
    pub(super) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A segment of the main area by its number, which may be one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment(pub(super) u32);

impl Segment {
    /// Block `index` of the segment, counted from the start of the main area.
    pub(super) fn block(self, index: u32) -> u64 {
        // At most 2^32 segments of 2^9 blocks, and less than 2^32 blocks.
        u64::from(self.0) * u64::from(SEGMENT_BLOCKS) + u64::from(index)
    }
}

/// The number of a node: of an inode, or of a block of addresses that belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Nid(pub(super) u32);

impl std::fmt::Display for Nid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Consecutive segments, as the superblock has them: not yet known to lie on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) first_block: u32,
    pub(super) segments: u32,
}

impl Area {
    /// How many blocks it has, below 2^41.
    pub(super) fn blocks(self) -> u64 {
        u64::from(self.segments) * u64::from(SEGMENT_BLOCKS)
    }

    /// One past its last block, below 2^42.
    pub(super) fn end_block(self) -> u64 {
        u64::from(self.first_block) + self.blocks()
    }

    /// Its block `index`; `None` when it has fewer.
    pub(super) fn block(self, index: u64) -> Option<Block> {
        (index < self.blocks()).then(|| Block(u64::from(self.first_block) + index))
    }

    /// The block that a field of the disk names; `None` when it is not one of the area.
    pub(super) fn named(self, address: u32) -> Option<Block> {
        self.block(u64::from(address.checked_sub(self.first_block)?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Area, Segment};

    #[test]
    fn blocks_are_those_of_the_area() {
        let area = Area {
            first_block: 1024,
            segments: 2,
        };
        assert_eq!(area.end_block(), 2048);
        assert_eq!(area.block(0), area.named(1024));
        assert_eq!(area.block(Segment(1).block(511)), area.named(2047));
        for outside in [0, 1023, 2048, u32::MAX] {
            assert_eq!(area.named(outside), None, "{outside}");
        }
        assert_eq!(area.block(1024), None);
        assert_eq!(area.block(u64::MAX), None);
    }

    #[test]
    fn the_largest_area_does_not_overflow() {
        let area = Area {
            first_block: u32::MAX,
            segments: u32::MAX,
        };
        let last = area.block(area.blocks() - 1).unwrap();
        assert_eq!(last.number() + 1, area.end_block());
    }
}
