//! Records of the log: what a header says, and whether a record is that of an unmount.
//!
//! XFS Algorithms & Data Structures, "Log Records": `xlog_rec_header`, `xlog_op_header`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::BLOCK_LEN;
use crate::bytes::{be32, be64, le32, u8_at};
use crate::error::{Corrupt, Result};
use crate::filesystem::xfs::checksum;
use crate::filesystem::xfs::superblock::{Superblock, uuid};

/// `XLOG_HEADER_CYCLE_SIZE`: a header block for each that many bytes of a record.
const HEADER_CYCLE_BYTES: u32 = 32 << 10;
/// `XLOG_MAX_RECORD_BSIZE`
const RECORD_BYTES_MAX: u32 = 256 << 10;
/// `XLOG_UNMOUNT_TYPE`, in the byte order of the machine that wrote it.
const UNMOUNT_MAGIC: u16 = 0x556e;
/// `XLOG_UNMOUNT_TRANS` of `oh_flags`.
const UNMOUNT: u8 = 0x20;
/// `XLOG_FMT_LINUX_LE` of `h_fmt`: in which byte order items are.
pub(super) const FORMAT_LITTLE_ENDIAN: u32 = 1;

/// A record's header (`struct xlog_rec_header`).
pub(super) struct Header {
    pub(super) cycle: u32,
    pub(super) lsn: u64,
    /// Where the first record begins that a recovery would replay, as of this one.
    pub(super) tail_lsn: u64,
    pub(super) header_len: usize,
    /// `h_len`
    data_bytes: usize,
    pub(super) operations: u32,
    /// `h_fmt`
    pub(super) format: u32,
}

impl Header {
    /// Parses the header at the start of `raw`, which lies at `offset_bytes`.
    pub(super) fn parse(superblock: &Superblock, raw: &[u8], offset_bytes: u64) -> Result<Self> {
        let bad = |field, expected: &str, found: u32| {
            let found = format!("{found:#x}");
            Err(Corrupt::new("XFS log record", field, offset_bytes, expected, found).into())
        };
        let h_cycle = be32(raw, 4);
        let h_version = be32(raw, 8);
        let h_len = be32(raw, 12);
        let h_lsn = be64(raw, 16);
        let h_tail_lsn = be64(raw, 24);
        let h_num_logops = be32(raw, 40);
        let h_fmt = be32(raw, 300);
        let h_fs_uuid = uuid(raw, 304);
        let h_size = be32(raw, 320);
        let is_v2 = superblock.features.has_log_v2();
        if h_version != if is_v2 { 2 } else { 1 } {
            let expected = "that of the superblock's features";
            return bad("h_version", expected, h_version);
        }
        if h_len == 0 || h_len > RECORD_BYTES_MAX {
            return bad("h_len", "1 to 0x40000", h_len);
        }
        if is_v2 && h_size > RECORD_BYTES_MAX {
            return bad("h_size", "at most 0x40000", h_size);
        }
        if h_fs_uuid != superblock.uuid && h_fs_uuid != [0; 16] {
            return bad("h_fs_uuid", "the superblock's", be32(raw, 304));
        }
        let header_blocks = if is_v2 {
            h_size.div_ceil(HEADER_CYCLE_BYTES).max(1)
        } else {
            1
        };
        Ok(Self {
            cycle: h_cycle,
            lsn: h_lsn,
            tail_lsn: h_tail_lsn,
            header_len: header_blocks as usize * BLOCK_LEN,
            data_bytes: h_len as usize,
            operations: h_num_logops,
            format: h_fmt,
        })
    }

    /// Length of the record with its header, in bytes.
    pub(super) const fn len(&self) -> usize {
        self.header_len + self.data_bytes.next_multiple_of(BLOCK_LEN)
    }

    /// The data of the record (of [`len`](Self::len)) as they were before they were written. On the disk each
    /// block begins with the number of the lap; what it began with stands in the header, for 64 blocks in
    /// each of its blocks (`h_cycle_data`, `xh_cycle_data`).
    pub(super) fn data(&self, record: &[u8]) -> Option<Vec<u8>> {
        let (headers, data) = record.split_at_checked(self.header_len)?;
        let mut data = data.to_vec();
        let words = headers.chunks_exact(BLOCK_LEN).enumerate();
        let mut words = words.flat_map(|(index, block)| {
            let at = if index == 0 { 44 } else { 4 };
            let words = block.get(at..at + 256).unwrap_or_default();
            words.as_chunks::<4>().0
        });
        for block in data.chunks_exact_mut(BLOCK_LEN) {
            let (first, _) = block.split_first_chunk_mut::<4>()?;
            *first = *words.next()?;
        }
        data.truncate(self.data_bytes);
        Some(data)
    }

    /// Whether the record (of [`len`](Self::len)) has one operation, and the operation is an unmount
    /// (`struct xlog_op_header`, `struct xfs_unmount_log_format`).
    pub(super) fn is_unmount(&self, record: &[u8]) -> bool {
        let data = record.get(self.header_len..).unwrap_or_default();
        if data.len() < BLOCK_LEN || self.operations != 1 {
            return false;
        }
        let oh_flags = u8_at(data, 9);
        is_unmount_operation(oh_flags, data.get(12..).unwrap_or_default())
    }

    /// Checks `h_crc`, unless it is 0: tools that write a new log leave it so.
    ///
    /// It covers the header, 260 bytes of each further header block that belongs to data, and `h_len` bytes of
    /// data as they are on the disk. A record has room for more header blocks than its data need where
    /// `logbsize` is larger. The header was 4 bytes longer on machines that align 64-bit integers to 8 bytes.
    pub(super) fn check_checksum(&self, record: &[u8], offset_bytes: u64) -> Result<()> {
        let h_crc = le32(record, 32);
        let computed = [328, 324].map(|len| self.checksum(record, len));
        if h_crc == 0 || computed.contains(&h_crc) {
            return Ok(());
        }
        let structure = "XFS log record";
        let [expected, _] = computed.map(|computed| format!("{computed:#010x}"));
        let found = format!("{h_crc:#010x}");
        Err(Corrupt::new(structure, "h_crc", offset_bytes, expected, found).into())
    }

    /// The checksum of a record in which something else than its data changed, computed as its own was.
    pub(super) fn renewed_checksum(&self, before: &[u8], now: &[u8]) -> u32 {
        let own = le32(before, 32);
        let lens = [328, 324].into_iter();
        let mut own_len = lens.filter(|&len| self.checksum(before, len) == own);
        self.checksum(now, own_len.next().unwrap_or(328))
    }

    fn checksum(&self, record: &[u8], first_len: usize) -> u32 {
        let (headers, data) = record.split_at_checked(self.header_len).unwrap_or_default();
        let first = headers.get(..first_len).unwrap_or_default();
        let needed = self.data_bytes.div_ceil(HEADER_CYCLE_BYTES as usize);
        let further = headers.chunks_exact(BLOCK_LEN).take(needed).skip(1);
        let crc = further.fold(checksum::crc32c(first, 32), |crc, block| {
            crc32c::crc32c_append(crc, block.get(..260).unwrap_or_default())
        });
        crc32c::crc32c_append(crc, data.get(..self.data_bytes).unwrap_or(data))
    }
}

/// Whether an operation with these flags and this payload is an unmount.
pub(super) fn is_unmount_operation(oh_flags: u8, payload: &[u8]) -> bool {
    let Some((magic, _)) = payload.split_first_chunk() else {
        return false;
    };
    let magic = u16::from_be_bytes(*magic);
    oh_flags & UNMOUNT != 0 && (magic == UNMOUNT_MAGIC || magic == UNMOUNT_MAGIC.swap_bytes())
}
