//! What is kept from one run to the next, as a stream: written as a walk goes, read in step with the
//! next one, in the memory of one frame. All integers are little-endian.
//!
//! ```text
//! header, 32 bytes
//!  0   8  magic: what is kept
//!  8   4  version, 1
//! 12   4  features that a reader must know; 0
//! 16   8  horizon: seconds since 1970, signed
//! 24   4  and nanoseconds
//! 28   4  CRC-32C of bytes 0 to 27
//!
//! frames, one after the other
//!  0   4  count of entries, at most 4096; 0 ends the stream
//!  4   4  flags, which say how long entries are
//!  8   8  number of the first entry; in the last frame, how many entries there are in all
//! 16   n  entries
//!  +   4  CRC-32C of all of the frame before
//!
//! entry
//!  0   2  its number after the one before; 0 in the first of a frame, and nowhere else
//!  2   n  what is kept
//! ```
//!
//! Numbers ascend. Nothing is compressed, as digests can't be.

mod reader;
mod writer;

pub use reader::Stream;
pub use writer::{Kept, StreamWriter};

use std::fmt::Debug;
use std::io;

const VERSION: u32 = 1;
const HEADER_LEN: usize = 32;
const FRAME_HEADER_LEN: usize = 16;
const FRAME_ENTRIES: usize = 4096;
/// Length of the field before what is kept.
const GAP_LEN: usize = 2;

/// Something that has one entry in such a stream.
pub trait Keep: Copy + Debug {
    /// The first bytes of a stream of them.
    const MAGIC: [u8; 8];

    /// What entries are ordered by.
    fn number(&self) -> u64;

    /// The flags of a frame that may hold it.
    fn flags(&self) -> u32;

    /// The length of what is kept in a frame of those flags; `None` when there are no such frames.
    fn len(flags: u32) -> Option<usize>;

    /// Adds what is kept to a frame.
    fn put(&self, frame: &mut Vec<u8>);

    /// What `put` wrote, in a frame of those flags.
    fn parse(number: u64, flags: u32, raw: &[u8]) -> Self;
}

/// The 16 bytes of a digest at an offset of an entry.
pub(super) fn digest_at(raw: &[u8], at: usize) -> [u8; 16] {
    let bytes = raw.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().unwrap_or_default()
}

/// What keeps such a stream from being read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// It could not be read.
    #[error("what the last run kept: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error(
        "what the last run kept: {what} at byte {offset_bytes:#x}: expected {expected}, found {found}"
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
