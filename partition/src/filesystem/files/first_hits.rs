//! The first byte in question of each file.

use super::{File, FileRun, FileVisitor, Next, RunKind};
use crate::extent::Extent;
use crate::filesystem::owners::{Owner, Wanted};

/// A file's first byte in question: where it is in the file, and where on the volume. `K` tells the
/// files of a filesystem apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::filesystem) struct Hit<K> {
    pub(in crate::filesystem) file: K,
    pub(in crate::filesystem) file_offset_bytes: u64,
    /// That byte and those in question that follow it.
    pub(in crate::filesystem) extent: Extent,
}

impl<K> Hit<K> {
    /// The file by its path.
    pub(in crate::filesystem) fn owner(self, path: String) -> Owner {
        Owner {
            path,
            file_offset_bytes: self.file_offset_bytes,
            extent: self.extent,
            inline_sha256: None,
        }
    }
}

/// Finds the files that hold wanted bytes.
pub(in crate::filesystem) struct FirstHits<'a> {
    wanted: Wanted<'a>,
    hits: Vec<Hit<u64>>,
}

impl<'a> FirstHits<'a> {
    pub(in crate::filesystem) const fn new(wanted: &Wanted<'a>) -> Self {
        Self {
            wanted: *wanted,
            hits: Vec::new(),
        }
    }

    /// Whether no further file is looked for.
    pub(in crate::filesystem) fn is_full(&self) -> bool {
        self.hits.len() >= self.wanted.files_max
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
        if run.kind == RunKind::Map {
            return Next::Continue;
        }
        let Some(extent) = self.wanted.extents.within(run.extent).next() else {
            return Next::Continue;
        };
        // The bytes found are within the run.
        let in_run_bytes = extent.offset_bytes() - run.extent.offset_bytes();
        self.hits.push(Hit {
            file: file.number,
            file_offset_bytes: run.file_offset_bytes.saturating_add(in_run_bytes),
            extent,
        });
        Next::SkipFile
    }
}
