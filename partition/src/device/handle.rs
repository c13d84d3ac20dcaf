//! An open file or block device, and positional I/O on it, aligned as O_DIRECT wants it.

use super::aligned::{ALIGNMENT_BYTES, AlignedBuffer};
use super::{FileId, Geometry, IoMode, block, check_range, direct, file};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use crate::locks::{read_lock, write_lock};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Unaligned requests go through a buffer of at most this size.
const BOUNCE_BYTES: usize = 1 << 20;

/// Reads at least this large bypass the page cache afterwards, when they could not before.
const STREAMING_BYTES: usize = 256 << 10;

/// Which kind of object holds the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A block device.
    Block,
}

/// What [`super::Source`] and [`super::Target`] share.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) geometry: Geometry,
    pub(super) io_mode: IoMode,
    /// Direct requests are multiples of this; the size of the device is one as well.
    unit_bytes: u64,
    /// Read, change, write of one unit excludes every other write.
    units: RwLock<()>,
}

impl Handle {
    /// Describes an open `file`, and makes its I/O direct where that works, or as it is known to
    /// work.
    pub(super) fn new(
        file: File,
        path: PathBuf,
        kind: Kind,
        known: Option<&IoMode>,
    ) -> io::Result<Self> {
        let (geometry, unit_bytes) = match kind {
            Kind::File => (file::geometry(&file)?, ALIGNMENT_BYTES as u64),
            Kind::Block => {
                let geometry = block::geometry(&file)?;
                (geometry, u64::from(geometry.logical_sector_bytes))
            }
        };
        let io_mode = match known {
            Some(IoMode::Direct) => {
                direct::set(&file)?;
                IoMode::Direct
            }
            Some(buffered) => buffered.clone(),
            None => direct::settle(&file, geometry.size_bytes, unit_bytes)?,
        };
        Ok(Self {
            file,
            path,
            kind,
            geometry,
            io_mode,
            unit_bytes,
            units: RwLock::new(()),
        })
    }

    /// The device number of a block device; filesystem and inode of a file.
    pub(super) fn id(&self) -> Result<FileId> {
        let metadata = self.file.metadata().map_err(|source| Error::Open {
            path: self.path.clone(),
            doing: "ask what it is",
            source,
        })?;
        Ok(match self.kind {
            Kind::Block => FileId {
                device: metadata.rdev(),
                inode: 0,
            },
            Kind::File => FileId::of(&metadata),
        })
    }

    pub(super) fn check(&self, operation: Operation, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        check_range(self.geometry, operation, extent.offset_bytes(), len)
    }

    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Read, offset_bytes, buffer.len())?;
        let len_bytes = buffer.len() as u64;
        let read = if self.suits(buffer, offset_bytes) {
            self.file.read_exact_at(buffer, offset_bytes)
        } else {
            self.read_through_bounce(buffer, offset_bytes)
        };
        read.map_err(|source| Error::io(Operation::Read, offset_bytes, len_bytes, source))?;
        if !self.is_direct() && buffer.len() >= STREAMING_BYTES {
            self.drop_cache(offset_bytes, len_bytes);
        }
        Ok(())
    }

    pub(super) fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> io::Result<()> {
        if self.suits(data, offset_bytes) {
            let _shared = self.share_units();
            return self.file.write_all_at(data, offset_bytes);
        }
        let mut done = 0;
        for piece in pieces(offset_bytes, data.len(), self.unit_bytes) {
            let part = &data[done..][..piece.len_bytes() as usize];
            self.write_piece(part, piece.offset_bytes())?;
            done += part.len();
        }
        Ok(())
    }

    /// The parts of `within` that are not holes.
    pub(super) fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.check(Operation::Read, within)?;
        match self.kind {
            Kind::Block => Ok(within.into()),
            Kind::File => file::data(&self.file, within).map_err(|source| {
                Error::io(
                    Operation::Read,
                    within.offset_bytes(),
                    within.len_bytes(),
                    source,
                )
            }),
        }
    }

    /// `extent` cut down to whole units; `None` when there is no whole unit in it.
    pub(super) fn whole_units(&self, extent: Extent) -> Option<Extent> {
        let unit_bytes = self.unit_bytes;
        let start_bytes = extent.offset_bytes().checked_next_multiple_of(unit_bytes)?;
        let end_bytes = extent.end_bytes() / unit_bytes * unit_bytes;
        Extent::between(start_bytes, end_bytes)
    }

    /// Keeps others from changing a part of a unit while whole units are written.
    pub(super) fn share_units(&self) -> RwLockReadGuard<'_, ()> {
        read_lock(&self.units)
    }

    fn own_units(&self) -> RwLockWriteGuard<'_, ()> {
        write_lock(&self.units)
    }

    /// Tells the page cache that a range is not needed again; it may not listen.
    pub(super) fn drop_cache(&self, offset_bytes: u64, len_bytes: u64) {
        let (Ok(offset), Ok(len)) = (offset_bytes.try_into(), len_bytes.try_into()) else {
            return;
        };
        // Only advice: what fails here costs memory and nothing else.
        let _ = posix_fadvise(
            &self.file,
            offset,
            len,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        );
    }

    pub(super) const fn is_direct(&self) -> bool {
        matches!(self.io_mode, IoMode::Direct)
    }

    /// Whether a request can go to the kernel as it is.
    fn suits(&self, buffer: &[u8], offset_bytes: u64) -> bool {
        !self.is_direct()
            || (offset_bytes.is_multiple_of(self.unit_bytes)
                && (buffer.len() as u64).is_multiple_of(self.unit_bytes)
                && buffer.as_ptr().align_offset(ALIGNMENT_BYTES) == 0)
    }

    fn read_through_bounce(&self, buffer: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let end_bytes = offset_bytes + buffer.len() as u64;
        let mut position_bytes = offset_bytes / self.unit_bytes * self.unit_bytes;
        // The size of the device is a whole number of units, so this does not leave it.
        let stop_bytes = end_bytes.next_multiple_of(self.unit_bytes);
        let span = (stop_bytes - position_bytes).min(BOUNCE_BYTES as u64);
        let mut bounce = AlignedBuffer::zeroed(span as usize);
        let mut filled = 0;
        while filled < buffer.len() {
            let len = (stop_bytes - position_bytes).min(span) as usize;
            self.file
                .read_exact_at(&mut bounce[..len], position_bytes)?;
            let skip = (offset_bytes + filled as u64 - position_bytes) as usize;
            let take = (len - skip).min(buffer.len() - filled);
            buffer[filled..][..take].copy_from_slice(&bounce[skip..][..take]);
            filled += take;
            position_bytes += len as u64;
        }
        Ok(())
    }

    /// Writes a piece that is either whole units or lies inside one unit.
    fn write_piece(&self, data: &[u8], offset_bytes: u64) -> io::Result<()> {
        let unit_bytes = self.unit_bytes;
        if self.suits(data, offset_bytes) {
            // The middle of a request whose buffer is as little aligned as its position.
            let _shared = self.share_units();
            return self.file.write_all_at(data, offset_bytes);
        }
        if (data.len() as u64).is_multiple_of(unit_bytes) {
            let mut bounce = AlignedBuffer::zeroed(data.len());
            bounce.copy_from_slice(data);
            let _shared = self.share_units();
            return self.file.write_all_at(&bounce, offset_bytes);
        }
        let start_bytes = offset_bytes / unit_bytes * unit_bytes;
        let skip = (offset_bytes - start_bytes) as usize;
        let mut bounce = AlignedBuffer::zeroed(unit_bytes as usize);
        let _owned = self.own_units();
        self.file.read_exact_at(&mut bounce, start_bytes)?;
        bounce[skip..][..data.len()].copy_from_slice(data);
        self.file.write_all_at(&bounce, start_bytes)
    }
}

/// A range cut into a part of a unit, runs of whole units, and a part of a unit.
fn pieces(offset_bytes: u64, len: usize, unit_bytes: u64) -> impl Iterator<Item = Extent> {
    let mut start_bytes = offset_bytes;
    let end_bytes = offset_bytes + len as u64;
    std::iter::from_fn(move || {
        let next_unit_bytes = (start_bytes / unit_bytes + 1) * unit_bytes;
        let whole_end_bytes = end_bytes / unit_bytes * unit_bytes;
        let stop_bytes = if start_bytes.is_multiple_of(unit_bytes) && whole_end_bytes > start_bytes
        {
            whole_end_bytes.min(start_bytes + BOUNCE_BYTES as u64)
        } else {
            next_unit_bytes.min(end_bytes)
        };
        let piece = Extent::between(start_bytes, stop_bytes)?;
        start_bytes = stop_bytes;
        Some(piece)
    })
}
