//! The internal log: where its head is, and whether the last record there is that of a clean
//! unmount.
//!
//! XFS Algorithms & Data Structures, "Journaling Log". The log is a ring of 512-byte blocks. Each
//! block carries the number of the lap that wrote it, so the head is where that number drops.

use super::checksum;
use super::superblock::{Superblock, uuid};
use crate::bytes::{be16, be32, be64, le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;

/// A basic block.
const BLOCK_BYTES: u64 = 512;
const BLOCK_LEN: usize = 512;
/// `XLOG_HEADER_MAGIC_NUM`, in place of the cycle number in the first block of a record.
const MAGIC: u32 = 0xfeed_babe;
/// `XLOG_HEADER_CYCLE_SIZE`: a header block for each that many bytes of a record.
const HEADER_CYCLE_BYTES: u32 = 32 << 10;
/// `XLOG_MAX_RECORD_BSIZE`
const RECORD_BYTES_MAX: u32 = 256 << 10;
/// What can be on its way to the disk at once: 8 buffers of 256 KiB.
const IN_FLIGHT_BLOCKS: u64 = 8 * 512;
/// `XLOG_UNMOUNT_TRANS` of `oh_flags`.
const UNMOUNT: u8 = 0x20;
/// `XLOG_UNMOUNT_TYPE`, in the byte order of the machine that wrote it.
const UNMOUNT_MAGIC: u16 = 0x556e;

/// How the log ends.
#[derive(Debug)]
pub(super) enum End {
    /// With the record of a clean unmount, whose first header block this is.
    Clean(Vec<u8>),
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
/// their way to the disk in a crash; here, any such block near the head says that there was one.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails, [`crate::Error::Corrupt`] when that is no log.
pub(super) fn end(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<End>> {
    let Some(extent) = superblock.log_extent() else {
        return Ok(None);
    };
    let log = Log {
        device,
        start_bytes: extent.offset_bytes(),
        blocks: extent.len_bytes() / BLOCK_BYTES,
    };
    log.end(superblock).map(Some)
}

struct Log<'a> {
    device: &'a dyn ReadAt,
    start_bytes: u64,
    blocks: u64,
}

/// Where the next record goes: block, and the cycle numbers before and from there.
#[derive(Clone, Copy)]
struct Head {
    block: u64,
    before: u32,
    after: u32,
}

impl Log<'_> {
    fn byte(&self, block: u64) -> u64 {
        let in_log = block.saturating_mul(BLOCK_BYTES);
        self.start_bytes.saturating_add(in_log)
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
        let len = head.block.saturating_sub(around.first);
        let len = usize::try_from(len.saturating_mul(BLOCK_BYTES)).unwrap_or(usize::MAX);
        let first = if before.raw.is_empty() {
            around.first
        } else {
            before.first
        };
        let records = [&before.raw, around.raw.get(..len).unwrap_or_default()].concat();
        self.last_record(superblock, head, first, &records)
    }

    /// The blocks around the head in the order of the ring: those that lie before it but beyond
    /// the log's start, those around it, and those that lie after it but beyond the log's end.
    fn around(&self, head: Head) -> Result<[Part; 3]> {
        let start = head.block.saturating_sub(IN_FLIGHT_BLOCKS);
        let end = head.block.saturating_add(IN_FLIGHT_BLOCKS).min(self.blocks);
        let beyond_start = IN_FLIGHT_BLOCKS.saturating_sub(head.block);
        let beyond_end = IN_FLIGHT_BLOCKS.saturating_sub(self.blocks.saturating_sub(head.block));
        let last = self.blocks.saturating_sub(beyond_start).max(end);
        Ok([
            self.read(last, self.blocks)?,
            self.read(start, end)?,
            self.read(0, beyond_end.min(start))?,
        ])
    }

    fn read(&self, first: u64, end: u64) -> Result<Part> {
        let len = end.saturating_sub(first).saturating_mul(BLOCK_BYTES);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let raw = read_vec(self.device, self.byte(first), len)?;
        Ok(Part { first, raw })
    }

    fn head(&self) -> Result<Head> {
        let first = self.cycle_at(0)?;
        let last = self.cycle_at(self.blocks.saturating_sub(1))?;
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
        let (mut newer, mut older) = (0, self.blocks.saturating_sub(1));
        while older.saturating_sub(newer) > 1 {
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

    /// Where the blocks of lap 0 begin that end at `head`. Tools that make a log anew leave a
    /// record, then such blocks, which nothing was written to, then records of an earlier lap.
    fn without_unwritten(&self, head: u64) -> Result<u64> {
        let part = self.read(head.saturating_sub(IN_FLIGHT_BLOCKS), head)?;
        let blocks = part.raw.chunks_exact(BLOCK_LEN).rev();
        let unwritten = blocks.take_while(|block| cycle(block) == 0).count();
        Ok(head.saturating_sub(u64::try_from(unwritten).unwrap_or(0)))
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
        let at = index.saturating_mul(BLOCK_LEN);
        let record = records.get(at..).unwrap_or_default();
        let number = u64::try_from(index).unwrap_or(0).saturating_add(first);
        let number = number.checked_rem(self.blocks).unwrap_or(0);
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
            return Ok(how("without the record of an unmount"));
        }
        header.check_checksum(record, self.byte(number))?;
        let block = record.get(..BLOCK_LEN).unwrap_or_default();
        Ok(End::Clean(block.to_vec()))
    }
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
    /// The first of them that was written in another lap than its place before or after the head
    /// asks for. What was never written is no sign of a crash after the head.
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

/// A record's header (`struct xlog_rec_header`).
struct Header {
    cycle: u32,
    lsn: u64,
    header_len: usize,
    data_len: usize,
    operations: u32,
}

impl Header {
    fn parse(superblock: &Superblock, raw: &[u8], offset_bytes: u64) -> Result<Self> {
        let bad = |field, expected: &str, found: u32| {
            let found = format!("{found:#x}");
            Err(Corrupt::new("XFS log record", field, offset_bytes, expected, found).into())
        };
        let (version, len, size) = (be32(raw, 8), be32(raw, 12), be32(raw, 320));
        let is_v2 = superblock.features.has_log_v2();
        if version != if is_v2 { 2 } else { 1 } {
            return bad("h_version", "that of the superblock's features", version);
        }
        if len == 0 || len > RECORD_BYTES_MAX {
            return bad("h_len", "1 to 0x40000", len);
        }
        if is_v2 && size > RECORD_BYTES_MAX {
            return bad("h_size", "at most 0x40000", size);
        }
        let found = uuid(raw, 304);
        if found != superblock.uuid && found != [0; 16] {
            return bad("h_fs_uuid", "the superblock's", be32(raw, 304));
        }
        let headers = if is_v2 {
            size.div_ceil(HEADER_CYCLE_BYTES).max(1)
        } else {
            1
        };
        let to_len = |blocks: u32| {
            let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
            blocks.saturating_mul(BLOCK_LEN)
        };
        Ok(Self {
            cycle: be32(raw, 4),
            lsn: be64(raw, 16),
            header_len: to_len(headers),
            data_len: to_len(len.div_ceil(512)),
            operations: be32(raw, 40),
        })
    }

    const fn len(&self) -> usize {
        self.header_len.saturating_add(self.data_len)
    }

    /// Whether the record (of [`len`](Self::len)) has one operation, and that one is an unmount
    /// (`struct xlog_op_header`, `struct xfs_unmount_log_format`).
    fn is_unmount(&self, record: &[u8]) -> bool {
        let data = record.get(self.header_len..).unwrap_or_default();
        if data.len() < BLOCK_LEN || self.operations != 1 {
            return false;
        }
        let magic = be16(data, 12);
        u8_at(data, 9) & UNMOUNT != 0
            && (magic == UNMOUNT_MAGIC || magic == UNMOUNT_MAGIC.swap_bytes())
    }

    /// Checks `h_crc`, unless it is 0: tools that write a log from nothing leave it so.
    ///
    /// It covers the header, which was 4 bytes longer on machines that align 64-bit integers to 8
    /// bytes, 260 bytes of each further header block, and the data as they are on the disk.
    fn check_checksum(&self, record: &[u8], offset_bytes: u64) -> Result<()> {
        let stored = le32(record, 32);
        let computed = [328, 324].map(|len| self.checksum(record, len));
        if stored == 0 || computed.contains(&stored) {
            return Ok(());
        }
        let structure = "XFS log record";
        let [expected, _] = computed.map(|computed| format!("{computed:#010x}"));
        let found = format!("{stored:#010x}");
        Err(Corrupt::new(structure, "h_crc", offset_bytes, expected, found).into())
    }

    fn checksum(&self, record: &[u8], first_len: usize) -> u32 {
        let (headers, data) = record.split_at_checked(self.header_len).unwrap_or_default();
        let first = headers.get(..first_len).unwrap_or_default();
        let further = headers.chunks_exact(BLOCK_LEN).skip(1);
        let crc = further.fold(checksum::crc32c(first, 32), |crc, block| {
            crc32c::crc32c_append(crc, block.get(..260).unwrap_or_default())
        });
        crc32c::crc32c_append(crc, data)
    }
}
