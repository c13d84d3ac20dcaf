//! One walk over the files of a filesystem: what each file is, and where its bytes lie.
//!
//! Each parser feeds the same visitor. A question about files (who owns a byte, which bytes are
//! contents, what changed) is a fold over this walk.

mod contents;
mod first_hits;

pub use contents::{Beside, Contents};
pub(super) use first_hits::{FirstHits, Hit};

use crate::extent::Extent;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a pipe, a socket.
    Other,
}

/// A moment as a filesystem stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that; 0 where the filesystem stores none.
    pub nanoseconds: u32,
}

/// A count of a file's changes that a new time of access may raise, too. It is no part of the
/// [identity](File::identity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The count. It never falls.
    pub count: u64,
    /// The time of access, as it lies on the disk.
    pub accessed: [u8; 8],
}

/// A file in use, as the walk meets it.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The number of its inode.
    pub number: u64,
    /// What it is.
    pub kind: FileKind,
    /// Whether the filesystem keeps something of its own in it: a journal, quotas, the values of
    /// extended attributes.
    pub is_internal: bool,
    /// Whether it is marked as a file that must not be changed. Boot loaders write the blocks of such
    /// files directly, without a trace in the inode.
    pub is_immutable: bool,
    /// Whether its name is one of files that systems write without a stamp in the inode.
    pub is_unstamped: bool,
    /// Its length.
    pub size_bytes: u64,
    /// Where its contents end. Runs behind this hold something else (hash trees of fs-verity).
    pub contents_end_bytes: u64,
    /// The unit in which the file gets room on the volume, at least a block. Nothing else lies between the
    /// runs of the file and the ends of their units.
    pub cluster_bytes: u64,
    /// When its inode changed last (`ctime`).
    pub changed: Stamp,
    /// When its inode was made, in seconds since 1970, where that is stored and looked at.
    pub made_seconds: Option<i64>,
    /// How often it changed, where the filesystem counts that and reading may count as well.
    pub changes: Option<Changes>,
    /// The inode as it lies on the disk.
    pub(super) inode: &'a [u8],
    /// Fields of the inode that change though the file does not, ascending.
    pub(super) volatile: &'a [Range<usize>],
}

/// A digest of all of the inode but its volatile fields. A file that has the same identity at two
/// moments has the same contents where it has the same runs.
pub type FileIdentity = [u8; 16];

impl File<'_> {
    /// The identity: the first half of a SHA-256 over the inode, its time of access, its
    /// [`changes`](Self::changes) and its checksums taken as zero.
    #[must_use]
    pub fn identity(&self) -> FileIdentity {
        self.identity_without(&[])
    }

    /// The identity with further fields of the inode taken as zero: weaker than it must be, for
    /// tests that show so.
    #[must_use]
    pub fn identity_without(&self, fields: &[Range<usize>]) -> FileIdentity {
        let mut inode = self.inode.to_vec();
        for field in self.volatile.iter().chain(fields) {
            let end = field.end.min(inode.len());
            if let Some(bytes) = inode.get_mut(field.start..end) {
                bytes.fill(0);
            }
        }
        let digest = Sha256::digest(&inode);
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// What a run holds of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Its contents. For a directory, these are its entries.
    Contents,
    /// Extended attributes.
    Attributes,
    /// Blocks that say where others are.
    Map,
}

/// Bytes that follow each other both in a file and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRun {
    /// Which bytes of the file these are.
    pub kind: RunKind,
    /// Where the first of them is in the contents or the attributes; 0 in a map.
    pub file_offset_bytes: u64,
    /// Where they lie on the volume.
    pub extent: Extent,
    /// Whether they were written. Unwritten bytes read as zeroes, whatever lies there.
    pub is_written: bool,
}

/// How a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// With the next run, or the next file.
    Continue,
    /// With the next file.
    SkipFile,
    /// Not at all.
    Stop,
}

/// Gets the files of a walk, and their runs.
pub trait FileVisitor {
    /// A file begins; its runs follow.
    fn file(&mut self, file: &File<'_>) -> Next;

    /// A run of the file that came last. Runs of one kind ascend in the file.
    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next;
}

#[cfg(test)]
mod tests;
