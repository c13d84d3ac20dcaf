//! Reads that go beyond a unit of what is read, a unit after the other.

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Extent, Geometry, Result};

/// Fills `buffer` from `offset_bytes` of a device of this geometry: `read` gets each part that lies in one
/// unit of `unit_bytes` (not 0), with the room for it.
pub(crate) fn fill(
    geometry: Geometry,
    unit_bytes: u64,
    buffer: &mut [u8],
    offset_bytes: u64,
    read: impl Fn(Extent, &mut [u8]) -> Result<()>,
) -> Result<()> {
    check_range(geometry, Operation::Read, offset_bytes, buffer.len())?;
    let Some(all) = Extent::new(offset_bytes, buffer.len() as u64) else {
        return Ok(());
    };
    let mut rest = buffer;
    for part in all.split(unit_bytes) {
        let len = usize::try_from(part.len_bytes()).unwrap_or(rest.len());
        let (out, behind) = rest.split_at_mut(len.min(rest.len()));
        read(part, out)?;
        rest = behind;
    }
    Ok(())
}
