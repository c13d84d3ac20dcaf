//! The volume header: geometry, state, and where the special files lie (TN1150, "Volume Header").

use super::address::{Block, Blocks, FileId};
use super::fork_data::{self, Fault, ForkData};
use crate::bytes::{be16, be32};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

/// Where it starts on the volume, and how far from the end its alternate does.
pub(super) const OFFSET_BYTES: u64 = 1024;
pub(super) const LEN_BYTES: usize = 512;

/// What a header must leave room for: boot blocks, itself, its alternate, the last sector.
const VOLUME_BYTES_MIN: u64 = 4 * 1024 - 512;

/// File IDs of the special files (TN1150, "Catalog Node ID").
pub(super) const EXTENTS_ID: FileId = FileId(3);
pub(super) const CATALOG_ID: FileId = FileId(4);
pub(super) const BAD_BLOCKS_ID: FileId = FileId(5);
pub(super) const ALLOCATION_ID: FileId = FileId(6);
pub(super) const STARTUP_ID: FileId = FileId(7);
pub(super) const ATTRIBUTES_ID: FileId = FileId(8);

/// The header's parts that klon needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where on the volume it was read.
    pub(super) offset_bytes: u64,
    /// The volume's size, as the device has it.
    pub(super) volume_bytes: u64,
    pub(super) signature: [u8; 2],
    pub(super) version: u16,
    /// All allocation blocks, each of a power of two from 512 bytes on; they lie on the volume.
    pub(super) blocks: Blocks,
    pub(super) free_blocks: u32,
    pub(super) journal_info_block: Block,
    pub(super) allocation: ForkData,
    pub(super) extents: ForkData,
    pub(super) catalog: ForkData,
    pub(super) attributes: ForkData,
    pub(super) startup: ForkData,
}

/// Whether `raw` (512 bytes) has the signature of HFS+ or HFSX.
pub(super) fn is_one(raw: &[u8]) -> bool {
    matches!(raw.get(..2), Some(b"H+" | b"HX"))
}

/// `attributes` of a header of 512 bytes.
pub(super) fn attributes(raw: &[u8]) -> u32 {
    be32(raw, 4)
}

impl Header {
    /// Reads a header of 512 bytes that has the signature and was found at `offset_bytes`.
    ///
    /// # Errors
    /// When its geometry does not fit the volume, or a special file does not fit the geometry.
    pub(super) fn parse(raw: &[u8], offset_bytes: u64, volume_bytes: u64) -> Result<Self> {
        let (version, journal_info_block) = (be16(raw, 2), be32(raw, 12));
        let (block_size, total_blocks) = (be32(raw, 40), be32(raw, 44));
        let free_blocks = be32(raw, 48);
        let check = |is_valid, field, expected: &str, found: u32| -> Result<()> {
            if is_valid {
                return Ok(());
            }
            Err(corrupt(offset_bytes, field, expected, found).into())
        };
        let is_size = block_size >= 512 && block_size.is_power_of_two();
        let expected = "a power of two from 512 on";
        check(is_size, "blockSize", expected, block_size)?;
        let blocks = Blocks {
            count: total_blocks,
            block_bytes: block_size,
        };
        let fits = (VOLUME_BYTES_MIN..=volume_bytes).contains(&blocks.end_bytes());
        let expected = format!("blocks of {block_size} bytes on a volume of {volume_bytes}");
        check(fits, "totalBlocks", &expected, total_blocks)?;
        let expected = format!("at most {total_blocks} blocks");
        let is_count = free_blocks <= total_blocks;
        check(is_count, "freeBlocks", &expected, free_blocks)?;
        let fork = |at: usize, field: &'static str| -> Result<ForkData> {
            let fields = raw.get(at..at + fork_data::LEN_BYTES);
            let fork = ForkData::parse(fields.unwrap_or_default());
            match fork.fault(blocks) {
                None => Ok(fork),
                Some(Fault { expected, found }) => {
                    Err(corrupt(offset_bytes, field, expected, found).into())
                }
            }
        };
        Ok(Self {
            offset_bytes,
            volume_bytes,
            signature: [raw[0], raw[1]],
            version,
            blocks,
            free_blocks,
            journal_info_block: Block(journal_info_block),
            allocation: fork(112, "allocationFile")?,
            extents: fork(192, "extentsFile")?,
            catalog: fork(272, "catalogFile")?,
            attributes: fork(352, "attributesFile")?,
            startup: fork(432, "startupFile")?,
        })
    }

    /// Where the last allocation block ends.
    pub(super) fn size_bytes(&self) -> u64 {
        self.blocks.end_bytes()
    }

    /// Where the alternate header can be: 1024 bytes before the end of the volume, or before the
    /// end of the last block. The two differ when the volume was made larger.
    pub(super) fn alternate_places(&self) -> impl Iterator<Item = u64> + use<> {
        let from_end = |end_bytes: u64| end_bytes.checked_sub(OFFSET_BYTES);
        let (volume_bytes, size_bytes) = (self.volume_bytes, self.size_bytes());
        let in_blocks = (size_bytes != volume_bytes).then_some(size_bytes);
        [Some(volume_bytes), in_blocks]
            .into_iter()
            .flatten()
            .filter_map(from_end)
    }

    /// Bytes that are in use whatever the bitmap says: the blocks of boot code and header, the
    /// blocks of the alternate header and what follows it, and a piece of a block after the last.
    pub(super) fn edges(&self) -> impl Iterator<Item = Extent> + use<> {
        let block_bytes = u64::from(self.blocks.block_bytes);
        let (size_bytes, volume_bytes) = (self.size_bytes(), self.volume_bytes);
        let head_bytes = (OFFSET_BYTES + LEN_BYTES as u64).next_multiple_of(block_bytes);
        let head = Extent::between(0, head_bytes.min(size_bytes));
        let tail = |end_bytes: u64| {
            let start_bytes = end_bytes.saturating_sub(OFFSET_BYTES);
            Extent::between(start_bytes - start_bytes % block_bytes, end_bytes)
        };
        let is_short = volume_bytes.saturating_sub(size_bytes) <= block_bytes;
        let last = if is_short {
            Extent::between(size_bytes, volume_bytes)
        } else {
            None
        };
        [head, tail(size_bytes), last, tail(volume_bytes)]
            .into_iter()
            .flatten()
    }
}

fn corrupt(
    offset_bytes: u64,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Corrupt {
    Corrupt::new("HFS+ volume header", field, offset_bytes, expected, found)
}
