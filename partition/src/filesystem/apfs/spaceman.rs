//! The space manager: where the blocks are that say which blocks are free.
//!
//! Layout of `spaceman_phys_t`: Apple File System Reference, "Space Manager".

use super::address::{Blocks, Paddr};
use super::object::Object;
use super::superblock::Superblock;
use crate::bytes::le64;
use crate::error::{Checked, Error, Result};
use crate::filesystem::Hazard;

/// A `paddr_t`.
pub(super) const ADDRESS_BYTES: usize = 8;
/// `chunk_info_t`, and what comes before the array of them or of addresses in a block.
pub(super) const CHUNK_INFO_BYTES: usize = 32;
pub(super) const BEFORE_ARRAY_BYTES: usize = 40;
/// The least that a space manager takes: up to `sm_version`.
const STRUCTURE_BYTES: usize = 336;
/// `SM_FLAG_VERSIONED`.
const FLAGS: u32 = 1;
/// `sm_dev[SD_MAIN]` and `sm_dev[SD_TIER2]`.
const MAIN: usize = 48;
const TIER_2: usize = 96;

/// A checked space manager.
#[derive(Clone, Debug)]
pub(super) struct Spaceman {
    pub(super) object: Object,
    /// Blocks of the container, as in the superblock.
    pub(super) blocks: u64,
    /// `sm_free_count`.
    pub(super) free_blocks: u64,
    /// `sm_blocks_per_chunk`: as many as a block has bits.
    pub(super) blocks_per_chunk: u64,
    pub(super) chunks_per_cib: u64,
    pub(super) cibs_per_cab: u64,
    pub(super) chunks: u64,
    pub(super) cibs: u64,
    /// 0 when the space manager has the addresses of chunk-info blocks itself.
    pub(super) cabs: u64,
    /// `sm_ip_base`: where bitmaps, chunk-info blocks and their address blocks lie.
    pub(super) pool: Blocks,
    /// `sm_ip_bm_base`: the bitmaps of the internal pool.
    pub(super) pool_bitmaps: Blocks,
    /// `sm_addr_offset`: where in the space manager the addresses are.
    addresses_at: usize,
}

impl Spaceman {
    /// Checks the space manager in `object`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a field contradicts the superblock or another field,
    /// [`Error::Unsupported`] when a flag is not known.
    pub(super) fn parse(object: Object, superblock: &Superblock) -> Result<Self> {
        let block_bytes = superblock.block_len();
        // A block has 4096 bytes or more.
        let array_bytes = block_bytes - BEFORE_ARRAY_BYTES;
        let (sm_block_count, sm_chunk_count) = (object.u64(MAIN), object.u64(MAIN + 8));
        let (sm_cib_count, sm_cab_count) = (object.u32(MAIN + 16), object.u32(MAIN + 20));
        let (sm_free_count, sm_addr_offset) = (object.u64(MAIN + 24), object.u32(MAIN + 32));
        let (sm_flags, sm_ip_block_count) = (object.u32(144), object.u64(152));
        let sm_ip_bm_block_count = object.u32(164);
        let (sm_ip_bm_base, sm_ip_base) = (object.paddr(168), object.paddr(176));
        let spaceman = Self {
            blocks: sm_block_count,
            free_blocks: sm_free_count,
            blocks_per_chunk: block_bytes as u64 * 8,
            chunks_per_cib: (array_bytes / CHUNK_INFO_BYTES) as u64,
            cibs_per_cab: (array_bytes / ADDRESS_BYTES) as u64,
            chunks: sm_chunk_count,
            cibs: sm_cib_count.into(),
            cabs: sm_cab_count.into(),
            pool: Blocks {
                start: sm_ip_base,
                count: sm_ip_block_count,
            },
            pool_bitmaps: Blocks {
                start: sm_ip_bm_base,
                count: sm_ip_bm_block_count.into(),
            },
            addresses_at: sm_addr_offset as usize,
            object,
        };
        let flags = sm_flags & !FLAGS;
        if flags != 0 {
            let reason = "klon doesn't know what it means";
            return Err(Error::unsupported(format!("sm_flags {flags:#x}"), reason));
        }
        spaceman.check_units(block_bytes as u64)?;
        spaceman.check_counts(superblock)?;
        spaceman.check_places(superblock)?;
        Ok(spaceman)
    }

    /// What its second device says against copying by the bitmaps of the first.
    pub(super) fn second_device(&self) -> Option<Hazard> {
        let blocks = self.object.u64(TIER_2);
        (blocks != 0).then(|| Hazard::MultiDevice(format!("a second device of {blocks} blocks")))
    }

    fn equal(&self, field: &'static str, expected: u64, found: u64) -> Checked {
        self.object.check(expected == found, field, expected, found)
    }

    fn check_units(&self, block_bytes: u64) -> Checked {
        let field = |offset: usize| u64::from(self.object.u32(offset));
        let (sm_block_size, sm_blocks_per_chunk) = (field(32), field(36));
        let (sm_chunks_per_cib, sm_cibs_per_cab) = (field(40), field(44));
        self.equal("sm_block_size", block_bytes, sm_block_size)?;
        let expected = self.blocks_per_chunk;
        self.equal("sm_blocks_per_chunk", expected, sm_blocks_per_chunk)?;
        self.equal("sm_chunks_per_cib", self.chunks_per_cib, sm_chunks_per_cib)?;
        self.equal("sm_cibs_per_cab", self.cibs_per_cab, sm_cibs_per_cab)
    }

    fn check_counts(&self, superblock: &Superblock) -> Checked {
        // With a second device the container has more blocks than the first.
        if self.second_device().is_none() {
            let expected = superblock.container.blocks;
            self.equal("sm_block_count", expected, self.blocks)?;
        }
        let chunks = self.blocks.div_ceil(self.blocks_per_chunk);
        self.equal("sm_chunk_count", chunks, self.chunks)?;
        let cibs = chunks.div_ceil(self.chunks_per_cib);
        self.equal("sm_cib_count", cibs, self.cibs)?;
        let cabs = cibs.div_ceil(self.cibs_per_cab);
        // One address block alone would be of no use, and there is none.
        let is_count = self.cabs == cabs || self.cabs == 0;
        self.object
            .check(is_count, "sm_cab_count", cabs, self.cabs)?;
        let is_free = self.free_blocks < self.blocks;
        let expected = format!("less than {}", self.blocks);
        self.object
            .check(is_free, "sm_free_count", expected, self.free_blocks)
    }

    fn check_places(&self, superblock: &Superblock) -> Checked {
        let table = self.object.raw.get(self.addresses_at..);
        let room = table.map_or(0, |table| table.len() / ADDRESS_BYTES);
        let count = self.address_count();
        let is_inside = self.addresses_at >= STRUCTURE_BYTES && count <= room as u64;
        let expected = format!("{count} addresses in it");
        let found = self.addresses_at;
        self.object
            .check(is_inside, "sm_addr_offset", expected, found)?;
        let areas = [
            (self.pool, "sm_ip_base"),
            (self.pool_bitmaps, "sm_ip_bm_base"),
        ];
        for (area, field) in areas {
            let is_inside = superblock.container.has(area);
            let expected = format!("blocks from 1 to {}", superblock.container.blocks);
            self.object.check(is_inside, field, expected, area)?;
        }
        Ok(())
    }

    const fn address_count(&self) -> u64 {
        if self.cabs == 0 { self.cibs } else { self.cabs }
    }

    /// Addresses of the chunk-info blocks, or of the blocks with these addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Paddr> + '_ {
        let table = self.object.raw.get(self.addresses_at..).unwrap_or_default();
        let addresses = table.chunks_exact(ADDRESS_BYTES);
        let addresses = addresses.map(|address| Paddr(le64(address, 0)));
        addresses.take(self.address_count() as usize)
    }
}
