//! Object ids: of trees, and of the files in them (btrfs on-disk format, "Objectids").

/// `BTRFS_FIRST_FREE_OBJECTID`: the first subvolume, and the root directory of each.
pub(super) const ROOT_DIRECTORY: u64 = 256;
/// `BTRFS_LAST_FREE_OBJECTID`.
const LAST_FREE_OBJECTID: u64 = u64::MAX - 255;

/// Whether a subvolume or a file may have this id. The filesystem keeps the others for itself.
pub(super) const fn is_free_objectid(objectid: u64) -> bool {
    objectid >= ROOT_DIRECTORY && objectid <= LAST_FREE_OBJECTID
}

/// The object id of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TreeId(u64);

impl TreeId {
    /// `BTRFS_ROOT_TREE_OBJECTID`: the tree that names the others.
    pub(super) const ROOT: Self = Self(1);
    /// `BTRFS_EXTENT_TREE_OBJECTID`.
    pub(super) const EXTENT: Self = Self(2);
    /// `BTRFS_CHUNK_TREE_OBJECTID`.
    pub(super) const CHUNK: Self = Self(3);
    /// `BTRFS_FS_TREE_OBJECTID`: the top-level subvolume.
    pub(super) const FS: Self = Self(5);
    /// `BTRFS_CSUM_TREE_OBJECTID`: checksums of data.
    pub(super) const CHECKSUM: Self = Self(7);
    /// `BTRFS_BLOCK_GROUP_TREE_OBJECTID`: not every filesystem has one.
    pub(super) const BLOCK_GROUP: Self = Self(11);

    pub(super) const fn new(objectid: u64) -> Self {
        Self(objectid)
    }

    pub(super) const fn objectid(self) -> u64 {
        self.0
    }

    /// Whether files are in it.
    pub(super) const fn is_subvolume(self) -> bool {
        self.0 == Self::FS.0 || is_free_objectid(self.0)
    }
}

/// A file in a subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// The subvolume.
    pub(super) tree: TreeId,
    pub(super) inode: u64,
}

impl Node {
    /// The root directory of a subvolume.
    pub(super) const fn root(tree: TreeId) -> Self {
        let inode = ROOT_DIRECTORY;
        Self { tree, inode }
    }

    /// The root of the filesystem.
    pub(super) const fn top() -> Self {
        Self::root(TreeId::FS)
    }

    /// The number that stands for a file without a name.
    pub(super) const fn number(self) -> u64 {
        if self.inode == ROOT_DIRECTORY {
            self.tree.objectid()
        } else {
            self.inode
        }
    }
}
