//! Which files hold given bytes: what is found, and what hides more of it.

mod forgiving;
mod gaps;
mod paths;
#[cfg(test)]
mod tests;

pub(crate) use forgiving::Forgiving;
pub(crate) use gaps::Gaps;
pub(super) use paths::Links;

use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use serde::Serialize;

/// More files than this are never looked for at once.
pub(super) const FILES_MAX: usize = 1 << 16;

/// Bytes in question, and how many files that hold some of them are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) extents: &'a ExtentMap,
    pub(super) files_max: usize,
}

impl<'a> Wanted<'a> {
    /// At most `files_max` of the files that hold bytes of `extents`.
    pub(super) fn new(extents: &'a ExtentMap, files_max: usize) -> Self {
        let files_max = files_max.min(FILES_MAX);
        Self { extents, files_max }
    }

    /// Whether no file at all is looked for.
    fn is_nothing(&self) -> bool {
        self.extents.is_empty() || self.files_max == 0
    }
}

/// A file that holds bytes in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Path from the root of the filesystem, with a leading slash. Of several names, one. A named
    /// stream of NTFS follows a colon. What has no name that can be read is called by its number,
    /// as in `/<12>`.
    pub path: String,
    /// Where the first byte in question lies in the file; in its extended attributes, if it is
    /// one of those that are kept outside of the file's contents.
    pub file_offset_bytes: u64,
    /// Where that byte and those that follow it lie on the volume.
    pub extent: Extent,
    /// SHA-256 of the contents of a file that is kept among the filesystem's own structures and moves
    /// with those when a neighbor changes (Btrfs); `None` for any other.
    #[serde(skip)]
    pub inline_sha256: Option<[u8; 32]>,
}

/// The files that hold bytes in question, as far as they can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Owners {
    /// The files that were found.
    pub files: Vec<Owner>,
    /// Why there may be more of them: structures that could not be read or fail their check, the
    /// first of those. Empty when all was looked at.
    pub gaps: Vec<String>,
}

/// What `look` finds in a filesystem, and what it could not look at. A filesystem that can't be used
/// at all is one gap.
pub(super) fn with_gaps<S, T: Default>(
    filesystem: Result<S>,
    look: impl FnOnce(S, &Gaps) -> T,
) -> (T, Vec<String>) {
    let gaps = Gaps::new();
    let found = gaps.tolerate(filesystem).map(|it| look(it, &gaps));
    (found.unwrap_or_default(), gaps.list())
}

/// The files that `find` finds in a filesystem, with all gaps.
pub(super) fn search<S>(
    filesystem: Result<S>,
    wanted: &Wanted<'_>,
    find: impl FnOnce(S, &Gaps) -> Vec<Owner>,
) -> Owners {
    let (files, gaps) = with_gaps(filesystem, |it, gaps| {
        if wanted.is_nothing() {
            Vec::new()
        } else {
            find(it, gaps)
        }
    });
    Owners { files, gaps }
}
