//! Numbers of blocks, block groups and inodes. Each is a type of its own, so that none is taken for
//! another; `place` makes bytes of them.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Layout":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use crate::filesystem::numbers::displayed;

/// The number of a block. A number from the disk may be beyond the filesystem's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block(pub(super) u64);

/// The number of a block of the journal, counted from the start of the journal's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogBlock(pub(super) u32);

/// The number of a block group, below the number of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group(pub(super) u32);

/// The number of an inode. The first is 1; 0 in a field says that there is none. A number from the
/// disk may be larger than the number of inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ino(pub(super) u32);

impl Ino {
    /// The inode of the root directory, `EXT4_ROOT_INO`.
    pub(super) const ROOT: Self = Self(2);
}

displayed!(Block LogBlock Group Ino);

/// Where an inode is: its group, and its index in the inode table of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InodePlace {
    pub(super) group: Group,
    pub(super) index: u32,
}
