//! Which file something is, whatever its names are by now.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// A file by its filesystem and its inode there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device number of the filesystem.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileId {
    /// The file that these metadata are of.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}
