//! Which files hold given bytes: the files that were found, and what could not be looked at.

mod forgiving;
mod gaps;
mod paths;
#[cfg(test)]
mod tests;

pub(crate) use forgiving::Forgiving;
pub(crate) use gaps::Gaps;
pub(super) use paths::Links;

use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use serde::Serialize;

/// The most files that are looked for at once.
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
    /// The path from the root of the filesystem, with a leading slash; one of them, when the file has
    /// several names. A named stream of NTFS follows a colon. A file whose name can't be read is
    /// called by its number, as in `/<12>`.
    pub path: String,
    /// Where the first byte in question lies in the file, or in the file's extended attributes when
    /// the byte is one of theirs.
    pub file_offset_bytes: u64,
    /// Where this byte, and the bytes in question that follow it, lie on the volume.
    pub extent: Extent,
    /// SHA-256 of the contents, for a small file that Btrfs keeps among its own structures; such a
    /// file moves when a neighbor changes. `None` for any other file.
    #[serde(skip)]
    pub inline_sha256: Option<[u8; 32]>,
}

/// The files that hold bytes in question, as far as they could be found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Owners {
    /// The files that were found.
    pub files: Vec<Owner>,
    /// Why there may be more files: the first of the structures that could not be read or fail their
    /// check. Empty when everything was looked at.
    pub gaps: Vec<String>,
}

/// A filesystem that is looked through, and where to note what could not be looked at.
pub(super) struct Scan<'a, S> {
    pub(super) superblock: &'a S,
    pub(super) device: &'a dyn ReadAt,
    pub(super) gaps: &'a Gaps,
}

// Derived ones would ask for a superblock that can be copied.
impl<S> Clone for Scan<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Scan<'_, S> {}

/// Looks through a filesystem; gives what could not be looked at. A filesystem that can't be used at
/// all is one gap.
pub(super) fn look<S>(
    superblock: Result<&S>,
    device: &dyn ReadAt,
    look: impl FnOnce(&Scan<'_, S>),
) -> Vec<String> {
    let gaps = &Gaps::new();
    if let Some(superblock) = gaps.tolerate(superblock) {
        look(&Scan {
            superblock,
            device,
            gaps,
        });
    }
    gaps.list()
}

/// The files that `find` finds in a filesystem, with all gaps.
pub(super) fn search<S>(
    filesystem: Result<&S>,
    wanted: &Wanted<'_>,
    find: impl FnOnce(&S, &Gaps) -> Vec<Owner>,
) -> Owners {
    let gaps = Gaps::new();
    let filesystem = gaps.tolerate(filesystem);
    let filesystem = filesystem.filter(|_| !wanted.is_nothing());
    let files = filesystem.map(|it| find(it, &gaps));
    gaps.with(files.unwrap_or_default())
}
