//! Where the file of a virtual disk must end, and the maps that say so.

use klon_partition::bytes::le32;
use klon_partition::device::read_vec;
use klon_partition::error::Corrupt;
use klon_partition::{ReadAt, Result};

/// What is read of a map at once.
const MAP_BYTES: u64 = 1 << 20;

/// Refuses a file that ends before `end_bytes`.
pub(crate) fn check_end(file: &dyn ReadAt, structure: &'static str, end_bytes: u64) -> Result<()> {
    let found_bytes = file.geometry().size_bytes;
    match end_bytes <= found_bytes {
        true => Ok(()),
        false => Err(Corrupt::new(
            structure,
            "length of the file",
            found_bytes,
            format!("at least {end_bytes} bytes"),
            format!("{found_bytes} bytes: the file is cut"),
        )
        .into()),
    }
}

/// Calls `entry` with the index and the value of every 32-bit number of a map, which must be in the file.
pub(super) fn each_entry(
    file: &dyn ReadAt,
    structure: &'static str,
    place: (u64, u64),
    mut entry: impl FnMut(u64, u32) -> Result<()>,
) -> Result<()> {
    each(file, structure, place, 4, |index, bytes| {
        entry(index, le32(bytes, 0))
    })
}

/// Calls `entry` with the index and the bytes of every entry of `entry_len` bytes of a map, which must be in
/// the file; its place is its position and how many entries it has.
pub(super) fn each(
    file: &dyn ReadAt,
    structure: &'static str,
    (offset_bytes, entries): (u64, u64),
    entry_len: usize,
    mut entry: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let len_bytes = entries.saturating_mul(entry_len as u64);
    check_end(file, structure, offset_bytes.saturating_add(len_bytes))?;
    let mut indexes = 0..;
    let mut done_bytes = 0;
    while done_bytes < len_bytes {
        let part_bytes = MAP_BYTES.min(len_bytes - done_bytes);
        let len = usize::try_from(part_bytes).unwrap_or(0);
        let part = read_vec(file, offset_bytes + done_bytes, len)?;
        for (bytes, index) in part.chunks_exact(entry_len).zip(&mut indexes) {
            entry(index, bytes)?;
        }
        done_bytes += part_bytes;
    }
    Ok(())
}

/// How much of the block at `index` is within the disk: the last one need not be whole.
pub(super) fn within_disk(index: u64, block_bytes: u64, disk_bytes: u64) -> u64 {
    let rest = disk_bytes.saturating_sub(index.saturating_mul(block_bytes));
    block_bytes.min(rest)
}
