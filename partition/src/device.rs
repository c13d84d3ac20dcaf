//! Devices: positional reads and writes over whatever holds the bytes of a disk or a volume.
//!
//! Files, block devices, memory, and small decorators over any of them.

pub mod aligned;
mod blank;
mod block;
mod composed;
pub mod crash;
#[cfg(test)]
mod decorators;
mod direct;
pub mod fault;
mod file;
mod file_id;
mod handle;
mod in_sectors;
mod io_mode;
pub(crate) mod ioctl;
mod known_bad;
#[cfg(test)]
pub(crate) mod loop_device;
pub mod memory;
mod open;
pub mod overlay;
mod patched;
pub(crate) mod redirected;
mod reopen;
mod source;
pub mod spill;
mod stamp;
mod target;
#[cfg(test)]
mod tests;
mod unread;
pub mod window;

pub use aligned::AlignedBuffer;
pub use blank::{is_blank, is_blank_at_start};
pub use composed::Composed;
pub use crash::CrashDevice;
pub use direct::open_direct;
pub use fault::{Fault, FaultAt};
pub use file_id::FileId;
pub use handle::Kind;
pub(crate) use in_sectors::InSectors;
pub use io_mode::IoMode;
pub use known_bad::KnownBad;
pub use memory::MemoryDevice;
pub(crate) use open::kind_of_type;
pub use open::{
    create_target_file, look_at, open_around, open_plain, open_source, open_source_again,
    open_target,
};
pub use overlay::Overlay;
pub use patched::{Patched, Patches};
pub use redirected::{Redirected, Redirection};
pub use reopen::ReopenAt;
pub use source::Source;
pub use spill::Spill;
pub use stamp::Stamp;
pub use target::Target;
pub use unread::Unread;
pub use window::Window;

use crate::bytes::is_zero;
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use std::sync::Arc;

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size of the device.
    pub size_bytes: u64,
    /// The unit in which partition tables count; a power of two, at least 512.
    pub logical_sector_bytes: u32,
    /// The unit that the medium writes at once; a multiple of the logical sector.
    pub physical_sector_bytes: u32,
    /// The size of requests that the device likes best; 0 when it does not say.
    pub optimal_io_bytes: u32,
}

impl Geometry {
    /// A device of `size_bytes` with `sector_bytes` for both sector sizes.
    #[must_use]
    pub const fn new(size_bytes: u64, sector_bytes: u32) -> Self {
        Self {
            size_bytes,
            logical_sector_bytes: sector_bytes,
            physical_sector_bytes: sector_bytes,
            optimal_io_bytes: 0,
        }
    }

    /// The whole device; `None` when it has no bytes.
    #[must_use]
    pub const fn extent(self) -> Option<Extent> {
        Extent::new(0, self.size_bytes)
    }
}

/// A device that can be read at any byte position, from several threads.
pub trait ReadAt: Send + Sync {
    /// What the device says of itself; constant while it is open.
    fn geometry(&self) -> Geometry;

    /// Fills `buffer` from `offset_bytes`.
    ///
    /// Any position and length work; multiples of [`aligned::ALIGNMENT_BYTES`] in an
    /// [`AlignedBuffer`] are fastest.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails, also when it ends inside the range.
    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()>;

    /// The parts of `within` that may hold anything but zeroes.
    ///
    /// What is left out is *known* to read as zeroes (a hole in a sparse file). The default knows
    /// nothing and names all of it.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails.
    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(within.into())
    }

    /// SHA-256 of the bytes of `extent`, where the device keeps it, so that they need not be read
    /// to know whether something else equals them. The default keeps none.
    ///
    /// # Errors
    /// [`Error::Io`] and others when what the device keeps can't be read.
    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        let _ = extent;
        Ok(None)
    }
}

/// A device that can be written at any byte position, from several threads.
pub trait WriteAt: ReadAt {
    /// Writes all of `data` at `offset_bytes`.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails or ends inside the range.
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()>;

    /// Makes `extent` read back as zeroes, by the fastest means that guarantees it.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails or ends inside the range.
    fn zero(&self, extent: Extent) -> Result<()>;

    /// Tells the device that the content of `extent` is not needed. What it reads as afterwards
    /// is unknown. A device without discard does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails.
    fn discard(&self, extent: Extent) -> Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails, also when an earlier write failed late.
    fn sync(&self) -> Result<()>;
}

macro_rules! forward {
    ($pointer:ty) => {
        impl<T: ReadAt + ?Sized> ReadAt for $pointer {
            fn geometry(&self) -> Geometry {
                (**self).geometry()
            }

            fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
                (**self).read_exact_at(buffer, offset_bytes)
            }

            fn data(&self, within: Extent) -> Result<ExtentMap> {
                (**self).data(within)
            }

            fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
                (**self).sha256(extent)
            }
        }

        impl<T: WriteAt + ?Sized> WriteAt for $pointer {
            fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
                (**self).write_all_at(data, offset_bytes)
            }

            fn zero(&self, extent: Extent) -> Result<()> {
                (**self).zero(extent)
            }

            fn discard(&self, extent: Extent) -> Result<()> {
                (**self).discard(extent)
            }

            fn sync(&self) -> Result<()> {
                (**self).sync()
            }
        }
    };
}

forward!(&T);
forward!(Arc<T>);
forward!(Box<T>);

/// Reads `len_bytes` bytes at `offset_bytes` into a new buffer.
///
/// # Errors
/// [`Error::Io`] when the device fails or ends inside the range; nothing is allocated for a range
/// that does not lie on the device.
pub fn read_vec(device: &dyn ReadAt, offset_bytes: u64, len_bytes: usize) -> Result<Vec<u8>> {
    check_range(device.geometry(), Operation::Read, offset_bytes, len_bytes)?;
    let mut buffer = vec![0; len_bytes];
    device.read_exact_at(&mut buffer, offset_bytes)?;
    Ok(buffer)
}

/// Whether a device begins with nothing but zeroes, up to `end_bytes` or its own end. It is read piece
/// by piece up to the first that tells: what is behind that may be known to be bad.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn is_zero_up_to(device: &dyn ReadAt, end_bytes: u64) -> Result<bool> {
    let end_bytes = device.geometry().size_bytes.min(end_bytes);
    let (mut at, mut len) = (0, 4096_u64);
    while at < end_bytes {
        let piece_bytes = len.min(end_bytes.saturating_sub(at));
        // At most a mebibyte, so it fits.
        let piece = read_vec(device, at, usize::try_from(piece_bytes).unwrap_or(0))?;
        if !is_zero(&piece) {
            return Ok(false);
        }
        at = at.saturating_add(piece_bytes);
        len = at.min(1 << 20);
    }
    Ok(true)
}

/// Checks that `len_bytes` bytes at `offset_bytes` lie on a device of this geometry.
///
/// # Errors
/// [`Error::Io`] of kind `UnexpectedEof`, naming the device's size.
pub fn check_range(
    geometry: Geometry,
    operation: Operation,
    offset_bytes: u64,
    len_bytes: usize,
) -> Result<()> {
    let len_bytes = u64::try_from(len_bytes).unwrap_or(u64::MAX);
    let end_bytes = offset_bytes.checked_add(len_bytes);
    if end_bytes.is_some_and(|end_bytes| end_bytes <= geometry.size_bytes) {
        return Ok(());
    }
    let message = format!("the device ends at byte {:#x}", geometry.size_bytes);
    let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message);
    Err(Error::io(operation, offset_bytes, len_bytes, source))
}
