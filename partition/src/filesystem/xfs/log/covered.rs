//! Logs of which a recovery would change nothing but the superblock, because all else that they tell is in
//! its place already.
//!
//! A filesystem that is frozen, or mounted and idle, brings everything into its place. Then it logs its
//! superblock once or twice, so that a recovery begins there ("covering" the log). The kernel takes any
//! record of five operations for one of the superblock. So before the last one there may be an inode whose
//! core alone was changed, as by a write in place, and a recovery writes that again. Kernels before 5.12
//! write the record of an unmount before that of the superblock.
//!
//! `xfs_log_quiesce`, `xfs_log_cover` and `xlog_covered_state` in `fs/xfs/xfs_log.c` of Linux.

use super::BLOCK_LEN;
use super::item;
use super::record::{FORMAT_LITTLE_ENDIAN, Header};
use super::transaction::Recovery;
use crate::bytes::be32;
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::xfs::superblock::Superblock;

/// The blocks of a log up to its head.
pub(super) struct Written<'a> {
    /// Whole records but for the first blocks, in the order of the ring.
    pub(super) raw: &'a [u8],
    /// Which block of the log the first of them is.
    pub(super) first: u64,
    /// How many blocks the log has.
    pub(super) blocks: u64,
}

impl Written<'_> {
    /// Which block of the log the one of that index in `raw` is.
    const fn number(&self, index: usize) -> u64 {
        (self.first + index as u64) % self.blocks
    }
}

/// Whether a recovery would change nothing but the superblock. `last` is the record that ends what was
/// written.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn is_covered(
    superblock: &Superblock,
    device: &dyn ReadAt,
    last: &Header,
    written: &Written<'_>,
) -> Result<bool> {
    let Some(recovery) = replayed(superblock, last, written) else {
        return Ok(false);
    };
    if recovery.committed().is_empty() {
        return Ok(false);
    }
    for transaction in recovery.committed() {
        let Some(items) = transaction.items() else {
            return Ok(false);
        };
        for regions in items {
            if !item::is_in_place(superblock, device, transaction.lsn, regions)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What a recovery would replay, from the tail that `last` names up to the head. `None` when anything there
/// is not as it must be, or the tail lies further back than what was read.
fn replayed(superblock: &Superblock, last: &Header, written: &Written<'_>) -> Option<Recovery> {
    let blocks = written.raw.len() / BLOCK_LEN;
    let tail_block = last.tail_lsn & u64::from(u32::MAX);
    let mut index = (0..blocks)
        .rev()
        .find(|&index| written.number(index) == tail_block)?;
    let mut recovery = Recovery::default();
    let mut expected_lsn = last.tail_lsn;
    while index < blocks {
        let raw = written.raw.get(index * BLOCK_LEN..)?;
        let header = Header::parse(superblock, raw, 0).ok()?;
        let record = raw.get(..header.len())?;
        let is_whole = be32(raw, 0) == super::MAGIC
            && header.lsn == expected_lsn
            && header.cycle == cycle(expected_lsn)
            && header.header_len == last.header_len
            && header.format == FORMAT_LITTLE_ENDIAN
            && header.check_checksum(record, 0).is_ok();
        if !is_whole {
            return None;
        }
        recovery.add(header.lsn, header.operations, &header.data(record)?)?;
        let before = written.number(index);
        index += header.len() / BLOCK_LEN;
        expected_lsn = following(header.cycle, before, written.number(index))?;
    }
    Some(recovery)
}

/// The half of an LSN that is the number of the lap.
const fn cycle(lsn: u64) -> u32 {
    (lsn >> 32) as u32
}

/// The LSN of the record at block `number`, which follows that at block `before`: where the log begins
/// again, so does another lap.
fn following(cycle: u32, before: u64, number: u64) -> Option<u64> {
    let lap = if number > before {
        cycle
    } else {
        cycle.checked_add(1)?
    };
    Some(u64::from(lap) << 32 | number)
}
