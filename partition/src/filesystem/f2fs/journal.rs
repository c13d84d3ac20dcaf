//! Journals: the newest entries of SIT and NAT, kept beside the summaries in a checkpoint until
//! there are enough of them to be written to their tables.
//!
//! Layout of `struct f2fs_journal` (Linux, `f2fs_fs.h`): a count, then a number and an entry each.

use super::address::{Nid, Segment};
use super::checkpoint::Checkpoint;
use super::entry::{NAT_ENTRY_LEN, SIT_ENTRY_LEN};
use super::superblock::{LOGS, Superblock};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};
use std::collections::BTreeMap;

const STRUCTURE: &str = "F2FS journal";
/// `SUMMARY_SIZE`, `SUM_FOOTER_SIZE`
const SUMMARY_LEN: usize = 7;
const FOOTER_LEN: usize = 5;

/// Entries by what they are of: segments or nodes.
pub(super) type Journal<K> = BTreeMap<K, Vec<u8>>;

/// Which journal, and what its entries are.
struct Kept<K> {
    /// Which of the two it is where both share a block with the summaries of data.
    compact_index: usize,
    /// The log with whose summaries it is kept where they have a block each.
    log: u32,
    entry_len: usize,
    /// One more than the last number of an entry.
    end: u32,
    /// Makes a key of the number of an entry.
    key: fn(u32) -> K,
}

/// Entries that stand for those of the SIT.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the journal holds more than it has room for, or segments that
/// aren't.
pub(super) fn sit(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
) -> Result<Journal<Segment>> {
    let kept = Kept {
        compact_index: 1,
        // That of cold data.
        log: 2,
        entry_len: SIT_ENTRY_LEN,
        end: superblock.main.segments,
        key: Segment,
    };
    read(superblock, checkpoint, device, &kept)
}

/// Entries that stand for those of the NAT.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the journal holds more than it has room for, or nodes for which
/// there is no entry.
pub(super) fn nat(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
) -> Result<Journal<Nid>> {
    let kept = Kept {
        compact_index: 0,
        log: 0,
        entry_len: NAT_ENTRY_LEN,
        end: superblock.end_nid().0,
        key: Nid,
    };
    read(superblock, checkpoint, device, &kept)
}

fn read<K: Ord>(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    kept: &Kept<K>,
) -> Result<Journal<K>> {
    let block_len = superblock.block_len();
    // A summary for each eight bytes, then the journal, then a footer.
    let summaries_len = block_len / 8 * SUMMARY_LEN;
    let len = block_len - summaries_len - FOOTER_LEN;
    let (index, offset) = if checkpoint.is_compact() {
        (checkpoint.summaries, len * kept.compact_index)
    } else {
        // Six blocks of summaries end the pack but for its last block: hot, warm, cold data first.
        // A pack that an unmount wrote has that many.
        let first = checkpoint.blocks.saturating_sub(LOGS + 1);
        (first + kept.log, summaries_len)
    };
    let block = checkpoint.block(superblock, index)?;
    let at = superblock.offset_bytes(block) + offset as u64;
    let raw = read_vec(device, at, len)?;
    Ok(parse(&raw, at, kept)?)
}

fn parse<K: Ord>(raw: &[u8], at: u64, kept: &Kept<K>) -> Checked<Journal<K>> {
    let record_len = 4 + kept.entry_len;
    let end = kept.end;
    // n_nats or n_sits, then the records.
    let count = usize::from(le16(raw, 0));
    let records = raw.get(2..).unwrap_or_default().chunks_exact(record_len);
    let room = records.len();
    if count > room {
        let expected = format!("at most {room}");
        return Err(Corrupt::new(STRUCTURE, "count", at, expected, count));
    }
    let mut journal = Journal::new();
    for record in records.take(count) {
        // nid or segno, then the entry.
        let number = le32(record, 0);
        let entry = record.get(4..).unwrap_or_default().to_vec();
        let is_valid = number < end && journal.insert((kept.key)(number), entry).is_none();
        if !is_valid {
            let expected = format!("numbers below {end}, each once");
            return Err(Corrupt::new(STRUCTURE, "entries", at, expected, number));
        }
    }
    Ok(journal)
}

#[cfg(test)]
mod tests {
    use super::{Journal, Kept, parse as parse_as};
    use crate::error::Checked;

    fn parse(raw: &[u8], at: u64, entry_len: usize, end: u32) -> Checked<Journal<u32>> {
        let kept = Kept {
            compact_index: 0,
            log: 0,
            entry_len,
            end,
            key: |number| number,
        };
        parse_as(raw, at, &kept)
    }

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
