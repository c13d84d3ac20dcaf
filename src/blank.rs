//! Whether there is anything on a device or a part of one that nothing recognizes.

use anyhow::Result;
use klon_partition::ReadAt;
use klon_partition::bytes::is_zero;
use klon_partition::device::read_vec;

/// What is behind a start that was wiped may still be there: a device is looked at in this many
/// places, evenly apart, from its start on.
pub const LOOKS: u64 = 256;

/// How much is read at the start, which is where formats begin.
const FIRST_LOOK_BYTES: u64 = 1 << 20;

/// How much is read in each other place.
const LOOK_BYTES: u64 = 64 << 10;

/// Whether there are zeroes in the first `looks` of all places.
pub fn is_blank(device: &dyn ReadAt, looks: u64) -> Result<bool> {
    let size_bytes = device.geometry().size_bytes;
    for look in 0..looks {
        let offset_bytes = size_bytes / LOOKS * look;
        let wanted_bytes = match look {
            0 => FIRST_LOOK_BYTES,
            _ => LOOK_BYTES,
        };
        let len_bytes = wanted_bytes.min(size_bytes.saturating_sub(offset_bytes));
        let found = read_vec(device, offset_bytes, usize::try_from(len_bytes)?)?;
        if !is_zero(&found) {
            return Ok(false);
        }
    }
    Ok(true)
}
