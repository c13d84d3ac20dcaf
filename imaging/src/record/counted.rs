//! How many digests a record has, and must have.

use crate::chunk::Digest;
use crate::error::{Error, Result};

/// The digests so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted(u64);

impl Counted {
    pub(super) const fn add(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    pub(super) const fn len_bytes(self) -> u64 {
        self.0.saturating_mul(Digest::LEN as u64)
    }

    /// Checks that there are as many as chunks. A record that has others would describe a clone that there
    /// is not.
    pub(super) fn check(self, what: &str, chunks: u64) -> Result<()> {
        if self.0 == chunks {
            return Ok(());
        }
        // Digests are streamed to the file as chunks come, and the chunks of a record are known only at its end.
        let found = self.0;
        Err(Error::Internal(format!(
            "{found} digests of {what}, expected {chunks}"
        )))
    }
}
