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

/// A map of a file, which must be within it.
#[derive(Clone, Copy)]
pub(super) struct Map<'a> {
    pub(super) file: &'a dyn ReadAt,
    /// What the file is, for errors.
    pub(super) structure: &'static str,
    pub(super) offset_bytes: u64,
    /// How many entries it has.
    pub(super) entries: u64,
}

impl Map<'_> {
    /// Calls `entry` with the index and the value of every entry, each a number of 32 bits.
    pub(super) fn each_number(self, mut entry: impl FnMut(u64, u32) -> Result<()>) -> Result<()> {
        self.each(4, |index, bytes| entry(index, le32(bytes, 0)))
    }

    /// Calls `entry` with the index and the bytes of every entry, each of `entry_len` bytes.
    pub(super) fn each(
        self,
        entry_len: usize,
        mut entry: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let len_bytes = self.entries.saturating_mul(entry_len as u64);
        let end_bytes = self.offset_bytes.saturating_add(len_bytes);
        check_end(self.file, self.structure, end_bytes)?;
        let mut indexes = 0..;
        let mut done_bytes = 0;
        while done_bytes < len_bytes {
            let part_bytes = MAP_BYTES.min(len_bytes - done_bytes);
            let len = usize::try_from(part_bytes).unwrap_or(0);
            let part = read_vec(self.file, self.offset_bytes + done_bytes, len)?;
            for (bytes, index) in part.chunks_exact(entry_len).zip(&mut indexes) {
                entry(index, bytes)?;
            }
            done_bytes += part_bytes;
        }
        Ok(())
    }
}

/// How much of the block at `index` is within the disk: the last one need not be whole.
pub(super) fn within_disk(index: u64, block_bytes: u64, disk_bytes: u64) -> u64 {
    let rest = disk_bytes.saturating_sub(index.saturating_mul(block_bytes));
    block_bytes.min(rest)
}
