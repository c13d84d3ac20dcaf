//! The write-intent log of a run that writes in place: what it was about to touch, and what of
//! that is durable, so that a run which was killed is gone on with instead of started over.
//!
//! It lies beside the target's record while the run goes on. A run that stages an update keeps one
//! too, which says what is staged already.
//!
//! A chunk that a run in place intends to touch is
//! named in the log, durably, before it is touched; its digest follows once the target has been
//! synced. After an interruption a chunk is therefore known by its digest here, or suspect and
//! compared, or untouched and what it was before the run. All integers are little-endian.
//!
//! ```text
//! header, 64 bytes
//!  0   8  magic "klonlog\n"
//!  8   4  version, 1
//! 12   4  header length, 64
//! 16  16  UUID of the run, which the target's mark has too
//! 32  28  zero
//! 60   4  CRC-32C of bytes 0 to 59
//!
//! frames; the first that is cut off or fails its checksum ends the log
//!  0   4  tag, four ASCII letters
//!  4   4  length of the payload
//!  8   n  payload
//!  +   4  CRC-32C of tag, length and payload
//!
//! "RUN "  JSON, the fields of `RunMeta`
//! "DATA"  extents whose bytes are in use, as in a record
//! "ZERO"  extents that are in use and zero, as in a record
//! "TCHD"  extents of the chunks that earlier attempts of the run touched, as in a record
//! "LIVE"  empty: from here on the latest attempt speaks; what comes before are earlier ones
//! "INTN"  number of a chunk, 8 bytes, and how many from there on may be touched from now on, 8
//! "STGD"  what is staged so far: UUID of the run that staged it, 16 bytes, and a reference to the
//!         last block of its index, 48, as in a mark
//! "DONE"  for each chunk that is durable, ascending: its number, 8 bytes, and its digest, 32
//! ```

mod frame;
mod reader;
mod writer;

pub use reader::Interrupted;
pub use writer::{IntentLog, Start};

use crate::hex::Hex;
use klon_partition::Identity;
use serde::{Deserialize, Serialize};

/// The `RUN ` frame of a log, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// What is cloned.
    pub source: Identity,
    /// Where to.
    pub target: Identity,
    /// Size of the source.
    pub source_bytes: u64,
    /// Size of the target.
    pub target_bytes: u64,
    /// What the chunks hold that the run did not touch.
    pub untouched: Untouched,
}

/// The content of chunks that a run did not touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Untouched {
    /// Nothing of the clone: it was the first one.
    Nothing,
    /// Something that must be compared.
    Unknown,
    /// What the record with this SHA-256 says.
    Record(Hex),
}
