//! The container superblock: where the checkpoints are, and what the container can do.
//!
//! Layout of `nx_superblock_t`: Apple File System Reference, "Container".

use super::address::{Block, Blocks, Container, Paddr, Xid};
use super::object::{Field, Kind, NX_SUPERBLOCK, Object};
use crate::bytes::{le32, le64};
use crate::error::{Checked, Result};

/// `nx_superblock_t`
pub(super) const KIND: Kind = Kind::new("APFS container superblock", NX_SUPERBLOCK);
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
    let (o_oid, o_type, o_subtype) = (le64(raw, 8), le32(raw, 24), le32(raw, 28));
    has_magic(raw)
        && o_oid == 1
        && o_type & 0xffff == NX_SUPERBLOCK
        && o_subtype == 0
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

/// A checked container superblock.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) object: Object,
    pub(super) container: Container,
    /// The checkpoint descriptor area.
    pub(super) descriptors: Blocks,
    /// The checkpoint data area.
    pub(super) data: Blocks,
}

impl Superblock {
    /// Checks the fields of `object`, a superblock whose header was checked, on a volume of
    /// `volume_bytes`.
    pub(super) fn check(object: Object, volume_bytes: u64) -> Checked<Self> {
        let nx_block_size = block_size_bytes(&object.raw);
        let nx_block_count = blocks(&object.raw);
        let nx_next_xid = object.u64(96);
        let is_size = nx_block_size.is_power_of_two() && nx_block_size as usize == object.raw.len();
        let expected = format!("a power of two and {}", object.raw.len());
        object.check(is_size, "nx_block_size", expected, nx_block_size)?;
        let volume_blocks = volume_bytes / u64::from(nx_block_size);
        let expected = format!("1 to the volume's {volume_blocks}");
        let is_count = (1..=volume_blocks).contains(&nx_block_count);
        object.check(is_count, "nx_block_count", expected, nx_block_count)?;
        let container = Container {
            block_size_bytes: nx_block_size,
            blocks: nx_block_count,
        };
        let next = object.xid().0.checked_add(1);
        let is_next = next == Some(nx_next_xid);
        object.check(is_next, "nx_next_xid", next.unwrap_or(0), nx_next_xid)?;
        let superblock = Self {
            container,
            descriptors: descriptors(&object, container)?,
            data: data(&object, container)?,
            object,
        };
        let (count, object) = (superblock.descriptors.count, &superblock.object);
        let is_few = count <= DESCRIPTORS_MAX.into();
        let expected = format!("at most {DESCRIPTORS_MAX}");
        object.check(is_few, "nx_xp_desc_blocks", expected, count)?;
        Ok(superblock)
    }

    /// `o_xid`.
    pub(super) fn xid(&self) -> Xid {
        self.object.xid()
    }

    /// The block of the container at an address that `field` has.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`], in the words of `field`, when the container has no such block.
    pub(super) fn block(&self, address: Paddr, field: Field<'_>) -> Result<Block> {
        let expected = || format!("a block from 1 to {}", self.container.blocks);
        let block = self.container.block(address);
        Ok(block.ok_or_else(|| field.corrupt(expected(), address))?)
    }

    /// Block `index` of the checkpoint descriptor area.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there are fewer.
    pub(super) fn descriptor(&self, index: u64) -> Result<Block> {
        let field = self.object.field("nx_xp_desc_base");
        let expected = || format!("more than {index} blocks");
        let missing = || field.corrupt(expected(), self.descriptors);
        self.block(self.descriptors.get(index).ok_or_else(missing)?, field)
    }

    /// Size of a block, for buffers.
    pub(super) fn block_len(&self) -> usize {
        self.object.raw.len()
    }

    /// What a checkpoint and its copy in block 0 must have in common: all fields before the counters, without
    /// the checksum.
    pub(super) fn fields(&self) -> &[u8] {
        self.object.raw.get(8..COUNTERS).unwrap_or_default()
    }
}

fn descriptors(object: &Object, container: Container) -> Checked<Blocks> {
    let (nx_xp_desc_blocks, nx_xp_desc_base) = (object.u32(104), object.paddr(112));
    let area = Blocks {
        start: nx_xp_desc_base,
        count: nx_xp_desc_blocks.into(),
    };
    area_of(container, area, object.field("nx_xp_desc_base"))
}

fn data(object: &Object, container: Container) -> Checked<Blocks> {
    let (nx_xp_data_blocks, nx_xp_data_base) = (object.u32(108), object.paddr(120));
    let area = Blocks {
        start: nx_xp_data_base,
        count: nx_xp_data_blocks.into(),
    };
    area_of(container, area, object.field("nx_xp_data_base"))
}

/// One of the checkpoint areas, which must be contiguous and is not empty.
fn area_of(container: Container, area: Blocks, field: Field<'_>) -> Checked<Blocks> {
    let is_inside = area.count > 0 && container.has(area);
    let expected = format!("blocks from 1 to {}", container.blocks);
    field.check(is_inside, expected, area)?;
    Ok(area)
}
