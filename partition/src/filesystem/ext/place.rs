//! Where blocks, groups and inodes are on the volume. This is the one place where their numbers
//! become bytes.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Layout":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group, Ino, InodePlace};
use super::superblock::Superblock;
use crate::extent::Extent;

impl Superblock {
    /// The bytes of `blocks` blocks from `start` on. `None` when there are none, or when one of them
    /// is beyond the filesystem's end.
    pub(super) fn extent(&self, start: Block, blocks: u64) -> Option<Extent> {
        let end = start.0.checked_add(blocks)?;
        let is_inside = end <= self.blocks;
        Extent::between(self.byte(start), self.byte(Block(end))).filter(|_| is_inside)
    }

    /// As [`extent`](Self::extent), for blocks that a field points at: `None` also when they begin
    /// at or before the block of the primary superblock.
    pub(super) fn pointed(&self, start: Block, blocks: u64) -> Option<Extent> {
        self.extent(start, blocks)
            .filter(|_| start > self.first_data_block)
    }

    /// The bytes of `blocks` blocks from `start` on, as far as they are before the filesystem's end.
    pub(super) fn extent_to_end(&self, start: Block, blocks: u64) -> Option<Extent> {
        let end = start.0.saturating_add(blocks).min(self.blocks);
        Extent::between(self.byte(start), self.byte(Block(end)))
    }

    /// Where a block starts. A number that is too large for that stands for the last byte of all,
    /// where no device has any.
    pub(super) fn byte(&self, block: Block) -> u64 {
        block.0.saturating_mul(self.block_bytes.into())
    }

    /// First block of a group.
    pub(super) fn group_start(&self, group: Group) -> Block {
        // Three numbers of 32 bits: two multiplied, and the third added, fit 64.
        let in_groups = u64::from(group.0) * u64::from(self.blocks_per_group);
        Block(in_groups + self.first_data_block.0)
    }

    /// Where an inode is; `None` when the filesystem has no inode of this number.
    pub(super) fn inode_place(&self, number: Ino) -> Option<InodePlace> {
        let index = number
            .0
            .checked_sub(1)
            .filter(|_| number.0 <= self.inodes)?;
        Some(InodePlace {
            group: Group(index / self.inodes_per_group),
            index: index % self.inodes_per_group,
        })
    }

    /// The inode at a place.
    pub(super) fn inode_number(&self, place: InodePlace) -> Ino {
        // All inodes together were counted in 32 bits.
        Ino(place.group.0 * self.inodes_per_group + place.index + 1)
    }

    /// Where an inode starts in the inode table of its group.
    pub(super) fn inode_byte(&self, table: Block, index: u32) -> u64 {
        let in_table = u64::from(index) * u64::from(self.inode_bytes);
        self.byte(table).saturating_add(in_table)
    }
}

#[cfg(test)]
mod tests {
    use crate::device::{ReadAt, read_vec};
    use crate::extent::Extent;
    use crate::filesystem::ext::address::{Block, Group, Ino, InodePlace};
    use crate::filesystem::ext::superblock::{LEN_BYTES, OFFSET_BYTES, Superblock};
    use crate::filesystem::golden::image;

    fn superblock() -> Superblock {
        let device = image("ext4-odd");
        let raw = read_vec(&device, OFFSET_BYTES, LEN_BYTES).unwrap();
        Superblock::parse(&raw, device.geometry().size_bytes).unwrap()
    }

    #[test]
    fn blocks_beyond_the_end_have_no_bytes() {
        let superblock = superblock();
        let (blocks, bytes) = (superblock.blocks, u64::from(superblock.block_bytes));
        let last = Block(blocks - 1);
        assert_eq!(
            superblock.extent(last, 1),
            Extent::new(last.0 * bytes, bytes)
        );
        assert_eq!(
            superblock.extent_to_end(last, 9),
            superblock.extent(last, 1)
        );
        for (start, count) in [
            (last.0, 2),
            (blocks, 1),
            (u64::MAX, 1),
            (1, u64::MAX),
            (5, 0),
            (u64::MAX / 2, u64::MAX / 2),
        ] {
            assert_eq!(superblock.extent(Block(start), count), None, "{start}");
            assert_eq!(superblock.pointed(Block(start), count), None, "{start}");
        }
        assert_eq!(superblock.extent_to_end(Block(blocks), 1), None);
        assert_eq!(superblock.pointed(superblock.first_data_block, 1), None);
        assert!(superblock.extent(superblock.first_data_block, 1).is_some());
    }

    #[test]
    fn inodes_have_places_in_groups() {
        let superblock = superblock();
        for number in 1..=superblock.inodes {
            let place = superblock.inode_place(Ino(number)).unwrap();
            assert!(place.group.0 < superblock.groups && place.index < superblock.inodes_per_group);
            assert_eq!(superblock.inode_number(place), Ino(number));
        }
        let (group, index) = (Group(0), 1);
        let root = InodePlace { group, index };
        assert_eq!(superblock.inode_place(Ino::ROOT), Some(root));
        for number in [0, superblock.inodes + 1, u32::MAX] {
            assert_eq!(superblock.inode_place(Ino(number)), None, "{number}");
        }
    }
}
