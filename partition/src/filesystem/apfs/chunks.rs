//! Chunks: the parts of a container that have a bitmap block each, in order.
//!
//! Layouts of `cib_addr_block_t`, `chunk_info_block_t` and `chunk_info_t`: Apple File System
//! Reference, "Space Manager".

use super::object::{Object, SPACEMAN_CAB, SPACEMAN_CIB};
use super::spaceman::{BEFORE_ARRAY_BYTES, CHUNK_INFO_BYTES, Spaceman};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;

/// `CI_COUNT_MASK`.
const COUNT_MASK: u32 = 0x000f_ffff;

/// A part of the container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// `ci_addr`: its first block.
    pub(super) start: u64,
    /// `ci_block_count`.
    pub(super) blocks: u64,
    /// `ci_free_count`.
    pub(super) free_blocks: u64,
    /// `ci_bitmap_addr`; `None` when all of it is free.
    pub(super) bitmap: Option<u64>,
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
        let mut index = 0;
        for (place, address) in spaceman.addresses().enumerate() {
            if spaceman.cabs == 0 {
                self.chunk_infos((index, address), &spaceman.object, visit)?;
                index = index.saturating_add(1);
                continue;
            }
            let cab = self.read("APFS chunk-info address block", SPACEMAN_CAB, address)?;
            check_u32(&cab, 32, "cab_index", place as u64)?;
            let rest = spaceman.cibs.saturating_sub(index);
            let count = rest.min(spaceman.cibs_per_cab);
            check_u32(&cab, 36, "cab_cib_count", count)?;
            for at in array(count, 8) {
                self.chunk_infos((index, cab.u64(at)), &cab, visit)?;
                index = index.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Reads the chunk-info block with this index at this address, named in `whose`.
    fn chunk_infos(
        &self,
        (index, address): (u64, u64),
        whose: &Object,
        visit: &mut dyn FnMut(&[Chunk]) -> Result<()>,
    ) -> Result<()> {
        let spaceman = self.spaceman;
        let cib = self.read("APFS chunk-info block", SPACEMAN_CIB, address)?;
        cib.check_age(whose.xid())?;
        check_u32(&cib, 32, "cib_index", index)?;
        let first = index.saturating_mul(spaceman.chunks_per_cib);
        let rest = spaceman.chunks.saturating_sub(first);
        let count = rest.min(spaceman.chunks_per_cib);
        check_u32(&cib, 36, "cib_chunk_info_count", count)?;
        let chunks = array(count, CHUNK_INFO_BYTES)
            .zip(first..)
            .map(|(at, index)| self.chunk(&cib, at, index))
            .collect::<Result<Vec<Chunk>>>()?;
        visit(&chunks)
    }

    fn chunk(&self, cib: &Object, at: usize, index: u64) -> Result<Chunk> {
        let spaceman = self.spaceman;
        let field = |offset: usize| at.saturating_add(offset);
        let start = index.saturating_mul(spaceman.blocks_per_chunk);
        let found = cib.u64(field(8));
        cib.check(found == start, "ci_addr", start, found)?;
        let rest = spaceman.blocks.saturating_sub(start);
        let blocks = rest.min(spaceman.blocks_per_chunk);
        let found = u64::from(cib.u32(field(16)) & COUNT_MASK);
        cib.check(found == blocks, "ci_block_count", blocks, found)?;
        let free_blocks = u64::from(cib.u32(field(20)) & COUNT_MASK);
        let bitmap = Some(cib.u64(field(24))).filter(|&block| block != 0);
        let (is_free, expected) = match bitmap {
            Some(_) => (free_blocks <= blocks, format!("at most {blocks}")),
            None => (free_blocks == blocks, format!("{blocks}, without a bitmap")),
        };
        cib.check(is_free, "ci_free_count", expected, free_blocks)?;
        if let Some(block) = bitmap {
            let is_inside = spaceman.pool.contains(block);
            cib.check(is_inside, "ci_bitmap_addr", "in the internal pool", block)?;
        }
        Ok(Chunk {
            start,
            blocks,
            free_blocks,
            bitmap,
        })
    }

    /// Reads one of the space manager's blocks, which are in the internal pool.
    fn read(&self, structure: &'static str, kind: u32, address: u64) -> Result<Object> {
        let whose = &self.spaceman.object;
        let is_inside = self.spaceman.pool.contains(address);
        whose.check(is_inside, structure, "in the internal pool", address)?;
        let block = self.superblock.block(address, whose, structure)?;
        let object = Object::read_physical(structure, kind, block, self.device)?;
        object.check_age(whose.xid())?;
        Ok(object)
    }
}

fn check_u32(object: &Object, offset: usize, field: &'static str, expected: u64) -> Result<()> {
    let found = u64::from(object.u32(offset));
    Ok(object.check(found == expected, field, expected, found)?)
}

/// Offsets of the `count` elements of the array in a block; as many as its size allows.
fn array(count: u64, element_bytes: u64) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| {
        let at = index.saturating_mul(element_bytes);
        usize::try_from(at.saturating_add(BEFORE_ARRAY_BYTES)).unwrap_or(usize::MAX)
    })
}
