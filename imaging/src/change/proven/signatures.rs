//! Signatures of files that are written past the filesystem: swap's, and a boot loader's variables.
//! The kernel writes the blocks of a swap file, and GRUB those of its environment block. The filesystem
//! does not know of it. The content alone shows such blocks. They are never taken for proven, so each run
//! reads them and sees again what they are.

use klon_partition::{Extent, ExtentMap};

/// At the end of swap's first page: in use, of the first version, and while the system is suspended
/// (as in `filesystem/swap.rs`).
const SWAP: [&[u8]; 6] = [
    b"SWAPSPACE2",
    b"SWAP-SPACE",
    b"S1SUSPEND",
    b"S2SUSPEND",
    b"ULSUSPEND",
    b"LINHIB0001",
];
const SWAP_LEN: usize = 10;
/// At the start of GRUB's environment block (`grub/lib/envblk.h`).
const GRUB: &[u8] = b"# GRUB Environment Block";
/// Blocks of no filesystem here are smaller, and chunks are multiples of it.
const UNIT: usize = 512;
/// The largest page of a machine that runs Linux: swap's signature is in a file's first one.
pub(super) const HEAD_BYTES: u64 = 64 << 10;

/// Where such signatures are in `content`, which lies at `offset_bytes` of the volume, a multiple of
/// 512.
pub fn signatures_in(offset_bytes: u64, content: &[u8]) -> impl Iterator<Item = Extent> + '_ {
    let units = (offset_bytes..).step_by(UNIT).zip(content.chunks(UNIT));
    units.filter_map(|(at, unit)| {
        let tail = unit
            .len()
            .checked_sub(SWAP_LEN)
            .and_then(|at| unit.get(at..));
        let is_swap = tail.is_some_and(|tail| SWAP.iter().any(|it| tail.starts_with(it)));
        let is_one = is_swap || unit.starts_with(GRUB);
        let len_bytes = u64::try_from(unit.len()).unwrap_or(0);
        Extent::new(at, len_bytes).filter(|_| is_one)
    })
}

/// Gathers signatures as they are found, in any order.
#[derive(Debug, Default)]
pub struct Signatures {
    found: Vec<Extent>,
    extents_max: usize,
}

impl Signatures {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(1 << 16)
    }

    const fn with_limit(extents_max: usize) -> Self {
        Self {
            found: Vec::new(),
            extents_max,
        }
    }

    /// Looks at what was read of the volume at `offset_bytes`, a multiple of 512.
    pub fn look(&mut self, offset_bytes: u64, content: &[u8]) {
        self.add(signatures_in(offset_bytes, content));
    }

    /// Adds what [`signatures_in`] found.
    pub fn add(&mut self, found: impl IntoIterator<Item = Extent>) {
        for extent in found {
            self.found.push(extent);
            if self.found.len() >= self.extents_max.saturating_mul(2) {
                self.found = self.joined().iter().collect();
            }
        }
    }

    /// Where they are. When they are too many, small gaps between them count as well: files there
    /// are read in vain, and none is missed.
    #[must_use]
    pub fn finish(self) -> ExtentMap {
        self.joined()
    }

    fn joined(&self) -> ExtentMap {
        super::areas::coarse(&self.found, self.extents_max)
    }
}

#[cfg(test)]
mod tests {
    use super::{Signatures, signatures_in};
    use klon_partition::Extent;

    #[test]
    fn signatures_are_found_where_they_can_be() {
        let mut content = vec![0_u8; 128 << 10];
        let mut put = |at: usize, text: &[u8]| content[at..at + text.len()].copy_from_slice(text);
        put(4086, b"SWAPSPACE2");
        put(65_526, b"S1SUSPEND\0");
        put(1014, b"SWAP-SPACE");
        put(90_112, b"# GRUB Environment Block\n");
        // Not at an end, and not at a start.
        put(20_000, b"SWAPSPACE2");
        put(30_000, b"# GRUB Environment Block\n");
        let found = signatures_in(1 << 20, &content).map(Extent::offset_bytes);
        let expected = [512, 3584, 65_024, 90_112].map(|at| (1 << 20) + at);
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(signatures_in(0, &content[..700]).count(), 0);
    }

    #[test]
    fn too_many_cover_more_and_lose_none() {
        let mut signatures = Signatures::with_limit(10);
        let extents: Vec<Extent> = (0..1000)
            .map(|index| Extent::new(index * 1_000_000 % 7_777_777 * 512, 512).unwrap())
            .collect();
        signatures.add(extents.iter().copied());
        let found = signatures.finish();
        assert!(found.extents().len() <= 10);
        assert!(extents.iter().all(|&extent| found.contains(extent)));
    }
}
