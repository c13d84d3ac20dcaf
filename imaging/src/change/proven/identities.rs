//! What is kept of each file from one run to the next: entries of a [stream](super::stream) whose
//! number is the inode's. Bit 0 of a frame's flags says that they have a count of changes.
//!
//! ```text
//! entry, 34 bytes, or 40, with the number before it
//!  2  16  identity of the inode
//! 18  16  digest of where the file lies
//! 34   4  count of changes, below 2^32 - 1
//! 38   2  digest of the time of access: the lower half of its CRC-32C
//! ```

use super::stream::{Keep, Stream, StreamWriter, digest_at};
use klon_partition::bytes::{le16, le32};
use klon_partition::filesystem::files::{Changes, FileIdentity};

pub use super::stream::{Kept, StreamError as IdentitiesError};

const HAS_COUNTS: u32 = 1;

/// What was kept of each file, in the order of their inodes.
pub type Identities<R> = Stream<R, Entry>;

/// Writes what is kept of each file, in the order of their inodes.
pub type IdentityWriter<W> = StreamWriter<W, Entry>;

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

impl Keep for Entry {
    const MAGIC: [u8; 8] = *b"klonfile";

    fn number(&self) -> u64 {
        self.number
    }

    fn flags(&self) -> u32 {
        match self.counted {
            Some(_) => HAS_COUNTS,
            None => 0,
        }
    }

    fn len(flags: u32) -> Option<usize> {
        match flags {
            0 => Some(32),
            HAS_COUNTS => Some(38),
            _ => None,
        }
    }

    fn put(&self, frame: &mut Vec<u8>) {
        frame.extend(self.identity);
        frame.extend(self.mapping);
        if let Some(counted) = self.counted {
            frame.extend(counted.count.to_le_bytes());
            frame.extend(counted.accessed.to_le_bytes());
        }
    }

    fn parse(number: u64, flags: u32, raw: &[u8]) -> Self {
        Self {
            number,
            identity: digest_at(raw, 0),
            mapping: digest_at(raw, 16),
            counted: (flags == HAS_COUNTS).then(|| Counted {
                count: le32(raw, 32),
                accessed: le16(raw, 36),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
