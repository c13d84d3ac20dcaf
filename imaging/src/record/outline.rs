//! A record without its digests: what it says of a clone before any content is looked at. Only the
//! sections that are asked for are read, each by its own checksum, so that a directory of large records
//! is gone through fast.

use super::manifest::Manifest;
use super::own_identity::OwnIdentity;
use super::reader::{Reader, check_bad};
use super::scan::Sections;
use crate::error::{Result, io_error};
use crate::source::Filled;
use klon_partition::ExtentMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A record whose manifest alone was read so far.
#[derive(Debug)]
pub struct Outline {
    /// Everything but extents and digests.
    pub manifest: Manifest,
    path: PathBuf,
    file: File,
    sections: Sections,
}

impl Outline {
    /// Opens the record at `path`. The outer error is of a file that can't be opened, the inner one of
    /// what is in it.
    pub(super) fn open(path: &Path) -> Result<Result<Self>> {
        let file = File::open(path).map_err(|source| io_error(path, "open", source))?;
        Ok(Self::of(path, file))
    }

    fn of(path: &Path, file: File) -> Result<Self> {
        let sections = Sections::find_all(path, &file)?;
        let reader = Reader {
            path,
            file: &file,
            sections: &sections,
        };
        let manifest = reader.manifest()?;
        Ok(Self {
            manifest,
            path: path.to_owned(),
            file,
            sections,
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            path: &self.path,
            file: &self.file,
            sections: &self.sections,
        }
    }

    fn data(&self) -> Result<ExtentMap> {
        let end_bytes = self.manifest.target_bytes;
        self.reader().map(b"DATA", "DATA", end_bytes)
    }

    /// Everything that target and source shared.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], [`crate::Error::RecordCorrupt`].
    pub fn wanted(&self) -> Result<ExtentMap> {
        let end_bytes = self.manifest.target_bytes;
        let zero = self.reader().map(b"ZERO", "ZERO", end_bytes)?;
        Ok(self.data()?.union(&zero))
    }

    /// What could not be read from the source, and what stands there.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], [`crate::Error::RecordCorrupt`].
    pub fn bad(&self) -> Result<Filled> {
        let reader = self.reader();
        let extents = reader.map_if_any(b"BADS", "BADS", self.manifest.target_bytes)?;
        if extents.is_empty() {
            return Ok(Filled::default());
        }
        check_bad(&self.path, &extents, &self.data()?)?;
        Ok(Filled {
            extents,
            texts: reader.bad_fill()?,
        })
    }

    /// The identity that the clone has of its own; `None` where it has its source's.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], [`crate::Error::RecordCorrupt`].
    pub fn own_identity(&self) -> Result<Option<OwnIdentity>> {
        self.reader().own_identity(self.manifest.target_bytes)
    }

    /// The file of the record.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
