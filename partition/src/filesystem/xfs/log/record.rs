//! Records of the log: what a header says, and whether a record is that of an unmount.

use super::BLOCK_LEN;
use crate::bytes::{be16, be32, be64, le32, u8_at};
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

/// A record's header (`struct xlog_rec_header`).
pub(super) struct Header {
    pub(super) cycle: u32,
    pub(super) lsn: u64,
    header_len: usize,
    data_len: usize,
    operations: u32,
}

impl Header {
    /// Parses the header at the start of `raw`, which lies at `offset_bytes`.
    pub(super) fn parse(superblock: &Superblock, raw: &[u8], offset_bytes: u64) -> Result<Self> {
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

    /// Length of the record with its header, in bytes.
    pub(super) const fn len(&self) -> usize {
        self.header_len.saturating_add(self.data_len)
    }

    /// Whether the record (of [`len`](Self::len)) has one operation, and that one is an unmount
    /// (`struct xlog_op_header`, `struct xfs_unmount_log_format`).
    pub(super) fn is_unmount(&self, record: &[u8]) -> bool {
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
    pub(super) fn check_checksum(&self, record: &[u8], offset_bytes: u64) -> Result<()> {
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
