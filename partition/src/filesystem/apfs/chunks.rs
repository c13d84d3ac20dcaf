//! Chunks: the parts of a container that have a bitmap block each, in order.
//!
//! Layouts of `cib_addr_block_t`, `chunk_info_block_t` and `chunk_info_t`: Apple File System
//! Reference, "Space Manager".

use super::address::Paddr;
use super::object::{Kind, Object, SPACEMAN_CAB, SPACEMAN_CIB};
use super::spaceman::{ADDRESS_BYTES, BEFORE_ARRAY_BYTES, CHUNK_INFO_BYTES, Spaceman};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;

/// `cib_addr_block_t` and `chunk_info_block_t`
const ADDRESS_BLOCK: Kind = Kind::new("APFS chunk-info address block", SPACEMAN_CAB);
const INFO_BLOCK: Kind = Kind::new("APFS chunk-info block", SPACEMAN_CIB);
/// `CI_COUNT_MASK`.
const COUNT_MASK: u32 = 0x000f_ffff;

/// A part of the container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// `ci_addr`: its first block.
    pub(super) start: Paddr,
    /// `ci_block_count`.
    pub(super) blocks: u64,
    /// `ci_free_count`.
    pub(super) free_blocks: u64,
    /// `ci_bitmap_addr`; `None` when all of it is free.
    pub(super) bitmap: Option<Paddr>,
}

/// Reads the chunks from the blocks that the space manager names.
pub(super) struct Chunks<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) spaceman: &'a Spaceman,
    pub(super) device: &'a dyn ReadAt,
}

impl Chunks<'_> {
    /// Calls `visit` with the chunks of one chunk-info block after the other.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when one of these blocks fails its check, contradicts the space
    /// manager or is not in the internal pool; [`crate::Error::Io`] when the device fails; and
    /// what `visit` returns.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&[Chunk]) -> Result<()>) -> Result<()> {
        let spaceman = self.spaceman;
        if spaceman.cabs == 0 {
            for (index, address) in (0..).zip(spaceman.addresses()) {
                self.chunk_infos(index, address, &spaceman.object, visit)?;
            }
            return Ok(());
        }
        let mut indices = 0..spaceman.cibs;
        for (place, address) in (0..).zip(spaceman.addresses()) {
            let cab = self.read(ADDRESS_BLOCK, address)?;
            check_u32(&cab, 32, "cab_index", place)?;
            let count = (indices.end - indices.start).min(spaceman.cibs_per_cab);
            check_u32(&cab, 36, "cab_cib_count", count)?;
            for (at, index) in array(count, ADDRESS_BYTES).zip(&mut indices) {
                self.chunk_infos(index, cab.paddr(at), &cab, visit)?;
            }
        }
        Ok(())
    }

    /// Reads the chunk-info block `index`, at an address that is in `whose`.
    fn chunk_infos(
        &self,
        index: u64,
        address: Paddr,
        whose: &Object,
        visit: &mut dyn FnMut(&[Chunk]) -> Result<()>,
    ) -> Result<()> {
        let spaceman = self.spaceman;
        let cib = self.read(INFO_BLOCK, address)?;
        cib.check_age(whose.xid())?;
        check_u32(&cib, 32, "cib_index", index)?;
        // The space manager has no more chunk-info blocks than its chunks need: this is one of
        // the chunks.
        let first = index * spaceman.chunks_per_cib;
        let rest = spaceman.chunks.saturating_sub(first);
        let count = rest.min(spaceman.chunks_per_cib);
        check_u32(&cib, 36, "cib_chunk_info_count", count)?;
        let chunks = array(count, CHUNK_INFO_BYTES)
            .zip(first..)
            .map(|(at, index)| self.chunk(&cib, at, index))
            .collect::<Result<Vec<Chunk>>>()?;
        visit(&chunks)
    }

    /// Chunk `index`, whose `chunk_info_t` is at `at` of `cib`.
    fn chunk(&self, cib: &Object, at: usize, index: u64) -> Result<Chunk> {
        let spaceman = self.spaceman;
        let (ci_addr, ci_bitmap_addr) = (cib.paddr(at + 8), cib.paddr(at + 24));
        let ci_block_count = u64::from(cib.u32(at + 16) & COUNT_MASK);
        let ci_free_count = u64::from(cib.u32(at + 20) & COUNT_MASK);
        // Below the container's blocks, as the index is below the number of chunks.
        let start = Paddr(index * spaceman.blocks_per_chunk);
        cib.check(ci_addr == start, "ci_addr", start, ci_addr)?;
        let rest = spaceman.blocks.saturating_sub(start.0);
        let blocks = rest.min(spaceman.blocks_per_chunk);
        let is_count = ci_block_count == blocks;
        cib.check(is_count, "ci_block_count", blocks, ci_block_count)?;
        let bitmap = Some(ci_bitmap_addr).filter(|&block| block != Paddr(0));
        let (is_free, expected) = match bitmap {
            Some(_) => (ci_free_count <= blocks, format!("at most {blocks}")),
            None => (
                ci_free_count == blocks,
                format!("{blocks}, without a bitmap"),
            ),
        };
        cib.check(is_free, "ci_free_count", expected, ci_free_count)?;
        if let Some(block) = bitmap {
            let is_inside = spaceman.pool.index(block).is_some();
            cib.check(is_inside, "ci_bitmap_addr", "in the internal pool", block)?;
        }
        Ok(Chunk {
            start,
            blocks,
            free_blocks: ci_free_count,
            bitmap,
        })
    }

    /// Reads one of the space manager's blocks, which are in the internal pool.
    fn read(&self, kind: Kind, address: Paddr) -> Result<Object> {
        let field = self.spaceman.object.field(kind.structure);
        let is_inside = self.spaceman.pool.index(address).is_some();
        field.check(is_inside, "in the internal pool", address)?;
        let block = self.superblock.block(address, field)?;
        let object = Object::read_physical(kind, block, self.device)?;
        object.check_age(self.spaceman.object.xid())?;
        Ok(object)
    }
}

fn check_u32(object: &Object, offset: usize, field: &'static str, expected: u64) -> Result<()> {
    let found = u64::from(object.u32(offset));
    Ok(object.check(found == expected, field, expected, found)?)
}

/// Offsets of the `count` elements of the array in a block; as many as its size allows.
fn array(count: u64, element_bytes: usize) -> impl Iterator<Item = usize> {
    (0..count as usize).map(move |index| BEFORE_ARRAY_BYTES + index * element_bytes)
}
