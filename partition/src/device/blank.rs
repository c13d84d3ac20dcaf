//! Whether there is anything on a device or a part of one that nothing recognizes.

use super::{ReadAt, read_vec};
use crate::bytes::is_zero;
use crate::error::Result;

/// A wiped start may have something behind it: a device is looked at in this many places, evenly
/// apart, from its start on.
const LOOKS: u64 = 256;

/// How much is read at the start, where formats begin.
const FIRST_LOOK_BYTES: u64 = 1 << 20;

/// How much is read in each other place.
const LOOK_BYTES: u64 = 64 << 10;

/// Whether `device` has zeroes in 256 places, evenly apart: the first MiB, and 64 KiB in each other.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn is_blank(device: &dyn ReadAt) -> Result<bool> {
    is_blank_in(device, LOOKS)
}

/// Whether the first MiB of `device` has nothing but zeroes.
///
/// # Errors
/// As [`is_blank`].
pub fn is_blank_at_start(device: &dyn ReadAt) -> Result<bool> {
    is_blank_in(device, 1)
}

fn is_blank_in(device: &dyn ReadAt, looks: u64) -> Result<bool> {
    let size_bytes = device.geometry().size_bytes;
    for look in 0..looks {
        let offset_bytes = size_bytes / LOOKS * look;
        let wanted_bytes = if look == 0 {
            FIRST_LOOK_BYTES
        } else {
            LOOK_BYTES
        };
        let len_bytes = wanted_bytes.min(size_bytes.saturating_sub(offset_bytes));
        // At most a mebibyte, so it fits.
        let len = usize::try_from(len_bytes).unwrap_or(0);
        if !is_zero(&read_vec(device, offset_bytes, len)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{is_blank, is_blank_at_start};
    use crate::device::MemoryDevice;

    const SIZE_BYTES: usize = 256 << 16;

    fn with_byte_at(offset_bytes: usize) -> MemoryDevice {
        let mut bytes = vec![0; SIZE_BYTES];
        bytes[offset_bytes] = 1;
        MemoryDevice::new(bytes, 512)
    }

    #[test]
    fn zeroes_are_blank() {
        let device = MemoryDevice::new(vec![0; SIZE_BYTES], 512);
        assert!(is_blank(&device).unwrap());
        assert!(is_blank_at_start(&device).unwrap());
    }

    #[test]
    fn what_is_behind_a_wiped_start_is_seen() {
        let device = with_byte_at(SIZE_BYTES - 1);
        assert!(!is_blank(&device).unwrap());
        assert!(is_blank_at_start(&device).unwrap());
    }

    #[test]
    fn a_start_with_data_is_not_blank() {
        assert!(!is_blank_at_start(&with_byte_at((1 << 20) - 1)).unwrap());
    }
}
