//! The bytes that hold contents of regular files.

use super::{File, FileKind, FileRun, FileVisitor, Next, Part};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::gather::Gather;

/// Gathers the contents of a user's regular files.
pub(in crate::filesystem) struct Contents {
    gather: Gather,
    is_full: bool,
}

impl Contents {
    pub(in crate::filesystem) const fn new() -> Self {
        Self {
            gather: Gather::new(),
            is_full: false,
        }
    }

    /// All of them; `None` when they are in too many pieces.
    pub(in crate::filesystem) fn finish(self) -> Option<ExtentMap> {
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
        if run.part != Part::Contents {
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
