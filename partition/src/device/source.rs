//! A file or block device opened for reading only.

use super::handle::{Handle, Kind};
use super::{FileId, Geometry, IoMode, ReadAt, Stamp};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use std::path::Path;

/// A file or block device that can be read and not written.
#[derive(Debug)]
pub struct Source {
    handle: Handle,
    is_exclusive: bool,
}

impl Source {
    pub(super) const fn new(handle: Handle, is_exclusive: bool) -> Self {
        Self {
            handle,
            is_exclusive,
        }
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Whether it is a file or a block device.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.handle.kind
    }

    /// How it is read, and why not better.
    #[must_use]
    pub const fn io_mode(&self) -> &IoMode {
        &self.handle.io_mode
    }

    /// Whether nothing can mount it or claim it otherwise while it is open. Never so for files.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Which file it is, which a path may cease to name; of a block device its number, and no inode.
    ///
    /// # Errors
    /// [`Error::Open`] when the system does not say.
    pub fn id(&self) -> Result<FileId> {
        self.handle.id()
    }

    /// Its state now, to be compared with a later one. What others wrote to it and the kernel
    /// still keeps in memory is brought to the medium first, so that it doesn't count as new.
    ///
    /// `None` where the kernel keeps no account of writes.
    ///
    /// # Errors
    /// [`Error::Open`] when the system does not say.
    pub fn stamp(&self) -> Result<Option<Stamp>> {
        if self.handle.kind == Kind::Block {
            // A device that can't do that has nothing to be brought to it.
            let _ = self.handle.file.sync_data();
        }
        Stamp::take(&self.handle).map_err(|source| Error::Open {
            path: self.handle.path.clone(),
            doing: "ask when it was written to",
            source,
        })
    }
}

impl ReadAt for Source {
    fn geometry(&self) -> Geometry {
        self.handle.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.handle.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.handle.data(within)
    }
}
