//! A digest of where all parts of a file lie.

use klon_partition::filesystem::files::{FileRun, RunKind};
use sha2::{Digest, Sha256};

/// A digest of where all parts of a file lie: the first half of a SHA-256 over its runs.
pub(super) struct Mapping(Sha256);

impl Mapping {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds the next run, in the order of the walk.
    pub(super) fn push(&mut self, run: &FileRun, heeds_state: bool) {
        let kind = match run.kind {
            RunKind::Contents => 0_u8,
            RunKind::Attributes => 1,
            RunKind::Map => 2,
        };
        let state = u8::from(run.is_written && heeds_state);
        self.0.update([kind, state]);
        for number in [
            run.file_offset_bytes,
            run.extent.offset_bytes(),
            run.extent.len_bytes(),
        ] {
            self.0.update(number.to_le_bytes());
        }
    }

    pub(super) fn finish(self) -> [u8; 16] {
        let digest = self.0.finalize();
        digest.first_chunk().copied().unwrap_or_default()
    }
}
