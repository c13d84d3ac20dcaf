//! How long chunks are, and so where each one lies.

use klon_partition::{Extent, ExtentMap};
use std::fmt;

/// Size of the chunks of a volume or an image: a power of two from 64 KiB to 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkSize {
    /// Its binary logarithm.
    bits: u8,
}

impl ChunkSize {
    /// The smallest that an image may have.
    pub const MIN: Self = Self { bits: 16 };
    /// The largest that an image may have.
    pub const MAX: Self = Self { bits: 24 };
    /// That of clones, and of images that were made without another.
    pub const USUAL: Self = Self { bits: 20 };

    /// The size of so many bytes; `None` for one that no chunk has.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        Self::all().find(|size| size.bytes() == bytes)
    }

    /// Every size, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::MIN.bits..=Self::MAX.bits).map(|bits| Self { bits })
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.bits
    }

    /// In bytes, as images store it.
    pub(crate) const fn bytes_u32(self) -> u32 {
        1 << self.bits
    }

    /// The length of a buffer for a chunk.
    #[must_use]
    pub const fn buffer_len(self) -> usize {
        1 << self.bits
    }

    /// The number of the chunk in which a byte lies, from 0.
    #[must_use]
    pub const fn index(self, offset_bytes: u64) -> u64 {
        offset_bytes >> self.bits
    }

    /// Where the chunk of this number lies on a volume of `size_bytes`; `None` behind its end. The
    /// last one is cut where the volume ends.
    #[must_use]
    pub fn chunk(self, index: u64, size_bytes: u64) -> Option<Extent> {
        let start_bytes = index.checked_mul(self.bytes())?;
        let end_bytes = start_bytes.checked_add(self.bytes())?;
        Extent::between(start_bytes, end_bytes.min(size_bytes))
    }

    /// The chunks of a volume of `size_bytes` that hold any byte of `map`, in order.
    pub fn chunks(self, map: &ExtentMap, size_bytes: u64) -> impl Iterator<Item = Extent> + '_ {
        let mut next_bytes = 0;
        std::iter::from_fn(move || {
            let rest = Extent::between(next_bytes, size_bytes)?;
            let first = map.within(rest).next()?;
            let start_bytes = self.index(first.offset_bytes()) * self.bytes();
            let end_bytes = start_bytes.saturating_add(self.bytes()).min(size_bytes);
            next_bytes = end_bytes;
            Extent::between(start_bytes, end_bytes)
        })
    }
}

impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::ChunkSize;
    use klon_partition::{Extent, ExtentMap};

    #[test]
    fn sizes_are_powers_of_two_within_the_bounds() {
        let sizes: Vec<u64> = ChunkSize::all().map(ChunkSize::bytes).collect();
        assert_eq!(
            sizes,
            [16, 17, 18, 19, 20, 21, 22, 23, 24].map(|bits| 1_u64 << bits)
        );
        for bytes in [0, 1, 1 << 15, 3 << 16, (1 << 16) + 1, 1 << 25, u64::MAX] {
            assert_eq!(ChunkSize::new(bytes), None, "{bytes}");
        }
    }

    #[test]
    fn the_last_chunk_is_cut_and_none_is_behind_it() {
        let size = ChunkSize::MIN;
        assert_eq!(size.chunk(1, 70_000), Extent::new(65_536, 4464));
        assert_eq!(size.chunk(2, 70_000), None);
        assert_eq!(size.chunk(u64::MAX, u64::MAX), None);
        assert_eq!((size.index(65_535), size.index(65_536)), (0, 1));
    }

    #[test]
    fn chunks_of_other_sizes_are_visited_too() {
        let map: ExtentMap = [(70_000, 1), (200_000, 9)]
            .into_iter()
            .filter_map(|(offset, len)| Extent::new(offset, len))
            .collect();
        let visited = |size: ChunkSize| -> Vec<_> {
            size.chunks(&map, 200_010)
                .map(|c| (c.offset_bytes(), c.len_bytes()))
                .collect()
        };
        assert_eq!(visited(ChunkSize::MIN), [(65_536, 65_536), (196_608, 3402)]);
        assert_eq!(visited(ChunkSize::MAX), [(0, 200_010)]);
    }
}
