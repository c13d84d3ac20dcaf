//! Looking for the files that hold given bytes: the files that a walk over a directory tree has
//! found, and the directories that it still has to read.

use super::Owner;
use super::owners::FILES_MAX;
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};

/// The most bytes that the paths of directories still to be read may take.
pub(super) const PENDING_BYTES_MAX: usize = 16 << 20;

/// Bytes in question, and the files that were found to hold some of them.
pub(super) struct Finder<'a> {
    wanted: &'a ExtentMap,
    files_max: usize,
    owners: Vec<Owner>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(wanted: &'a ExtentMap, files_max: usize) -> Self {
        Self {
            wanted,
            files_max: files_max.min(FILES_MAX),
            owners: Vec::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.owners.len() >= self.files_max
    }

    /// Records an owner if `run`, which starts at `position_bytes` of the file, holds a wanted
    /// byte. Whether the rest of this file needs no look.
    pub(super) fn note(&mut self, path: &str, position_bytes: u64, run: Extent) -> bool {
        if self.is_done() {
            return true;
        }
        let Some(extent) = self.wanted.within(run).next() else {
            return false;
        };
        let delta_bytes = extent.offset_bytes().saturating_sub(run.offset_bytes());
        self.owners.push(Owner {
            path: path.to_owned(),
            file_offset_bytes: position_bytes.saturating_add(delta_bytes),
            extent,
            inline_sha256: None,
        });
        true
    }

    pub(super) fn into_owners(self) -> Vec<Owner> {
        self.owners
    }
}

/// Directories still to be read, with their paths, in bounded memory.
pub(super) struct Pending<T> {
    entries: Vec<(String, T)>,
    paths_bytes: usize,
    bytes_max: usize,
}

impl<T> Pending<T> {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            paths_bytes: 0,
            bytes_max,
        }
    }

    /// Adds a directory. `filesystem` is the name of its filesystem, for the error.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there are more than fit the bounds of memory.
    pub(super) fn push(&mut self, filesystem: &str, path: String, directory: T) -> Result<()> {
        // Each entry also costs its place in the list.
        self.paths_bytes = self.paths_bytes.saturating_add(path.len());
        let places_bytes = self.entries.len().saturating_mul(32);
        if self.paths_bytes.saturating_add(places_bytes) > self.bytes_max {
            let mebibytes = self.bytes_max >> 20;
            return Err(Error::unsupported(
                format!("a {filesystem} directory tree of this size"),
                format!("the paths of its directories need more than {mebibytes} MiB"),
            ));
        }
        self.entries.push((path, directory));
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<(String, T)> {
        let (path, directory) = self.entries.pop()?;
        self.paths_bytes = self.paths_bytes.saturating_sub(path.len());
        Some((path, directory))
    }
}
