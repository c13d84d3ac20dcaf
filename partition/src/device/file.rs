//! What is special about plain files: holes.

use super::Geometry;
use super::block::is_unsupported;
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek64};
use std::fs::File;
use std::io;

/// A plain file shows the sectors that most disks have.
const SECTOR_BYTES: u32 = 512;

/// The geometry of a plain file.
pub(super) fn geometry(file: &File) -> io::Result<Geometry> {
    Ok(Geometry::new(file.metadata()?.len(), SECTOR_BYTES))
}

/// The parts of `within` that are not holes.
pub(super) fn data(file: &File, within: Extent) -> io::Result<ExtentMap> {
    let mut found = ExtentMapBuilder::new();
    let mut position_bytes = within.offset_bytes();
    while position_bytes < within.end_bytes() {
        let start_bytes = match seek(file, position_bytes, Whence::SeekData) {
            Ok(start_bytes) => start_bytes,
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            // No way to tell on this filesystem.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(within.into()),
            Err(errno) => return Err(errno.into()),
        };
        let end_bytes = match seek(file, start_bytes, Whence::SeekHole) {
            // A filesystem may answer with where it was asked; that is no progress.
            Ok(end_bytes) if end_bytes > start_bytes => end_bytes,
            // Cut off or punched out since SEEK_DATA; ask again where there may be data.
            Ok(_) | Err(Errno::ENXIO) => start_bytes.saturating_add(u64::from(SECTOR_BYTES)),
            Err(errno) => return Err(errno.into()),
        };
        let part = Extent::between(start_bytes, end_bytes);
        if let Some(part) = part.and_then(|part| part.intersection(within)) {
            found.push(part);
        }
        position_bytes = end_bytes;
    }
    Ok(found.finish())
}

fn seek(file: &File, position_bytes: u64, whence: Whence) -> Result<u64, Errno> {
    let position = position_bytes.try_into().map_err(|_| Errno::EOVERFLOW)?;
    // SEEK_DATA and SEEK_HOLE move the file's position, which positional I/O does not use.
    let found = lseek64(file, position, whence)?;
    u64::try_from(found).map_err(|_| Errno::EOVERFLOW)
}

/// Zeroes `extent` without writing it; false when the filesystem can't.
pub(super) fn zero(file: &File, extent: Extent) -> io::Result<bool> {
    Ok(punch(file, extent, FallocateFlags::FALLOC_FL_PUNCH_HOLE)?
        || punch(file, extent, FallocateFlags::FALLOC_FL_ZERO_RANGE)?)
}

/// Gives the space of `extent` back to the filesystem; false when it can't.
pub(super) fn discard(file: &File, extent: Extent) -> io::Result<bool> {
    punch(file, extent, FallocateFlags::FALLOC_FL_PUNCH_HOLE)
}

fn punch(file: &File, extent: Extent, how: FallocateFlags) -> io::Result<bool> {
    let signed = |bytes: u64| i64::try_from(bytes).map_err(|_| io::Error::from(Errno::EFBIG));
    let flags = how | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, len) = (signed(extent.offset_bytes())?, signed(extent.len_bytes())?);
    match fallocate(file, flags, offset, len).map_err(io::Error::from) {
        Ok(()) => Ok(true),
        Err(error) if is_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
