//! Addresses: objects, transactions and blocks, which are all 64-bit integers on the disk
//! (`oid_t`, `xid_t`, `paddr_t` of the
//! [Apple File System Reference](https://developer.apple.com/support/downloads/Apple-File-System-Reference.pdf),
//! "General-Purpose Types").

use crate::extent::Extent;
use std::fmt;

/// An object's identifier. A physical object's is the address of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Oid(pub(super) u64);

/// A transaction's identifier; it grows with each transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Xid(pub(super) u64);

/// The address of a block, as a field on the disk has it: the container may have no such block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Paddr(pub(super) u64);

impl Paddr {
    /// The identifier of the physical object at this address.
    pub(super) const fn oid(self) -> Oid {
        Oid(self.0)
    }

    /// How many blocks lie between `earlier` and this one; 0 when it is the earlier one.
    pub(super) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! display {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

display!(Oid Xid Paddr);

/// A range of addresses (`prange_t`), as fields on the disk have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) start: Paddr,
    pub(super) count: u64,
}

impl Blocks {
    /// The range of one block.
    pub(super) const fn one(start: Paddr) -> Self {
        Self { start, count: 1 }
    }

    /// How far a block is from the start; `None` when it is not one of the range.
    pub(super) fn index(self, block: Paddr) -> Option<u64> {
        let index = block.0.checked_sub(self.start.0)?;
        (index < self.count).then_some(index)
    }

    /// The address of block `index`; `None` when the range has fewer.
    pub(super) fn get(self, index: u64) -> Option<Paddr> {
        let address = self.start.0.checked_add(index)?;
        (index < self.count).then_some(Paddr(address))
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.start, self.count)
    }
}

/// A container's blocks. All of them lie on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Container {
    /// `nx_block_size`
    pub(super) block_size_bytes: u32,
    /// `nx_block_count`
    pub(super) blocks: u64,
}

impl Container {
    /// The block at `address`; `None` when it is block 0 or the container has none there.
    pub(super) fn block(self, address: Paddr) -> Option<Block> {
        (1..self.blocks).contains(&address.0).then_some(Block {
            address,
            size_bytes: self.block_size_bytes,
        })
    }

    /// Whether there is such a range of blocks, without block 0.
    pub(super) fn has(self, blocks: Blocks) -> bool {
        let end = blocks.start.0.checked_add(blocks.count);
        blocks.start.0 > 0 && end.is_some_and(|end| end <= self.blocks)
    }

    /// The volume's bytes of a range of blocks; `None` when it is empty or no volume is that long.
    pub(super) fn extent(self, blocks: Blocks) -> Option<Extent> {
        let size_bytes = u64::from(self.block_size_bytes);
        Extent::new(
            blocks.start.0.checked_mul(size_bytes)?,
            blocks.count.checked_mul(size_bytes)?,
        )
    }

    /// Bytes of `blocks` blocks; `None` when the container has fewer.
    pub(super) fn len_bytes(self, blocks: u64) -> Option<u64> {
        let blocks = Some(blocks).filter(|&blocks| blocks <= self.blocks)?;
        blocks.checked_mul(self.block_size_bytes.into())
    }
}

/// A block that the container has. Only a [`Container`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    address: Paddr,
    size_bytes: u32,
}

impl Block {
    pub(super) const fn address(self) -> Paddr {
        self.address
    }

    /// Where it starts on the volume. It lies there, so this does not overflow.
    pub(super) fn offset_bytes(self) -> u64 {
        self.address.0 * u64::from(self.size_bytes)
    }

    /// Its size, for buffers.
    pub(super) const fn len(self) -> usize {
        self.size_bytes as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{Blocks, Container, Paddr};
    use crate::extent::Extent;

    const CONTAINER: Container = Container {
        block_size_bytes: 4096,
        blocks: 100,
    };

    const fn blocks(start: u64, count: u64) -> Blocks {
        Blocks {
            start: Paddr(start),
            count,
        }
    }

    #[test]
    fn blocks_are_those_of_the_container() {
        for address in [0, 100, u64::MAX] {
            assert!(CONTAINER.block(Paddr(address)).is_none(), "{address}");
        }
        let last = CONTAINER.block(Paddr(99)).unwrap();
        assert_eq!(last.offset_bytes(), 99 * 4096);
        assert!(CONTAINER.has(blocks(1, 99)));
        for outside in [blocks(0, 1), blocks(1, 100), blocks(u64::MAX, 2)] {
            assert!(!CONTAINER.has(outside), "{outside}");
        }
        assert_eq!(CONTAINER.len_bytes(100), Some(409_600));
        assert_eq!(CONTAINER.len_bytes(101), None);
    }

    #[test]
    fn ranges_are_checked() {
        let range = blocks(10, 3);
        assert_eq!(range.get(2), Some(Paddr(12)));
        assert_eq!((range.get(3), range.get(u64::MAX)), (None, None));
        assert_eq!(range.index(Paddr(12)), Some(2));
        assert_eq!(
            (range.index(Paddr(9)), range.index(Paddr(13))),
            (None, None)
        );
        assert_eq!(CONTAINER.extent(range), Extent::new(10 * 4096, 3 * 4096));
        assert_eq!(CONTAINER.extent(blocks(1, 0)), None);
        assert_eq!(CONTAINER.extent(blocks(1 << 60, 1)), None);
    }
}
