//! The internal log: where its head is, and whether the last record there is that of a clean
//! unmount.
//!
//! The log is a ring of 512-byte blocks. Each block carries the number of the lap that wrote it, so
//! the head is where that number drops.
//!
//! XFS Algorithms & Data Structures, "Journaling Log": `xlog_rec_header`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

mod covered;
mod item;
mod own_id;
mod record;
mod transaction;

use super::superblock::Superblock;
use crate::bytes::be32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;
use covered::Written;
pub(super) use own_id::with_own_id;
use record::Header;

/// A basic block.
const BLOCK_BYTES: u64 = 512;
const BLOCK_LEN: usize = 512;
/// `XLOG_HEADER_MAGIC_NUM`, in place of the cycle number in the first block of a record.
const MAGIC: u32 = 0xfeed_babe;
/// What can be on its way to the disk at once: 8 buffers of 256 KiB.
const IN_FLIGHT_BLOCKS: u64 = 8 * 512;

/// How the log ends.
#[derive(Debug)]
pub(super) enum End {
    /// With the record of a clean unmount, whose first header block this is.
    Clean(Vec<u8>),
    /// With records that a recovery would replay, and write nothing but the superblock: all else is in its
    /// place. A frozen filesystem looks like that, and one that was mounted and idle. The bytes are the last
    /// record's first header block.
    Covered(Vec<u8>),
    /// With something else.
    Unclean(Hazard),
}

fn recovery(how: String) -> End {
    let hazard = format!("{how}; mount and unmount it once");
    End::Unclean(Hazard::NeedsRecovery(hazard))
}

/// Finds the log's last record.
///
/// The head is found as the kernel finds it. The kernel then steps back over blocks that were on
/// their way to the disk in a crash. Here, any such block near the head says that there was a crash.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails, [`crate::Error::Corrupt`] when there is no log.
pub(super) fn end(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<End>> {
    let log = Log::of(superblock, device);
    log.map(|log| log.end(superblock)).transpose()
}

struct Log<'a> {
    device: &'a dyn ReadAt,
    start_bytes: u64,
    /// At least 1, and at most 2 GiB of them. Numbers of blocks are at most this.
    blocks: u64,
}

/// Where the next record goes: block, and the cycle numbers before and from there.
#[derive(Clone, Copy)]
struct Head {
    block: u64,
    before: u32,
    after: u32,
}

impl<'a> Log<'a> {
    /// The log on the volume; `None` when it is elsewhere.
    fn of(superblock: &Superblock, device: &'a dyn ReadAt) -> Option<Self> {
        superblock.log.map(|extent| Self {
            device,
            start_bytes: extent.offset_bytes(),
            blocks: extent.len_bytes() / BLOCK_BYTES,
        })
    }

    /// Where a block of the log starts.
    const fn byte(&self, block: u64) -> u64 {
        self.start_bytes + block * BLOCK_BYTES
    }

    fn cycle_at(&self, block: u64) -> Result<u32> {
        let raw = read_vec(self.device, self.byte(block), BLOCK_LEN)?;
        Ok(cycle(&raw))
    }

    fn corrupt(&self, field: &'static str, expected: &str, found: String) -> Corrupt {
        Corrupt::new("XFS log", field, self.start_bytes, expected, found)
    }

    fn end(&self, superblock: &Superblock) -> Result<End> {
        let head = self.head()?;
        let parts = self.around(head)?;
        if let Some(block) = parts.iter().find_map(|part| part.torn(head)) {
            let how = format!("log block {block} is of another lap than those around it");
            return Ok(recovery(how));
        }
        let [before, around, _] = parts;
        let first = if before.raw.is_empty() {
            around.first
        } else {
            before.first
        };
        let up_to_head = len(around.first, head.block);
        let around = around.raw.get(..up_to_head).unwrap_or_default();
        let records = [before.raw.as_slice(), around].concat();
        self.last_record(superblock, head, first, &records)
    }

    /// The blocks around the head in the order of the ring: those that lie before it but beyond
    /// the log's start, those around it, and those that lie after it but beyond the log's end.
    fn around(&self, head: Head) -> Result<[Part; 3]> {
        let start = head.block.saturating_sub(IN_FLIGHT_BLOCKS);
        let end = (head.block + IN_FLIGHT_BLOCKS).min(self.blocks);
        let beyond_start = IN_FLIGHT_BLOCKS.saturating_sub(head.block);
        let beyond_end = IN_FLIGHT_BLOCKS.saturating_sub(self.blocks - head.block);
        let last = self.blocks.saturating_sub(beyond_start).max(end);
        Ok([
            self.read(last, self.blocks)?,
            self.read(start, end)?,
            self.read(0, beyond_end.min(start))?,
        ])
    }

    fn read(&self, first: u64, end: u64) -> Result<Part> {
        let raw = read_vec(self.device, self.byte(first), len(first, end))?;
        Ok(Part { first, raw })
    }

    fn head(&self) -> Result<Head> {
        let first = self.cycle_at(0)?;
        let last = self.cycle_at(self.blocks - 1)?;
        if first == 0 {
            let found = "none".to_owned();
            return Err(self.corrupt("h_magicno", "a record", found).into());
        }
        if first == last {
            return Ok(Head {
                block: self.blocks,
                before: first,
                after: first,
            });
        }
        if first.checked_sub(1) != Some(last) {
            let expected = "laps that follow one another";
            let found = format!("{first} at the start and {last} at the end");
            return Err(self.corrupt("h_cycle", expected, found).into());
        }
        let (mut newer, mut older) = (0, self.blocks - 1);
        while older - newer > 1 {
            let middle = newer.midpoint(older);
            if self.cycle_at(middle)? == last {
                older = middle;
            } else {
                newer = middle;
            }
        }
        Ok(Head {
            block: self.without_unwritten(older)?,
            before: first,
            after: last,
        })
    }

    /// Where the blocks of lap 0 begin that end at `head`; nothing was ever written to them. Tools
    /// that make a new log leave a record, then such blocks, then records of an earlier lap.
    fn without_unwritten(&self, head: u64) -> Result<u64> {
        let part = self.read(head.saturating_sub(IN_FLIGHT_BLOCKS), head)?;
        let blocks = part.raw.chunks_exact(BLOCK_LEN).rev();
        let unwritten = blocks.take_while(|block| cycle(block) == 0).count();
        Ok(head - unwritten as u64)
    }

    /// Judges the record that ends at the head, `records` being the blocks from `first` up to it.
    fn last_record(
        &self,
        superblock: &Superblock,
        head: Head,
        first: u64,
        records: &[u8],
    ) -> Result<End> {
        let mut blocks = records.chunks_exact(BLOCK_LEN);
        let found = blocks.rposition(|block| be32(block, 0) == MAGIC);
        let Some(index) = found else {
            return Ok(recovery("no record before the log's head".to_owned()));
        };
        let record = records.get(index * BLOCK_LEN..).unwrap_or_default();
        let number = (first + index as u64) % self.blocks;
        let header = Header::parse(superblock, record, self.byte(number))?;
        let expected = u64::from(header.cycle) << 32 | number;
        if header.lsn != expected {
            let expected = format!("{expected:#x}");
            let found = format!("{:#x}", header.lsn);
            let corrupt = Corrupt::new("XFS log", "h_lsn", self.byte(number), expected, found);
            return Err(corrupt.into());
        }
        let how = |what: &str| recovery(format!("the log ends at block {} {what}", head.block));
        if header.len() != record.len() {
            return Ok(how("amid a record"));
        }
        if !header.is_unmount(record) {
            let written = Written {
                raw: records,
                first,
                blocks: self.blocks,
            };
            let is_covered = covered::is_covered(superblock, self.device, &header, &written)?;
            return Ok(match is_covered {
                true => End::Covered(first_block(record)),
                false => how("without the record of an unmount"),
            });
        }
        header.check_checksum(record, self.byte(number))?;
        Ok(End::Clean(first_block(record)))
    }
}

fn first_block(record: &[u8]) -> Vec<u8> {
    record.get(..BLOCK_LEN).unwrap_or_default().to_vec()
}

/// The length of the blocks from `first` up to `end`.
const fn len(first: u64, end: u64) -> usize {
    end.saturating_sub(first) as usize * BLOCK_LEN
}

/// The number of the lap that wrote a block.
fn cycle(block: &[u8]) -> u32 {
    match be32(block, 0) {
        MAGIC => be32(block, 4),
        cycle => cycle,
    }
}

/// Blocks of the log from `first` on.
struct Part {
    first: u64,
    raw: Vec<u8>,
}

impl Part {
    /// The first of the blocks that another lap wrote than its place before or after the head asks
    /// for. After the head, a block that was never written is no sign of a crash.
    fn torn(&self, head: Head) -> Option<u64> {
        let blocks = (self.first..).zip(self.raw.chunks_exact(BLOCK_LEN));
        let mut torn = blocks.filter(|&(number, block)| {
            let cycle = cycle(block);
            if number < head.block {
                cycle != head.before
            } else {
                cycle != head.after && cycle != 0
            }
        });
        torn.next().map(|(number, _)| number)
    }
}

#[cfg(test)]
mod tests;
