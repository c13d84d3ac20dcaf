//! Evidence: what a run keeps beside its record, so that the next one can prove files unchanged. All
//! integers are little-endian.
//!
//! ```text
//! header, 96 bytes
//!  0   8  magic "klonevid"
//!  8   4  version, 1
//! 12   4  header length, 96
//! 16   8  feature bits: a reader must refuse those it does not know; 0
//! 24   4  what it belongs to: 1 a record, 2 a volume in a snapshot of an image
//! 28   4  zero
//! 32  32  which one: the SHA-256 of the record; or that of the image's UUID (16 bytes), the SHA-256 of
//!         the snapshot's manifest (32), and where the volume lies in it: offset and length (8 each)
//! 64   8  length of the identities
//! 72   8  length of the file
//! 80  12  zero
//! 92   4  CRC-32C of bytes 0 to 91
//!
//! identities of files (`proven/identities.rs`), or what is kept of extents (`proven/extents.rs`), from
//! byte 96 on
//!
//! sections (as in a record, each of them once), from there to the end
//! "SIGN"  extents of what was read that look as what is written past the filesystem
//! "PAST"  extents of files that are written past the filesystem
//! "DMGD"  extents of what was read and is damaged by the filesystem's checksums, or could not be compared
//! "META"  JSON, the fields of `EvidenceMeta`
//! ```
//!
//! It counts only when it names the very record or snapshot that is believed. It is written after that is
//! durable, so that a power cut in between leaves a record without evidence, and the next run reads
//! everything. A manifest names its pages, and they their chunks, by digest and place: evidence holds for
//! a copy of the image too, and no longer for one that was compacted.

mod reader;
mod writer;

pub use reader::Evidence;
pub use writer::{Draft, Findings, Spool};

use super::proven::Stamped;
use crate::chunk::Digest;
use klon_partition::Extent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// First bytes of every evidence.
pub(crate) const MAGIC: &[u8; 8] = b"klonevid";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 96;
const CRC_AT: usize = HEADER_LEN - 4;
/// A META section is never longer.
const META_BYTES_MAX: u64 = 1 << 20;
/// What evidence is called in messages.
const NAME: &str = "evidence";

/// What evidence belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// The record of a clone, by its digest.
    Record([u8; 32]),
    /// A volume in a snapshot of an image, by the digest of what tells it.
    Snapshot([u8; 32]),
}

impl Belonging {
    /// What evidence of the volume at `part` of a snapshot belongs to. `manifest` is the digest of the
    /// snapshot's manifest, `image` the UUID of its image.
    pub(crate) fn of_snapshot(image: Uuid, manifest: Digest, part: Extent) -> Self {
        let (offset, length) = (part.offset_bytes(), part.len_bytes());
        let told = [
            &image.as_bytes()[..],
            &manifest.0,
            &offset.to_le_bytes(),
            &length.to_le_bytes(),
        ];
        Self::Snapshot(Digest::of(&told.concat()).0)
    }

    /// What is said of evidence that belongs to another one.
    pub(crate) const fn other(self) -> &'static str {
        match self {
            Self::Record(_) => "it belongs to another record",
            Self::Snapshot(_) => "it belongs to another snapshot",
        }
    }

    const fn code(self) -> u32 {
        match self {
            Self::Record(_) => 1,
            Self::Snapshot(_) => 2,
        }
    }

    const fn digest(self) -> [u8; 32] {
        match self {
            Self::Record(digest) | Self::Snapshot(digest) => digest,
        }
    }

    const fn of(code: u32, digest: [u8; 32]) -> Option<Self> {
        match code {
            1 => Some(Self::Record(digest)),
            2 => Some(Self::Snapshot(digest)),
            _ => None,
        }
    }
}

/// A bitmap of a server, which it keeps of what is written to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bitmap {
    /// The export that it is of, as the user names it.
    #[serde(with = "klon_partition::text::stored")]
    pub export: String,
    /// Its own name.
    #[serde(with = "klon_partition::text::stored")]
    pub name: String,
}

/// The `META` section: what is known of a volume and of the runs before. Unknown keys are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceMeta {
    /// What was known of the volume as a whole.
    pub stamped: Stamped,
    /// When the user said that no power cut came since the record before, in seconds since 1970;
    /// `None` when nobody had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_clean_unix_seconds: Option<u64>,
    /// Whether the user had it that file records are trusted, which is a heuristic.
    #[serde(default)]
    pub trusts_file_records: bool,
    /// Where the next audit goes on.
    #[serde(default)]
    pub audit_cursor_bytes: u64,
    /// When the last run that read everything looked at the volume, in seconds since 1970.
    pub full_unix_seconds: u64,
    /// How many runs left files unread since.
    #[serde(default)]
    pub runs_since_full: u64,
    /// How many of them believed what someone else told of changes.
    #[serde(default)]
    pub tracked_runs_since_full: u64,
    /// The bitmap that the source's server had before the run began to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitmap: Option<Bitmap>,
    /// Why no file may be left unread until a run has read everything.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "klon_partition::text::stored_option"
    )]
    pub disabled: Option<String>,
}

impl EvidenceMeta {
    /// Takes over how long ago all was read, of another look of the same run.
    pub(crate) fn go_on(&mut self, before: &Self) {
        self.full_unix_seconds = before.full_unix_seconds;
        self.runs_since_full = before.runs_since_full;
        self.tracked_runs_since_full = before.tracked_runs_since_full;
        self.audit_cursor_bytes = before.audit_cursor_bytes;
        self.disabled = before.disabled.clone();
    }

    /// Notes that a file changed without a trace in its metadata: this run reads everything, and so does
    /// the next one, for that reason.
    pub(crate) fn disable(&mut self, reason: String) {
        self.disabled = Some(reason);
        self.full_unix_seconds = self.stamped.seen;
        self.runs_since_full = 0;
        self.tracked_runs_since_full = 0;
    }
}

#[cfg(test)]
mod tests;
