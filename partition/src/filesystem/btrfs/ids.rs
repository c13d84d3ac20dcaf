//! Object ids: of trees, and of files in them (btrfs on-disk format, "Objectids").

/// The tree that names the others.
pub(super) const ROOT_TREE: u64 = 1;
/// The tree of extents.
pub(super) const EXTENT_TREE: u64 = 2;
/// The tree of chunks.
pub(super) const CHUNK_TREE: u64 = 3;
/// The tree of the top-level subvolume.
pub(super) const FS_TREE: u64 = 5;
/// The tree of block groups, where there is one.
pub(super) const BLOCK_GROUP_TREE: u64 = 11;
/// Stands for the tree of a block that several trees may share: the block names the first of them.
pub(super) const ANY_TREE: u64 = 0;
/// `BTRFS_FIRST_FREE_OBJECTID`: the root directory of every subvolume.
pub(super) const ROOT_DIRECTORY: u64 = 256;

/// Whether that is the number of a subvolume's tree, or of a file in one: numbers above are the
/// filesystem's own.
pub(super) const fn is_free_objectid(objectid: u64) -> bool {
    objectid >= ROOT_DIRECTORY && objectid <= u64::MAX - 255
}

/// A file in a subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// Object id of the subvolume's tree.
    pub(super) tree: u64,
    pub(super) inode: u64,
}

impl Node {
    /// The root directory of a subvolume.
    pub(super) const fn root(tree: u64) -> Self {
        let inode = ROOT_DIRECTORY;
        Self { tree, inode }
    }

    /// The root of the filesystem.
    pub(super) const fn top() -> Self {
        Self::root(FS_TREE)
    }

    /// What the file is called by when it has no name.
    pub(super) const fn number(self) -> u64 {
        if self.inode == ROOT_DIRECTORY {
            self.tree
        } else {
            self.inode
        }
    }
}
