//! What goes into a walk, and what it can find of a file.

use super::identities::{Identities, IdentitiesError};
use klon_partition::filesystem::Kind;
use klon_partition::{Extent, ExtentMap};
use serde::Serialize;
use std::io;

/// What an earlier run left.
#[derive(Debug)]
pub struct Previous<'a, R> {
    /// What it kept of each file.
    pub identities: Identities<R>,
    /// Where it found [signatures](super::signatures_in) in what it read.
    pub signatures: &'a ExtentMap,
    /// What files had that are written past the filesystem, as far as it knew.
    pub written_past: &'a ExtentMap,
    /// What its record describes: all that was in use, but what could not be read or was left out.
    pub described: &'a ExtentMap,
}

/// A page of most machines, and as much as GRUB writes.
const PAGE_BYTES: u64 = 4096;

impl<R> Previous<'_, R> {
    /// Blocks that may have been written past the filesystem, by a file that had them then: whoever
    /// has them now, as blocks can be shared.
    pub(super) fn doubtful(&self) -> ExtentMap {
        let pages = self.signatures.aligned_out(PAGE_BYTES, u64::MAX);
        pages.union(self.written_past)
    }
}

/// What a walk found of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is what it was: proven.
    Unchanged,
    /// It has no blocks that were written: there is nothing to prove.
    Empty,
    /// Nothing was kept of it.
    New,
    /// Its inode is another.
    Changed,
    /// Its inode is the same, and it lies elsewhere.
    Moved,
    /// It may have changed in the tick of the earlier run's walk.
    Racy,
    /// It is of a kind that is written past the filesystem or without a stamp: marked as immutable, or
    /// told so by its name, or by what was read of it.
    WrittenPast,
    /// It is in more pieces than are held of one file.
    Scattered,
}

/// Files, and their bytes that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub files: u64,
    /// How many bytes of theirs.
    pub bytes: u64,
}

/// A file that is read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadWhole {
    /// Its bytes that were written.
    pub bytes: u64,
    /// Why it is read.
    pub verdict: Verdict,
    /// Some of its bytes, by which the filesystem names it.
    pub extent: Extent,
}

/// The largest files that are read whole, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Largest(Vec<ReadWhole>);

impl Largest {
    /// How many are held.
    const FILES_MAX: usize = 10;

    pub(super) fn add(&mut self, file: ReadWhole) {
        let at = self.0.partition_point(|held| held.bytes >= file.bytes);
        if at < Self::FILES_MAX {
            self.0.insert(at, file);
            self.0.truncate(Self::FILES_MAX);
        }
    }

    /// Adds those of another volume, which begins at `start_bytes` of the same disk.
    pub(crate) fn join(&mut self, other: &Self, start_bytes: u64) {
        for &file in &other.0 {
            if let Some(extent) = file.extent.shifted(start_bytes) {
                self.add(ReadWhole { extent, ..file });
            }
        }
    }

    /// The files, largest first.
    #[must_use]
    pub fn files(&self) -> &[ReadWhole] {
        &self.0
    }
}

/// What keeps a walk from proving anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// The filesystem is of no kind whose files show by themselves that they are what they were.
    #[error("the files of {0} don't show whether they changed")]
    Kind(Kind),
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] klon_partition::Error),
    /// Metadata that could not be read or failed a check.
    #[error("not all metadata of the source can be read: {}", .0.join("; "))]
    Gaps(Vec<String>),
    /// What was kept before can't be used.
    #[error(transparent)]
    Previous(#[from] IdentitiesError),
    /// What is to be kept can't be written.
    #[error("what this run keeps: {0}")]
    Keep(#[source] io::Error),
    /// Someone asked for it to stop.
    #[error("interrupted")]
    Interrupted,
}
