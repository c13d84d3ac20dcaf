//! What is kept of each file from one run to the next, as a stream: written as a walk goes, read in
//! step with the next one, in the memory of one frame. All integers are little-endian.
//!
//! ```text
//! header, 32 bytes
//!  0   8  magic "klonfile"
//!  8   4  version, 1
//! 12   4  features that a reader must know; 0
//! 16   8  horizon: seconds since 1970, signed
//! 24   4  and nanoseconds
//! 28   4  CRC-32C of bytes 0 to 27
//!
//! frames, one after the other
//!  0   4  count of entries, at most 4096; 0 ends the stream
//!  4   4  bit 0: entries have a count of changes
//!  8   8  number of the first inode; in the last frame, how many entries there are in all
//! 16   n  entries
//!  +   4  CRC-32C of all of the frame before
//!
//! entry, 34 bytes, or 40
//!  0   2  number of the inode after the one before; 0 in the first of a frame, and nowhere else
//!  2  16  identity of the inode
//! 18  16  digest of where the file lies
//! 34   4  count of changes, below 2^32 - 1
//! 38   2  digest of the time of access: the lower half of its CRC-32C
//! ```
//!
//! Numbers of inodes ascend. Nothing is compressed, as digests can't be.

mod reader;
mod writer;

pub use reader::Identities;
pub use writer::{IdentityWriter, Kept};

use klon_partition::filesystem::files::{Changes, FileIdentity};
use std::io;

const MAGIC: &[u8; 8] = b"klonfile";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 32;
const FRAME_HEADER_LEN: usize = 16;
const FRAME_ENTRIES: usize = 4096;
const HAS_COUNTS: u32 = 1;
const ENTRY_LEN: usize = 34;
const COUNTED_ENTRY_LEN: usize = 40;

/// What is kept of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its inode.
    pub number: u64,
    /// A digest of the inode.
    pub identity: FileIdentity,
    /// A digest of where its bytes lie.
    pub mapping: [u8; 16],
    /// Its count of changes, where the filesystem has one that reading raises.
    pub counted: Option<Counted>,
}

/// A count of changes, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The count.
    pub count: u32,
    /// A digest of the time of access. Where it differs, so did that; where not, that is not sure,
    /// and the file is read.
    pub accessed: u16,
}

impl Counted {
    /// What is kept of a count; `None` of one that is too large.
    #[must_use]
    pub fn of(changes: Changes) -> Option<Self> {
        let count = u32::try_from(changes.count).ok()?;
        let accessed = crc32c::crc32c(&changes.accessed).to_le_bytes();
        (count < u32::MAX).then_some(Self {
            count,
            accessed: u16::from_le_bytes([accessed[0], accessed[1]]),
        })
    }

    /// Whether nothing but reading need have happened until `now`: the count is the same, or it
    /// rose and the time of access is another.
    #[must_use]
    pub const fn is_explained(self, now: Self) -> bool {
        now.count == self.count || now.count > self.count && now.accessed != self.accessed
    }
}

/// What keeps a stream of identities from being read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentitiesError {
    /// It could not be read.
    #[error("identities of files: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error(
        "identities of files: {what} at byte {offset_bytes:#x}: expected {expected}, found {found}"
    )]
    Corrupt {
        /// The field.
        what: &'static str,
        /// Where the header or the frame begins in the stream.
        offset_bytes: u64,
        /// What would have been valid.
        expected: String,
        /// What is there.
        found: String,
    },
}

#[cfg(test)]
mod tests;
