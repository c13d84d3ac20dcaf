//! The description of a volume at one moment, and of the runs that led to it.

use crate::chunk::CHUNK_BYTES;
pub use crate::hex::Hex;
use crate::rung::Rung;
use crate::tally::Tally;
use klon_partition::filesystem::{Kind, Summary};
use klon_partition::{Identity, Outside};
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// With this begins the reason of a run that went around bad sectors.
pub(crate) const RESCUE: &str = "rescue: ";

/// Runs that a record remembers; older ones are forgotten.
pub const HISTORY_MAX: usize = 200;

/// The `META` section of a record, as JSON: everything but extents and digests.
///
/// Unknown keys are ignored, so that later versions may add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was cloned.
    pub source: Identity,
    /// Where to.
    pub target: Identity,
    /// Size of the source.
    pub source_bytes: u64,
    /// Size of the target.
    pub target_bytes: u64,
    /// Unit of the digests.
    pub chunk_bytes: u64,
    /// What the volume is formatted as, if that was recognised.
    pub filesystem: Option<FilesystemId>,
    /// The filesystem's change token after the run, 64 hexadecimal digits; without one, nothing
    /// shows whether the target was changed since.
    pub token: Option<Hex>,
    /// SHA-256 over the digests of the filesystem's metadata (section `MDGS`), 64 hexadecimal
    /// digits; none in records of the first versions, or when the filesystem has no token and the user did
    /// not have its file records trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_digest: Option<Hex>,
    /// The run that made the record, as its mark on the target has it; none in records of the first
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// What the clone is for; [`Role::Backup`] in records that do not say.
    #[serde(default)]
    pub role: Role,
    /// What was copied of the bytes that no one proved free; all of them in records that do not say.
    #[serde(default)]
    pub outside: Outside,
    /// How the source was at rest when it was read; [`Consistency::Still`] in records that do not say.
    #[serde(default)]
    pub consistency: Consistency,
    /// Files whose contents were left out, and are zero on the clone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// What was made larger on the target since, oldest first: it is no longer, block for block, what this
    /// record describes. A run that makes a new record ends that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grown: Vec<Growth>,
    /// Whether the clone is put to sleep after each run, so that nothing mounts it: `dormant`, absent when it is
    /// not.
    #[serde(
        default,
        rename = "dormant",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_dormant: bool,
    /// The runs, oldest first; the last one made this record.
    pub history: Vec<RunEntry>,
}

/// A file whose contents were left out, as they are worth nothing on a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path; of a whole disk with the number of the partition before a colon.
    #[serde(with = "klon_partition::text::stored")]
    pub path: String,
    /// How many bytes of it.
    pub skipped_bytes: u64,
}

/// A filesystem on a clone that was made larger. Sizes and places of the source stay in the record as they
/// were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// When it was begun, in seconds since 1970 UTC.
    pub began_unix_seconds: u64,
    /// The partition of the target, where that is a whole disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The size of the volume before.
    pub from_bytes: u64,
    /// The size that it was to have.
    pub to_bytes: u64,
    /// Whether the filesystem was seen to be larger afterwards. Otherwise the tool that makes it so failed,
    /// or was interrupted.
    pub is_complete: bool,
}

/// How a source was at rest when it was read, so that what was copied is its state of one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Nobody had it mounted for writing.
    #[default]
    Still,
    /// It was mounted for writing, and frozen.
    Frozen,
    /// It was mounted for writing, and read-only for the moment.
    ReadOnly,
    /// It was read from a snapshot of LVM.
    Snapshot,
    /// It was mounted for writing, and could not be brought to rest: all of it that is in use was read twice in a row,
    /// and both reads were equal.
    ReadTwice,
}

impl Consistency {
    /// Whether the source was mounted for writing, and at rest for moments alone.
    pub(crate) const fn is_short(self) -> bool {
        matches!(self, Self::Frozen | Self::ReadOnly | Self::ReadTwice)
    }

    /// How the source was at rest, in words to follow "its source"; `None` when nobody had it mounted.
    #[must_use]
    pub const fn told(self) -> Option<&'static str> {
        match self {
            Self::Still => None,
            Self::Frozen => Some("was mounted, and frozen"),
            Self::ReadOnly => Some("was mounted, and read-only for the moment"),
            Self::Snapshot => Some("was mounted, and read from a snapshot"),
            Self::ReadTwice => {
                Some("was mounted and not at rest, and the same when it was read twice")
            }
        }
    }

    /// Whether nobody had the source mounted for writing.
    #[must_use]
    pub const fn is_still(&self) -> bool {
        matches!(self, Self::Still)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Still => "still",
            Self::Frozen => "frozen",
            Self::ReadOnly => "read-only",
            Self::Snapshot => "snapshot",
            Self::ReadTwice => "read twice",
        })
    }
}

/// What a clone is for: which of the two is the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The source is the original.
    #[default]
    Backup,
    /// The source was itself a clone of something: the target is a copy of a backup, or a new
    /// drive in the place of a lost original.
    Copy,
    /// The target is the original, brought back from a clone because the user insisted.
    Restore,
}

/// Which filesystem instance a volume holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemId {
    /// What it is.
    pub kind: Kind,
    /// Its label.
    #[serde(default, with = "klon_partition::text::stored_option")]
    pub label: Option<String>,
    /// Its UUID or serial number.
    #[serde(default, with = "klon_partition::text::stored_option")]
    pub uuid: Option<String>,
}

impl From<&Summary> for FilesystemId {
    fn from(summary: &Summary) -> Self {
        Self {
            kind: summary.kind,
            label: summary.label.clone(),
            uuid: summary.uuid.clone(),
        }
    }
}

/// One run, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// When the run ended, in seconds since 1970 UTC.
    pub ended_unix_seconds: u64,
    /// How changes were found.
    pub rung: Rung,
    /// Why that way.
    #[serde(with = "klon_partition::text::stored")]
    pub reason: String,
    /// Whether the journal of the source was replayed for it: the source itself was not in the state that
    /// the clone is of. `replayed`, absent when it was not.
    #[serde(
        default,
        rename = "replayed",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_replayed: bool,
    /// The size of the source's filesystem, where it was shrunk for the target; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk_from_bytes: Option<u64>,
    /// How much it read and wrote.
    #[serde(flatten)]
    pub tally: Tally,
    /// How long it took.
    pub milliseconds: u64,
}

impl RunEntry {
    /// Whether the run went around bad sectors of its source.
    #[must_use]
    pub fn is_rescue(&self) -> bool {
        self.reason.starts_with(RESCUE)
    }
}

impl Manifest {
    /// Checks what JSON can't say.
    ///
    /// # Errors
    /// A sentence on the field that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.chunk_bytes != CHUNK_BYTES {
            return Err(format!(
                "chunk_bytes is {}, expected {CHUNK_BYTES}",
                self.chunk_bytes
            ));
        }
        if self.source_bytes > self.target_bytes {
            return Err(format!(
                "source_bytes {} is more than target_bytes {}",
                self.source_bytes, self.target_bytes
            ));
        }
        Ok(())
    }

    /// When the last run ended, in seconds since 1970 UTC; 0 when there was none.
    #[must_use]
    pub fn ended_unix_seconds(&self) -> u64 {
        self.history.last().map_or(0, |run| run.ended_unix_seconds)
    }

    /// Adds a run and forgets the oldest beyond [`HISTORY_MAX`].
    pub fn remember(&mut self, run: RunEntry) {
        self.history.push(run);
        let surplus = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..surplus);
    }
}
