//! Records that wait beside the old ones until what they describe is on the target.

use super::store::{Record, RecordStore};
use super::writer::pending_path;
use crate::durable;
use crate::error::{Result, io_error};
use klon_partition::Identity;
use std::path::PathBuf;
use uuid::Uuid;

impl RecordStore {
    /// The file of the record of `target` that waits, if there is one.
    #[must_use]
    pub fn pending_path(&self, target: &Identity) -> PathBuf {
        pending_path(&self.path(target))
    }

    /// The record of `target` that waits, its checksums verified; `None` when there is none.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], [`crate::Error::RecordCorrupt`].
    pub fn load_pending(&self, target: &Identity) -> Result<Option<Record>> {
        Self::load_at(&self.pending_path(target), target)
    }

    /// Puts the record of `target` that waits in the place of the old one, durably.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn adopt_pending(&self, target: &Identity) -> Result<()> {
        let path = self.path(target);
        durable::replace(&pending_path(&path), &path)
            .map_err(|source| io_error(&path, "replace", source))
    }

    /// The same, if it is the record of `run`, which was just completed. Says whether it was.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`]; one that can't be read says nothing.
    pub fn adopt_pending_of(&self, target: &Identity, run: Uuid) -> Result<bool> {
        let pending = self.load_pending(target).ok().flatten();
        let is_of_run = pending.is_some_and(|record| record.manifest.run == Some(run));
        if is_of_run {
            self.adopt_pending(target)?;
        }
        Ok(is_of_run)
    }

    /// Forgets the record of `target` that waits, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn remove_pending(&self, target: &Identity) -> Result<()> {
        let path = self.pending_path(target);
        durable::remove(&path).map_err(|source| io_error(&path, "remove", source))
    }
}
