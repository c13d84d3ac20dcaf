//! Another UUID in the log: the record of a clean unmount bears it, and the kernel compares that one when it
//! mounts.

use super::record::Header;
use super::{BLOCK_BYTES, BLOCK_LEN, End, Log};
use crate::bytes::le32;
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::filesystem::own_id::put;
use crate::filesystem::xfs::superblock::Superblock;

/// `h_crc` and `h_fs_uuid` of a record's header.
const CRC: usize = 32;
const UUID: usize = 304;

/// Adds what gives the log the UUID `own`.
///
/// # Errors
/// [`Error::Unsupported`] when the log is elsewhere, or does not end with a clean unmount.
pub(in crate::filesystem::xfs) fn with_own_id(
    superblock: &Superblock,
    device: &dyn ReadAt,
    own: [u8; 16],
    patches: &mut Patches,
) -> Result<()> {
    let refused = |what: &str, why| {
        let what = format!("another UUID for an xfs {what}");
        Err(Error::unsupported(what, why))
    };
    let Some(log) = Log::of(superblock, device) else {
        let why = "the log bears the UUID, too, and is not on the volume";
        return refused("with an external log", why);
    };
    let End::Clean(old) = log.end(superblock)? else {
        let why = "each record of its log bears the UUID. Mount and unmount it once";
        return refused("that was not unmounted", why);
    };
    // The record was found where its number says that it lies.
    let header = Header::parse(superblock, &old, log.start_bytes)?;
    let block = header.lsn & u64::from(u32::MAX);
    let record = log.record(block, header.len())?;
    let mut renamed = record.clone();
    put(&mut renamed, UUID, &own);
    if le32(&record, CRC) != 0 {
        let sum = header.renewed_checksum(&record, &renamed);
        put(&mut renamed, CRC, &sum.to_le_bytes());
    }
    let new = renamed.get(..BLOCK_LEN).unwrap_or_default();
    patches.add(log.byte(block), &old, new)
}

impl Log<'_> {
    /// The bytes of a record, which may go on at the start of the log.
    fn record(&self, first: u64, len: usize) -> Result<Vec<u8>> {
        let blocks = (len as u64).div_ceil(BLOCK_BYTES);
        let mut record = Vec::new();
        for block in first..first.saturating_add(blocks) {
            let at = self.byte(block % self.blocks);
            record.extend(read_vec(self.device, at, BLOCK_LEN)?);
        }
        Ok(record)
    }
}
