//! What goes into a record behind a section that is still being written. It waits in a file without a name.

use crate::durable::{directory_of, reserve};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::Path;

/// A file without a name.
#[derive(Debug)]
pub(super) struct Spool {
    file: BufWriter<File>,
    len_bytes: u64,
}

impl Spool {
    /// Begins one of up to `len_bytes`, beside the file at `path`.
    pub(super) fn begin(path: &Path, len_bytes: u64) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory_of(path))?;
        reserve(&file, len_bytes)?;
        Ok(Self {
            file: BufWriter::new(file),
            len_bytes: 0,
        })
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len_bytes = self.len_bytes.saturating_add(bytes.len() as u64);
        self.file.write_all(bytes)
    }

    /// How many bytes were added.
    pub(super) const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// All of it, from the first byte.
    pub(super) fn rewind(self) -> io::Result<BufReader<File>> {
        let mut file = self.file.into_inner()?;
        file.rewind()?;
        Ok(BufReader::new(file))
    }
}
