//! A file or block device opened for writing, claimed for us alone.

use super::aligned::AlignedBuffer;
use super::handle::{Handle, Kind};
use super::{FileId, Geometry, IoMode, ReadAt, WriteAt, block, check_range, file};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// Zeroes are written in pieces of this size where nothing faster works.
const ZEROES_BYTES: u64 = 1 << 20;

/// A file or block device that can be read and written.
///
/// Once a write, a zeroing or a sync has failed, every later sync fails too: what the device
/// lost stays lost, however well the next sync goes.
#[derive(Debug)]
pub struct Target {
    handle: Handle,
    failure: OnceLock<String>,
}

impl Target {
    pub(super) const fn new(handle: Handle) -> Self {
        Self {
            handle,
            failure: OnceLock::new(),
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

    /// Which file it is, which a path may cease to name; of a block device its number, and no inode.
    ///
    /// # Errors
    /// [`Error::Open`] when the system does not say.
    pub fn id(&self) -> Result<FileId> {
        self.handle.id()
    }

    /// How it is read and written, and why not better.
    #[must_use]
    pub const fn io_mode(&self) -> &IoMode {
        &self.handle.io_mode
    }

    /// Remembers a failure of the device, if `result` is one, and makes it an [`Error`].
    pub(super) fn note<T>(
        &self,
        result: io::Result<T>,
        operation: Operation,
        extent: Extent,
    ) -> Result<T> {
        result.map_err(|source| {
            let (offset_bytes, len_bytes) = extent.into();
            let error = Error::io(operation, offset_bytes, len_bytes, source);
            self.failure.get_or_init(|| error.to_string());
            error
        })
    }

    fn zero_whole_units(&self, extent: Extent) -> io::Result<()> {
        let is_done = {
            let _shared = self.handle.share_units();
            match self.handle.kind {
                Kind::File => file::zero(&self.handle.file, extent)?,
                Kind::Block => block::zero(&self.handle.file, extent)?,
            }
        };
        if is_done {
            return Ok(());
        }
        self.write_zeroes(extent)
    }

    pub(super) fn write_zeroes(&self, extent: Extent) -> io::Result<()> {
        let zeroes = AlignedBuffer::zeroed(extent.len_bytes().min(ZEROES_BYTES) as usize);
        for piece in extent.split(ZEROES_BYTES) {
            let data = &zeroes[..piece.len_bytes() as usize];
            self.handle.write_all_at(data, piece.offset_bytes())?;
        }
        Ok(())
    }
}

impl ReadAt for Target {
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

impl WriteAt for Target {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Write, offset_bytes, data.len())?;
        let Some(extent) = Extent::new(offset_bytes, data.len() as u64) else {
            return Ok(());
        };
        let written = self.handle.write_all_at(data, offset_bytes);
        self.note(written, Operation::Write, extent)
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.handle.check(Operation::Zero, extent)?;
        let zeroed = match self.handle.whole_units(extent) {
            None => self.write_zeroes(extent),
            Some(middle) => {
                let head = Extent::between(extent.offset_bytes(), middle.offset_bytes());
                let tail = Extent::between(middle.end_bytes(), extent.end_bytes());
                head.into_iter()
                    .chain(tail)
                    .try_for_each(|edge| self.write_zeroes(edge))
                    .and_then(|()| self.zero_whole_units(middle))
            }
        };
        self.note(zeroed, Operation::Zero, extent)
    }

    fn discard(&self, extent: Extent) -> Result<()> {
        self.handle.check(Operation::Discard, extent)?;
        let Some(whole) = self.handle.whole_units(extent) else {
            return Ok(());
        };
        let _shared = self.handle.share_units();
        let discarded = match self.handle.kind {
            Kind::File => file::discard(&self.handle.file, whole),
            Kind::Block => block::discard(&self.handle.file, whole),
        };
        // A discard that fails has lost nothing that anyone wanted.
        discarded.map(|_| ()).map_err(|source| {
            let (offset_bytes, len_bytes) = whole.into();
            Error::io(Operation::Discard, offset_bytes, len_bytes, source)
        })
    }

    fn sync(&self) -> Result<()> {
        let size_bytes = self.geometry().size_bytes;
        if let Some(failure) = self.failure.get() {
            let source = io::Error::other(format!("an earlier request failed: {failure}"));
            return Err(Error::io(Operation::Sync, 0, size_bytes, source));
        }
        let synced = self.handle.file.sync_data();
        if let Some(extent) = self.geometry().extent() {
            self.note(synced, Operation::Sync, extent)?;
        }
        if !self.handle.is_direct() {
            self.handle.drop_cache(0, size_bytes);
        }
        Ok(())
    }
}
