//! The bytes that hold contents of regular files.

use super::{File, FileKind, FileRun, FileVisitor, Next, RunKind};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::gather::Gather;

/// Gathers the contents of a user's regular files: what a walk may add for
/// [`Filesystem::metadata_but`](crate::filesystem::Filesystem::metadata_but).
pub struct Contents {
    gather: Gather,
    is_full: bool,
}

impl Contents {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gather: Gather::new(),
            is_full: false,
        }
    }

    /// All of them; `None` when they are in too many pieces. They are all only after a walk without gaps
    /// that was not stopped.
    #[must_use]
    pub fn finish(self) -> Option<ExtentMap> {
        self.gather.finish().filter(|_| !self.is_full)
    }
}

impl FileVisitor for Contents {
    fn file(&mut self, file: &File<'_>) -> Next {
        if file.kind == FileKind::Regular && !file.is_internal {
            Next::Continue
        } else {
            Next::SkipFile
        }
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        if run.kind != RunKind::Contents {
            return Next::Continue;
        }
        let left_bytes = file
            .contents_end_bytes
            .saturating_sub(run.file_offset_bytes);
        let len_bytes = left_bytes.min(run.extent.len_bytes());
        let Some(extent) = Extent::new(run.extent.offset_bytes(), len_bytes) else {
            return Next::Continue;
        };
        if self.gather.push(extent) {
            return Next::Continue;
        }
        self.is_full = true;
        Next::Stop
    }
}

impl Default for Contents {
    fn default() -> Self {
        Self::new()
    }
}

/// A visitor, and the contents of files gathered on its walk.
pub struct Beside<'a> {
    visitor: &'a mut dyn FileVisitor,
    contents: Contents,
    /// Whether the contents of this file are none of them, or no more are gathered.
    is_left: bool,
}

impl<'a> Beside<'a> {
    /// Gathers on the walk of `visitor`, which must not skip the runs of any file.
    #[must_use]
    pub fn new(visitor: &'a mut dyn FileVisitor) -> Self {
        Self {
            visitor,
            contents: Contents::new(),
            is_left: false,
        }
    }

    /// What was gathered.
    #[must_use]
    pub fn finish(self) -> Contents {
        self.contents
    }
}

impl FileVisitor for Beside<'_> {
    fn file(&mut self, file: &File<'_>) -> Next {
        let is_its = self.contents.file(file) == Next::Continue;
        self.is_left = self.contents.is_full || !is_its;
        self.visitor.file(file)
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        if !self.is_left {
            self.is_left = self.contents.run(file, run) == Next::Stop;
        }
        self.visitor.run(file, run)
    }
}
