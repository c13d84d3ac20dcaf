//! The volume header: geometry, state, and where the special files lie (TN1150, "Volume Header").

use super::fork_data::{self, ForkData};
use crate::bytes::{be16, be32};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

/// Where it starts on the volume, and how far from the end its alternate does.
pub(super) const OFFSET_BYTES: u64 = 1024;
pub(super) const LEN_BYTES: usize = 512;

/// What a header must leave room for: boot blocks, itself, its alternate, the last sector.
const VOLUME_BYTES_MIN: u64 = 4 * 1024 - 512;

/// File IDs of the special files (TN1150, "Catalog Node ID").
pub(super) const EXTENTS_ID: u32 = 3;
pub(super) const CATALOG_ID: u32 = 4;
pub(super) const BAD_BLOCKS_ID: u32 = 5;
pub(super) const ALLOCATION_ID: u32 = 6;
pub(super) const STARTUP_ID: u32 = 7;
pub(super) const ATTRIBUTES_ID: u32 = 8;

/// The header's parts that klon needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where on the volume it was read.
    pub(super) offset_bytes: u64,
    /// The volume's size, as the device has it.
    pub(super) volume_bytes: u64,
    pub(super) signature: [u8; 2],
    pub(super) version: u16,
    /// Size of an allocation block: a power of two from 512 on.
    pub(super) block_bytes: u64,
    /// Number of allocation blocks; all of them lie on the volume.
    pub(super) blocks: u64,
    pub(super) free_blocks: u64,
    pub(super) journal_info_block: u64,
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
        let block_bytes = u64::from(be32(raw, 40));
        let blocks = u64::from(be32(raw, 44));
        let free_blocks = u64::from(be32(raw, 48));
        let check = |is_valid, field, expected: &str, found: u64| -> Result<()> {
            if is_valid {
                return Ok(());
            }
            Err(corrupt(offset_bytes, field, expected, found).into())
        };
        let is_size = block_bytes >= 512 && block_bytes.is_power_of_two();
        let expected = "a power of two from 512 on";
        check(is_size, "blockSize", expected, block_bytes)?;
        let size_bytes = blocks.saturating_mul(block_bytes);
        let fits = (VOLUME_BYTES_MIN..=volume_bytes).contains(&size_bytes);
        let expected = format!("blocks of {block_bytes} bytes on a volume of {volume_bytes}");
        check(fits, "totalBlocks", &expected, blocks)?;
        let expected = format!("at most {blocks} blocks");
        check(free_blocks <= blocks, "freeBlocks", &expected, free_blocks)?;
        let fork = |at: usize, field: &'static str| -> Result<ForkData> {
            let fields = raw.get(at..at.saturating_add(fork_data::LEN_BYTES));
            let fork = ForkData::parse(fields.unwrap_or_default());
            match fork.fault(block_bytes, blocks) {
                None => Ok(fork),
                Some((expected, found)) => {
                    Err(corrupt(offset_bytes, field, expected, found).into())
                }
            }
        };
        Ok(Self {
            offset_bytes,
            volume_bytes,
            signature: [raw[0], raw[1]],
            version: be16(raw, 2),
            block_bytes,
            blocks,
            free_blocks,
            journal_info_block: be32(raw, 12).into(),
            allocation: fork(112, "allocationFile")?,
            extents: fork(192, "extentsFile")?,
            catalog: fork(272, "catalogFile")?,
            attributes: fork(352, "attributesFile")?,
            startup: fork(432, "startupFile")?,
        })
    }

    /// Where the last allocation block ends.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_bytes)
    }

    /// The bytes of `count` allocation blocks from `first` on; `None` when there are none.
    pub(super) const fn extent(&self, first: u64, count: u64) -> Option<Extent> {
        Extent::new(
            first.saturating_mul(self.block_bytes),
            count.saturating_mul(self.block_bytes),
        )
    }

    /// Where the alternate header can be: 1024 bytes before the end of the volume, and before
    /// that of the last block, which are two places when the volume was made larger.
    pub(super) fn alternate_places(&self) -> impl Iterator<Item = u64> + use<> {
        let from_end = |end_bytes: u64| end_bytes.checked_sub(OFFSET_BYTES);
        let (volume_bytes, size_bytes) = (self.volume_bytes, self.size_bytes());
        let in_blocks = (size_bytes != volume_bytes).then_some(size_bytes);
        [Some(volume_bytes), in_blocks]
            .into_iter()
            .flatten()
            .filter_map(from_end)
    }

    /// What is in use whatever the bitmap says: the blocks of boot code and header, those of the
    /// alternate header and what follows it, and the piece of a block that may follow the last.
    pub(super) fn edges(&self) -> impl Iterator<Item = Extent> + use<> {
        let block_bytes = self.block_bytes;
        let (size_bytes, volume_bytes) = (self.size_bytes(), self.volume_bytes);
        let head_bytes = OFFSET_BYTES
            .saturating_add(LEN_BYTES as u64)
            .next_multiple_of(block_bytes);
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
