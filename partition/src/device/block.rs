//! What is special about block devices: geometry, zeroing and discarding by ioctl.

use super::{Geometry, ioctl};
use crate::extent::Extent;
use std::fs::File;
use std::io;

/// One ioctl zeroes or discards at most this much, so that a run can be stopped between two.
const STEP_BYTES: u64 = 1 << 30;

/// Asks the device for its geometry.
pub(super) fn geometry(device: &File) -> io::Result<Geometry> {
    let size_bytes = ioctl::size_bytes(device)?;
    let logical_sector_bytes = ioctl::logical_sector_bytes(device)?;
    let is_valid = logical_sector_bytes.is_power_of_two()
        && logical_sector_bytes >= 512
        && size_bytes.is_multiple_of(u64::from(logical_sector_bytes));
    if !is_valid {
        let message = format!("{size_bytes} bytes in sectors of {logical_sector_bytes}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let physical_sector_bytes = ioctl::physical_sector_bytes(device)?;
    Ok(Geometry {
        size_bytes,
        logical_sector_bytes,
        physical_sector_bytes: physical_sector_bytes.max(logical_sector_bytes),
        optimal_io_bytes: ioctl::optimal_io_bytes(device)?,
    })
}

/// Zeroes whole sectors; false when the device can't do that by itself.
pub(super) fn zero(device: &File, extent: Extent) -> io::Result<bool> {
    in_steps(extent, |step| ioctl::zero_out(device, step))
}

/// Discards whole sectors; false when the device can't.
pub(super) fn discard(device: &File, extent: Extent) -> io::Result<bool> {
    in_steps(extent, |step| ioctl::discard(device, step))
}

fn in_steps(extent: Extent, mut step: impl FnMut(Extent) -> io::Result<()>) -> io::Result<bool> {
    for part in extent.split(STEP_BYTES) {
        match step(part) {
            Ok(()) => {}
            Err(error) if is_unsupported(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Whether an error says "can't do that here" rather than "it went wrong".
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    use nix::libc::{EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP};
    matches!(
        error.raw_os_error(),
        Some(EOPNOTSUPP | EINVAL | ENOTTY | ENOSYS)
    )
}
