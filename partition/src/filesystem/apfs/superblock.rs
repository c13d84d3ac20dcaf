//! The container superblock: where the checkpoints are, and what the container can do.
//!
//! Layout of `nx_superblock_t`: Apple File System Reference, "Container".

use super::object::{Block, NX_SUPERBLOCK, Object};
use crate::bytes::{le32, le64};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

/// What errors call it.
pub(super) const STRUCTURE: &str = "APFS container superblock";
/// As much of a block as is looked at before its size is known; no block is smaller.
pub(super) const BLOCK_BYTES_MIN: usize = 4096;
/// `nx_magic`, at 32.
const MAGIC: &[u8; 4] = b"NXSB";
/// `NX_MINIMUM_BLOCK_SIZE` and `NX_MAXIMUM_BLOCK_SIZE`.
const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4096..=65_536;
/// More blocks than any formatter gives to the checkpoints' descriptors; they are all read.
const DESCRIPTORS_MAX: u32 = 1 << 14;
/// Where `nx_counters` starts: from there on, block 0 and the checkpoint's superblock differ.
const COUNTERS: usize = 984;

/// Whether `raw`, the start of a block, has the magic number of a container superblock.
pub(super) fn has_magic(raw: &[u8]) -> bool {
    raw.get(32..36) == Some(MAGIC)
}

/// Whether `raw`, the start of a volume, is a container superblock's: the magic number, and the
/// header's `o_oid` `OID_NX_SUPERBLOCK`, `o_type` and `o_subtype` fit.
pub(super) fn is_one(raw: &[u8]) -> bool {
    has_magic(raw)
        && le64(raw, 8) == 1
        && le32(raw, 24) & 0xffff == NX_SUPERBLOCK
        && le32(raw, 28) == 0
        && BLOCK_SIZES.contains(&block_size_bytes(raw))
}

/// `nx_block_size`, unchecked.
pub(super) fn block_size_bytes(raw: &[u8]) -> u32 {
    le32(raw, 36)
}

/// `nx_block_count`, unchecked.
pub(super) fn blocks(raw: &[u8]) -> u64 {
    le64(raw, 40)
}

/// `nx_uuid` as text; `None` when it is all zeroes.
pub(super) fn uuid(raw: &[u8]) -> Option<String> {
    let uuid = uuid::Uuid::from_slice(raw.get(72..88)?).ok()?;
    (!uuid.is_nil()).then(|| uuid.to_string())
}

/// A range of blocks of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) start: u64,
    pub(super) count: u64,
}

impl Blocks {
    /// One past the last; `u64::MAX` when it doesn't fit.
    pub(super) const fn end(self) -> u64 {
        self.start.saturating_add(self.count)
    }

    pub(super) const fn contains(self, block: u64) -> bool {
        self.start <= block && block < self.end()
    }
}

/// A checked container superblock.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) object: Object,
    pub(super) block_size_bytes: u32,
    /// `nx_block_count`.
    pub(super) blocks: u64,
    /// The checkpoint descriptor area.
    pub(super) descriptors: Blocks,
    /// The checkpoint data area.
    pub(super) data: Blocks,
}

impl Superblock {
    /// Checks the fields of `object`, a superblock whose header was checked, on a volume of
    /// `volume_bytes`.
    pub(super) fn check(object: Object, volume_bytes: u64) -> std::result::Result<Self, Corrupt> {
        let block_size_bytes = block_size_bytes(&object.raw);
        let is_size = block_size_bytes.is_power_of_two()
            && usize::try_from(block_size_bytes) == Ok(object.raw.len());
        let expected = format!("a power of two and {}", object.raw.len());
        object.check(is_size, "nx_block_size", expected, block_size_bytes)?;
        let blocks = blocks(&object.raw);
        let volume_blocks = volume_bytes / u64::from(block_size_bytes);
        let expected = format!("1 to the volume's {volume_blocks}");
        let is_count = (1..=volume_blocks).contains(&blocks);
        object.check(is_count, "nx_block_count", expected, blocks)?;
        let next = object.xid().checked_add(1);
        let (expected, found) = (next.unwrap_or(0), object.u64(96));
        object.check(next == Some(found), "nx_next_xid", expected, found)?;
        let superblock = Self {
            block_size_bytes,
            blocks,
            descriptors: area(&object, blocks, 112, 104)?,
            data: area(&object, blocks, 120, 108)?,
            object,
        };
        let (count, object) = (superblock.descriptors.count, &superblock.object);
        let is_few = count <= DESCRIPTORS_MAX.into();
        let expected = format!("at most {DESCRIPTORS_MAX}");
        object.check(is_few, "nx_xp_desc_blocks", expected, count)?;
        Ok(superblock)
    }

    /// `o_xid`.
    pub(super) fn xid(&self) -> u64 {
        self.object.xid()
    }

    /// A block of the container by a number from the disk.
    ///
    /// # Errors
    /// [`Corrupt`], in the words of `whose` field `field`, when the container has no such block.
    pub(super) fn block(&self, number: u64, whose: &Object, field: &'static str) -> Result<Block> {
        let expected = format!("a block from 1 to {}", self.blocks);
        let is_valid = (1..self.blocks).contains(&number);
        whose.check(is_valid, field, expected, number)?;
        Ok(Block {
            number,
            size_bytes: self.block_size_bytes,
        })
    }

    /// Where blocks lie on the volume.
    pub(super) fn extent(&self, blocks: Blocks) -> Option<Extent> {
        let size_bytes = u64::from(self.block_size_bytes);
        Extent::new(
            blocks.start.checked_mul(size_bytes)?,
            blocks.count.checked_mul(size_bytes)?,
        )
    }

    /// Size of a block, for buffers.
    pub(super) fn block_len(&self) -> usize {
        self.object.raw.len()
    }

    /// What a checkpoint and its copy in block 0 must have in common: all fields before the
    /// counters, but for the checksum.
    pub(super) fn fields(&self) -> &[u8] {
        self.object.raw.get(8..COUNTERS).unwrap_or_default()
    }
}

/// One of the checkpoint areas, which must be contiguous.
fn area(
    object: &Object,
    blocks: u64,
    base: usize,
    count: usize,
) -> std::result::Result<Blocks, Corrupt> {
    let area = Blocks {
        start: object.u64(base),
        count: object.u32(count).into(),
    };
    let field = if count == 104 {
        "nx_xp_desc_base"
    } else {
        "nx_xp_data_base"
    };
    let is_inside = area.start > 0 && area.count > 0 && area.end() <= blocks;
    let expected = format!("blocks from 1 to {blocks}");
    let found = format!("{}+{}", area.start, area.count);
    object.check(is_inside, field, expected, found)?;
    Ok(area)
}
