//! Journals: the newest entries of SIT and NAT, kept beside the summaries in a checkpoint until
//! there are enough of them to be written to their tables.
//!
//! `struct f2fs_journal`: a count, then entries of (number, entry).

use super::checkpoint::Checkpoint;
use super::entry::{NAT_ENTRY_LEN, SIT_ENTRY_LEN};
use super::superblock::{LOGS, Superblock};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use std::collections::BTreeMap;

const STRUCTURE: &str = "F2FS journal";
/// `SUMMARY_SIZE`, `SUM_FOOTER_SIZE`
const SUMMARY_LEN: usize = 7;
const FOOTER_LEN: usize = 5;

/// Entries by their number.
pub(super) type Journal = BTreeMap<u32, Vec<u8>>;

/// Entries that stand for those of the SIT.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the journal holds more than it has room for, or segments that
/// aren't.
pub(super) fn sit(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
) -> Result<Journal> {
    let end = superblock.main.segments;
    // The journal of the SIT is kept with the log of cold data, the third one.
    read(superblock, checkpoint, device, (1, 2), (SIT_ENTRY_LEN, end))
}

/// Entries that stand for those of the NAT, all below node `end`.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the journal holds more than it has room for, or nodes for which
/// there is no entry.
pub(super) fn nat(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    end: u32,
) -> Result<Journal> {
    read(superblock, checkpoint, device, (0, 0), (NAT_ENTRY_LEN, end))
}

/// Reads a journal by its index among compact summaries, and by the log with which it is kept
/// where they aren't; its entries have a length and numbers below `end`.
fn read(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    (index, log): (usize, u32),
    (entry_len, end): (usize, u32),
) -> Result<Journal> {
    let block_len = superblock.block_len();
    // A summary for each eight bytes, then the journal, then a footer.
    let summaries_len = (block_len / 8).saturating_mul(SUMMARY_LEN);
    let len = block_len
        .saturating_sub(summaries_len)
        .saturating_sub(FOOTER_LEN);
    let (block, offset) = if checkpoint.is_compact() {
        (checkpoint.summaries, len.saturating_mul(index))
    } else {
        // Six blocks of summaries end the pack but for its last block: hot, warm, cold data first.
        let first = checkpoint.blocks.saturating_sub(LOGS).saturating_sub(1);
        (first.saturating_add(log), summaries_len)
    };
    let block = checkpoint.first_block.saturating_add(block.into());
    let at = superblock.byte(block).saturating_add(offset as u64);
    let raw = read_vec(device, at, len)?;
    parse(&raw, at, entry_len, end)
}

fn parse(raw: &[u8], at: u64, entry_len: usize, end: u32) -> Result<Journal> {
    let record_len = entry_len.saturating_add(4);
    let room = raw.len().saturating_sub(2) / record_len;
    let count = usize::from(le16(raw, 0));
    if count > room {
        let expected = format!("at most {room}");
        return Err(Corrupt::new(STRUCTURE, "count", at, expected, count).into());
    }
    let mut journal = Journal::new();
    let records = raw.get(2..).unwrap_or_default().chunks_exact(record_len);
    for record in records.take(count) {
        let number = le32(record, 0);
        let entry = record.get(4..).unwrap_or_default().to_vec();
        let is_valid = number < end && journal.insert(number, entry).is_none();
        if !is_valid {
            let expected = format!("numbers below {end}, each once");
            return Err(Corrupt::new(STRUCTURE, "entries", at, expected, number).into());
        }
    }
    Ok(journal)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn entries_are_counted_and_bounded() {
        let mut raw = vec![0; 507];
        assert!(parse(&raw, 0, 74, 10).unwrap().is_empty());
        raw[0] = 2;
        raw[2] = 9;
        raw[80] = 4;
        raw[84] = 7;
        let journal = parse(&raw, 0, 74, 10).unwrap();
        assert_eq!(journal.keys().copied().collect::<Vec<_>>(), [4, 9]);
        assert_eq!(journal[&4][0], 7);
        assert!(parse(&raw, 0, 74, 9).is_err());
        raw[80] = 9;
        assert!(parse(&raw, 0, 74, 10).is_err());
        raw[0] = 7;
        assert!(parse(&raw, 0, 74, 10).is_err());
    }
}
