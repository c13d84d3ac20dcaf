//! Where allocation groups and blocks are on the volume. This is the one place where their numbers
//! become bytes.
//!
//! XFS Algorithms & Data Structures, "Allocation Groups" and "Inode Numbers":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::{AgBlock, AgIno, AgNumber, FsBlock, Ino};
use super::superblock::Superblock;
use crate::extent::Extent;

impl Superblock {
    /// All allocation groups.
    pub(super) fn group_numbers(&self) -> impl Iterator<Item = AgNumber> + use<> {
        (0..self.groups).map(AgNumber)
    }

    /// Blocks of a group. The last group may be shorter than the others; one that does not exist has
    /// none.
    pub(super) fn group_blocks_of(&self, group: AgNumber) -> u32 {
        let start = u64::from(group.0) * u64::from(self.group_blocks);
        let rest = self.blocks.saturating_sub(start);
        u32::try_from(rest).map_or(self.group_blocks, |rest| rest.min(self.group_blocks))
    }

    /// The bytes of `blocks` blocks from `start` on. `None` when there are none, or when one of them
    /// is not in the group.
    pub(super) fn extent(&self, group: AgNumber, start: AgBlock, blocks: u32) -> Option<Extent> {
        let end = start.0.checked_add(blocks)?;
        let is_inside = end <= self.group_blocks_of(group);
        let [start, end] = [start, AgBlock(end)].map(|block| self.group_byte(group, block));
        Extent::between(start, end).filter(|_| is_inside)
    }

    /// The bytes of `blocks` blocks from `start` on. `None` when there are none, or when they are not
    /// all in one group.
    pub(super) fn fs_extent(&self, start: FsBlock, blocks: u32) -> Option<Extent> {
        let group = start.0 >> self.group_blocks_log;
        let block = start.0 & ((1 << self.group_blocks_log) - 1);
        let (group, block) = (u32::try_from(group).ok()?, u32::try_from(block).ok()?);
        self.extent(AgNumber(group), AgBlock(block), blocks)
    }

    /// Where a block of a group starts.
    pub(super) fn group_byte(&self, group: AgNumber, block: AgBlock) -> u64 {
        // Three numbers of 32 bits: two multiplied, and the third added, fit 64.
        let before = u64::from(group.0) * u64::from(self.group_blocks);
        self.byte(before + u64::from(block.0))
    }

    /// How many bytes so many blocks have. A number of blocks that is too large for that has the
    /// largest number of bytes, and no device so many.
    pub(super) fn byte(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(self.block_bytes.into())
    }

    /// The number of an inode in the whole filesystem.
    pub(super) fn ino(&self, group: AgNumber, inode: AgIno) -> Ino {
        // 32 bits for a block and 8 for an inode in it, at the most; groups need 20.
        let log = u32::from(self.group_blocks_log) + u32::from(self.inodes_per_block_log);
        Ino(u64::from(group.0) << log | u64::from(inode.0))
    }
}

#[cfg(test)]
mod tests {
    use crate::device::{ReadAt, read_vec};
    use crate::extent::Extent;
    use crate::filesystem::golden::image;
    use crate::filesystem::xfs::address::{AgBlock, AgIno, AgNumber, FsBlock, Ino};
    use crate::filesystem::xfs::superblock::Superblock;

    fn superblock() -> Superblock {
        let device = image("xfs");
        let raw = read_vec(&device, 0, 512).unwrap();
        Superblock::parse(&raw, device.geometry().size_bytes).unwrap()
    }

    #[test]
    fn blocks_outside_of_their_group_have_no_bytes() {
        let superblock = superblock();
        let bytes = u64::from(superblock.block_bytes);
        let last = AgNumber(superblock.groups - 1);
        let len = superblock.group_blocks_of(last);
        let start = u64::from(last.0) * u64::from(superblock.group_blocks);
        let expected = Extent::new((start + u64::from(len) - 1) * bytes, bytes);
        assert_eq!(superblock.extent(last, AgBlock(len - 1), 1), expected);
        for (group, block, blocks) in [
            (last.0, len, 1),
            (last.0, len - 1, 2),
            (last.0, 0, 0),
            (last.0, u32::MAX, 1),
            (last.0, 1, u32::MAX),
            (superblock.groups, 0, 1),
            (u32::MAX, 0, 1),
        ] {
            let extent = superblock.extent(AgNumber(group), AgBlock(block), blocks);
            assert_eq!(extent, None, "{group} {block} {blocks}");
        }
    }

    #[test]
    fn the_upper_bits_are_the_group() {
        let superblock = superblock();
        let (group, log) = (superblock.groups - 1, superblock.group_blocks_log);
        let number = u64::from(group) << log;
        let expected = superblock.extent(AgNumber(group), AgBlock(5), 2);
        assert!(expected.is_some());
        assert_eq!(superblock.fs_extent(FsBlock(number | 5), 2), expected);
        for number in [u64::MAX, 1 << 63, u64::from(superblock.groups) << log] {
            assert_eq!(
                superblock.fs_extent(FsBlock(number), 1),
                None,
                "{number:#x}"
            );
        }
        let log = log + superblock.inodes_per_block_log;
        let expected = Ino(u64::from(group) << log | 131);
        assert_eq!(superblock.ino(AgNumber(group), AgIno(131)), expected);
    }
}
