//! Numbers of allocation groups, blocks and inodes. Each is a type of its own, so that none is taken
//! for another; `place` makes bytes of them.
//!
//! XFS Algorithms & Data Structures, "Allocation Groups" and "Inode Numbers":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use crate::filesystem::numbers::displayed;

/// `xfs_agnumber_t`: the number of an allocation group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgNumber(pub(super) u32);

/// `xfs_agblock_t`: the number of a block within its allocation group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgBlock(pub(super) u32);

/// `xfs_fsblock_t`: the number of a block of the filesystem. The upper bits are the group, the lower
/// ones the block within it. Between two groups there may be numbers of no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FsBlock(pub(super) u64);

/// `xfs_agino_t`: the number of an inode within its allocation group. It counts from the start of
/// the group on, as if the whole group were inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AgIno(pub(super) u32);

/// `xfs_ino_t`: the number of an inode. The upper bits are the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ino(pub(super) u64);

displayed!(AgNumber AgBlock FsBlock AgIno Ino);
