//! Changes kept in a sparse file over a device that is not written: what tools and the kernel make of a
//! volume is seen, and the volume stays as it is.

mod changed;
#[cfg(test)]
mod tests;

use super::{Geometry, ReadAt, WriteAt, check_range};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use crate::locks::{read_lock, write_lock};
use changed::{BLOCK_BYTES, Changed};
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A device whose changes go to a file, each to the same place as on the device.
///
/// Which blocks are changed is known in memory: 4 KiB for each 128 MiB in which anything is. The file has to
/// be empty, and nobody else may write to it.
#[derive(Debug)]
pub struct Spill<D> {
    base: D,
    geometry: Geometry,
    file: File,
    changed: RwLock<Changed>,
    is_full: AtomicBool,
}

impl<D: ReadAt> Spill<D> {
    /// Nothing is changed yet. The file gets the size of the device, as one hole.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be that large.
    pub fn new(base: D, file: File) -> Result<Self> {
        let geometry = base.geometry();
        file.set_len(geometry.size_bytes)
            .map_err(|source| Error::io(Operation::Write, geometry.size_bytes, 0, source))?;
        Ok(Self {
            base,
            geometry,
            file,
            changed: RwLock::default(),
            is_full: AtomicBool::new(false),
        })
    }

    /// How much of the device is changed, in whole blocks.
    #[must_use]
    pub fn changed_bytes(&self) -> u64 {
        read_lock(&self.changed).total_bytes()
    }

    /// Whether a change was refused because there was no room for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Reads a range with what is known of its changes; whoever holds them keeps others from changing more.
    fn read_through(&self, changed: &Changed, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let mut rest = buffer;
        let mut at = offset_bytes;
        while !rest.is_empty() {
            let run = changed.run(at, at.saturating_add(rest.len() as u64));
            let (is_changed, end_bytes) = (run.is_changed, run.end_bytes);
            // At least one byte, and at most what is wanted.
            let len = (end_bytes - at) as usize;
            let (piece, behind) = rest.split_at_mut(len);
            if is_changed {
                let read = self.file.read_exact_at(piece, at);
                read.map_err(|source| Error::io(Operation::Read, at, len as u64, source))?;
            } else {
                self.base.read_exact_at(piece, at)?;
            }
            rest = behind;
            at = end_bytes;
        }
        Ok(())
    }

    /// Brings the rest of the blocks in which `extent` begins and ends to the file, where it is not there yet.
    fn complete_edges(&self, changed: &Changed, extent: Extent) -> Result<()> {
        let first = extent.offset_bytes() / BLOCK_BYTES * BLOCK_BYTES;
        let last = (extent.end_bytes() - 1) / BLOCK_BYTES * BLOCK_BYTES;
        let edges = [first, last];
        for start_bytes in &edges[..if first == last { 1 } else { 2 }] {
            let end_bytes = start_bytes.saturating_add(BLOCK_BYTES);
            let end_bytes = end_bytes.min(self.geometry.size_bytes);
            let is_whole = extent.offset_bytes() <= *start_bytes && end_bytes <= extent.end_bytes();
            if is_whole || changed.has(*start_bytes) {
                continue;
            }
            let mut block = [0; BLOCK_BYTES as usize];
            let block = &mut block[..(end_bytes - start_bytes) as usize];
            self.base.read_exact_at(block, *start_bytes)?;
            self.put(Operation::Write, block, *start_bytes)?;
        }
        Ok(())
    }

    fn put(&self, operation: Operation, data: &[u8], offset_bytes: u64) -> Result<()> {
        let put = self.file.write_all_at(data, offset_bytes);
        put.map_err(|source| {
            self.note_full(&source);
            Error::io(operation, offset_bytes, data.len() as u64, source)
        })
    }

    fn note_full(&self, error: &io::Error) {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if full.contains(&error.kind()) {
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    /// Makes a range of the file read as zeroes: as a hole, where its filesystem has holes.
    fn clear(&self, extent: Extent) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let (at, len) = (extent.offset_bytes(), extent.len_bytes());
        if rustix::fs::fallocate(&self.file, flags, at, len).is_ok() {
            return Ok(());
        }
        extent.split(1 << 20).try_for_each(|piece| {
            let zeroes = vec![0; piece.len_bytes() as usize];
            self.put(Operation::Zero, &zeroes, piece.offset_bytes())
        })
    }

    fn check(&self, operation: Operation, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        check_range(self.geometry, operation, extent.offset_bytes(), len)
    }
}

impl<D: ReadAt> ReadAt for Spill<D> {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Read, offset_bytes, buffer.len())?;
        self.read_through(&read_lock(&self.changed), buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.check(Operation::Read, within)?;
        let changed = read_lock(&self.changed).within(within);
        Ok(self.base.data(within)?.union(&changed))
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        let is_changed = !read_lock(&self.changed).within(extent).is_empty();
        match is_changed {
            true => Ok(None),
            false => self.base.sha256(extent),
        }
    }
}

impl<D: ReadAt> WriteAt for Spill<D> {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry, Operation::Write, offset_bytes, data.len())?;
        let Some(extent) = Extent::new(offset_bytes, data.len() as u64) else {
            return Ok(());
        };
        let mut changed = write_lock(&self.changed);
        // Blocks count as changed only when all of them is in the file.
        self.complete_edges(&changed, extent)?;
        self.put(Operation::Write, data, offset_bytes)?;
        changed.insert(extent);
        Ok(())
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.check(Operation::Zero, extent)?;
        let mut changed = write_lock(&self.changed);
        self.complete_edges(&changed, extent)?;
        self.clear(extent)?;
        changed.insert(extent);
        Ok(())
    }

    /// Gives up room: what is discarded reads as zeroes.
    fn discard(&self, extent: Extent) -> Result<()> {
        self.zero(extent)
    }

    /// Nothing has to be durable: the changes are worth nothing once klon has ended.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
