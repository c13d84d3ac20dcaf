//! Logs that hold nothing but the superblock. A filesystem that is frozen, or mounted and idle, brings
//! everything into its place, and then logs its superblock once or twice so that a recovery finds
//! nothing else ("covering" the log). Its maps are then what they say, and a recovery of a copy only
//! writes that superblock and takes up inodes that were open and removed.
//!
//! `xfs_log_cover` in `fs/xfs/xfs_log.c` of Linux; `struct xfs_buf_log_format` in
//! `fs/xfs/libxfs/xfs_log_format.h`.

use super::BLOCK_LEN;
use super::record::Header;
use crate::bytes::{be32, le16, le32, le64, u8_at};
use crate::filesystem::xfs::superblock::Superblock;

/// Records that cover a log: 2, and as many that the idle kernel may have written before.
const RECORDS_MAX: usize = 8;
/// `XLOG_FMT_LINUX_LE`, of `h_fmt`: in which byte order items are.
const FORMAT_LITTLE_ENDIAN: u32 = 1;
/// `XFS_TRANSACTION` of `oh_clientid`.
const TRANSACTION: u8 = 0x69;
/// `XLOG_START_TRANS` and `XLOG_COMMIT_TRANS` of `oh_flags`.
const START: u8 = 1;
const COMMIT: u8 = 2;
/// `XFS_TRANS_HEADER_MAGIC`
const TRANSACTION_MAGIC: u32 = 0x5452_414e;
/// `XFS_LI_BUF`
const BUFFER_ITEM: u16 = 0x123c;
/// `XFS_BLF_CANCEL` of `blf_flags`.
const CANCEL: u16 = 2;

/// Whether all that a recovery would replay up to `last`, the record that ends `records`, is the
/// superblock. `number_of` tells which block of the log the one of that index in `records` is.
pub(super) fn is_covered(
    superblock: &Superblock,
    last: &Header,
    records: &[u8],
    number_of: impl Fn(u64) -> u64,
) -> bool {
    let blocks = records.len() / BLOCK_LEN;
    let tail_block = last.tail_lsn & u64::from(u32::MAX);
    let span = RECORDS_MAX * (last.len() / BLOCK_LEN);
    let from = blocks.saturating_sub(span);
    let found = (from..blocks)
        .rev()
        .find(|&index| number_of(index as u64) == tail_block);
    let Some(mut index) = found else {
        return false;
    };
    let mut expected_cycle = (last.tail_lsn >> 32) as u32;
    for _ in 0..RECORDS_MAX {
        let raw = records.get(index * BLOCK_LEN..).unwrap_or_default();
        if raw.is_empty() {
            return true;
        }
        let Ok(header) = Header::parse(superblock, raw, 0) else {
            return false;
        };
        let number = number_of(index as u64);
        let Some(record) = raw.get(..header.len()) else {
            return false;
        };
        // The lap may end between the records, and never goes back.
        let is_in_order = header.cycle == expected_cycle || header.cycle == last.cycle;
        let is_whole = be32(raw, 0) == super::MAGIC
            && header.lsn == u64::from(header.cycle) << 32 | number
            && is_in_order
            && header.check_checksum(record, 0).is_ok();
        if !is_whole || !is_of_superblock(superblock, &header, record) {
            return false;
        }
        expected_cycle = header.cycle;
        index += header.len() / BLOCK_LEN;
    }
    false
}

/// Whether a record is one transaction that changes the superblock alone.
fn is_of_superblock(superblock: &Superblock, header: &Header, record: &[u8]) -> bool {
    let h_fmt = be32(record, 300);
    let data = record.get(header.header_len..).unwrap_or_default();
    if header.operations != 5 || h_fmt != FORMAT_LITTLE_ENDIAN || data.len() != BLOCK_LEN {
        return false;
    }
    // The first bytes of each block lie in the header: the lap stands in their place.
    let mut data = data.to_vec();
    data[..4].copy_from_slice(&record[44..48]);
    let mut operations = Operations { data: &data, at: 0 };
    let mut next = || operations.next().unwrap_or(Operation::NONE);
    let (start, transaction, item, bytes, commit) = (next(), next(), next(), next(), next());
    let same = [&transaction, &item, &bytes, &commit];
    let is_one = same.iter().all(|other| other.id == start.id);
    is_one
        && (start.flags, start.payload.len()) == (START, 0)
        && (transaction.flags, transaction.payload.len()) == (0, 16)
        && le32(transaction.payload, 0) == TRANSACTION_MAGIC
        && le32(transaction.payload, 12) == 2
        && (item.flags, item.payload.len()) == (0, 24)
        && is_superblock_item(superblock, item.payload)
        && bytes.flags == 0
        && (commit.flags, commit.payload.len()) == (COMMIT, 0)
}

/// `struct xfs_buf_log_format`: one region of the buffer in sector 0.
fn is_superblock_item(superblock: &Superblock, raw: &[u8]) -> bool {
    let blf_type = le16(raw, 0);
    let blf_size = le16(raw, 2);
    let blf_flags = le16(raw, 4);
    let blf_len = u32::from(le16(raw, 6));
    let blf_blkno = le64(raw, 8);
    let sectors = superblock.sector_bytes / 512;
    (blf_type, blf_size, blf_blkno) == (BUFFER_ITEM, 2, 0)
        && blf_flags & CANCEL == 0
        && blf_len == sectors
}

/// `struct xlog_op_header`, with what follows it.
struct Operation<'a> {
    id: u32,
    flags: u8,
    payload: &'a [u8],
}

impl Operation<'_> {
    /// What is no operation.
    const NONE: Self = Self {
        id: 0,
        flags: u8::MAX,
        payload: &[],
    };
}

struct Operations<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Operations<'a> {
    fn next(&mut self) -> Option<Operation<'a>> {
        let raw = self.data.get(self.at..)?;
        let (header, rest) = raw.split_at_checked(12)?;
        let oh_tid = be32(header, 0);
        let oh_len = be32(header, 4) as usize;
        let oh_clientid = u8_at(header, 8);
        let oh_flags = u8_at(header, 9);
        let payload = rest.get(..oh_len).filter(|_| oh_clientid == TRANSACTION)?;
        self.at += 12 + oh_len;
        Some(Operation {
            id: oh_tid,
            flags: oh_flags,
            payload,
        })
    }
}
