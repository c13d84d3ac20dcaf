//! The description of a volume at one moment, and of the runs that led to it.

use crate::chunk::CHUNK_BYTES;
pub use crate::hex::Hex;
use crate::rung::Rung;
use klon_partition::filesystem::{Kind, Summary};
use klon_partition::{Identity, Outside};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// digits; none in records of the first versions, or when the filesystem has no token.
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
    /// The runs, oldest first; the last one made this record.
    pub history: Vec<RunEntry>,
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
    /// Bytes of the source in use.
    pub used_bytes: u64,
    /// Bytes read from the source.
    pub read_source_bytes: u64,
    /// Bytes read from the target.
    pub read_target_bytes: u64,
    /// Bytes in blocks that differed.
    pub changed_bytes: u64,
    /// Bytes written to the target in place or made zero there.
    pub written_bytes: u64,
    /// Bytes written to free room of the target first; 0 in records of the first version.
    #[serde(default)]
    pub staged_bytes: u64,
    /// How long it took.
    pub milliseconds: u64,
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
