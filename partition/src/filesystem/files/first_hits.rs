//! Of each file, the first byte that is in question.

use super::{File, FileRun, FileVisitor, Next, Part};
use crate::extent::{Extent, ExtentMap};

/// A file's first byte in question: where in the file, and where on the volume. `K` tells the
/// files of a filesystem apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filesystem) struct Hit<K> {
    pub(in crate::filesystem) file: K,
    pub(in crate::filesystem) file_offset_bytes: u64,
    /// That byte and those in question that follow it.
    pub(in crate::filesystem) extent: Extent,
}

/// Finds the files that hold bytes of some extents.
pub(in crate::filesystem) struct FirstHits<'a> {
    extents: &'a ExtentMap,
    files_max: usize,
    hits: Vec<Hit<u64>>,
}

impl<'a> FirstHits<'a> {
    /// Of at most `files_max` files.
    pub(in crate::filesystem) const fn new(extents: &'a ExtentMap, files_max: usize) -> Self {
        Self {
            extents,
            files_max,
            hits: Vec::new(),
        }
    }

    /// Whether no further file is looked for.
    pub(in crate::filesystem) fn is_full(&self) -> bool {
        self.hits.len() >= self.files_max
    }

    /// All that was found, in the order of the walk.
    pub(in crate::filesystem) fn finish(self) -> Vec<Hit<u64>> {
        self.hits
    }
}

impl FileVisitor for FirstHits<'_> {
    fn file(&mut self, _file: &File<'_>) -> Next {
        if self.is_full() {
            Next::Stop
        } else {
            Next::Continue
        }
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        if run.part == Part::Map {
            return Next::Continue;
        }
        let Some(extent) = self.extents.within(run.extent).next() else {
            return Next::Continue;
        };
        let in_run_bytes = extent
            .offset_bytes()
            .saturating_sub(run.extent.offset_bytes());
        self.hits.push(Hit {
            file: file.number,
            file_offset_bytes: run.file_offset_bytes.saturating_add(in_run_bytes),
            extent,
        });
        Next::SkipFile
    }
}
