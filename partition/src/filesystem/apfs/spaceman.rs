//! The space manager: where the blocks are that say which blocks are free.
//!
//! Layout of `spaceman_phys_t`: Apple File System Reference, "Space Manager".

use super::object::Object;
use super::superblock::{Blocks, Superblock};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::Hazard;

/// `chunk_info_t`, and what comes before the array of them or of addresses in a block.
pub(super) const CHUNK_INFO_BYTES: u64 = 32;
pub(super) const BEFORE_ARRAY_BYTES: u64 = 40;
/// The least that a space manager takes: up to `sm_version`.
const STRUCTURE_BYTES: u64 = 336;
/// `SM_FLAG_VERSIONED`.
const FLAGS: u32 = 1;
/// `sm_dev[SD_MAIN]` and `sm_dev[SD_TIER2]`.
const MAIN: usize = 48;
const TIER_2: usize = 96;

type Checked<T = ()> = std::result::Result<T, Corrupt>;

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
    /// Where in the space manager the addresses are.
    addresses_at: u64,
}

impl Spaceman {
    /// Checks the space manager in `object`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a field contradicts the superblock or another field,
    /// [`Error::Unsupported`] when a flag is not known.
    pub(super) fn parse(object: Object, superblock: &Superblock) -> Result<Self> {
        let block_bytes = u64::from(superblock.block_size_bytes);
        let array_bytes = block_bytes.saturating_sub(BEFORE_ARRAY_BYTES);
        let spaceman = Self {
            blocks: object.u64(MAIN),
            free_blocks: object.u64(MAIN + 24),
            blocks_per_chunk: block_bytes.saturating_mul(8),
            chunks_per_cib: array_bytes / CHUNK_INFO_BYTES,
            cibs_per_cab: array_bytes / 8,
            chunks: object.u64(MAIN + 8),
            cibs: object.u32(MAIN + 16).into(),
            cabs: object.u32(MAIN + 20).into(),
            pool: Blocks {
                start: object.u64(176),
                count: object.u64(152),
            },
            pool_bitmaps: Blocks {
                start: object.u64(168),
                count: object.u32(164).into(),
            },
            addresses_at: object.u32(MAIN + 32).into(),
            object,
        };
        let flags = spaceman.object.u32(144) & !FLAGS;
        if flags != 0 {
            let reason = "klon doesn't know what it means";
            return Err(Error::unsupported(format!("sm_flags {flags:#x}"), reason));
        }
        spaceman.check_units(block_bytes)?;
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
        let found = |offset: usize| u64::from(self.object.u32(offset));
        self.equal("sm_block_size", block_bytes, found(32))?;
        self.equal("sm_blocks_per_chunk", self.blocks_per_chunk, found(36))?;
        self.equal("sm_chunks_per_cib", self.chunks_per_cib, found(40))?;
        self.equal("sm_cibs_per_cab", self.cibs_per_cab, found(44))
    }

    fn check_counts(&self, superblock: &Superblock) -> Checked {
        // With a second device the container has more blocks than the first.
        if self.second_device().is_none() {
            self.equal("sm_block_count", superblock.blocks, self.blocks)?;
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
        let size_bytes = self.object.raw.len() as u64;
        let end = self.address_count().saturating_mul(8);
        let end = end.saturating_add(self.addresses_at);
        let is_inside = self.addresses_at >= STRUCTURE_BYTES && end <= size_bytes;
        let expected = format!("{} addresses in it", self.address_count());
        let found = self.addresses_at;
        self.object
            .check(is_inside, "sm_addr_offset", expected, found)?;
        let areas = [
            (self.pool, "sm_ip_base"),
            (self.pool_bitmaps, "sm_ip_bm_base"),
        ];
        for (area, field) in areas {
            let is_inside = area.start > 0 && area.end() <= superblock.blocks;
            let expected = format!("blocks from 1 to {}", superblock.blocks);
            let found = format!("{}+{}", area.start, area.count);
            self.object.check(is_inside, field, expected, found)?;
        }
        Ok(())
    }

    const fn address_count(&self) -> u64 {
        if self.cabs == 0 { self.cibs } else { self.cabs }
    }

    /// Addresses of the chunk-info blocks, or of the blocks with these addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let at = |index: u64| {
            let at = self.addresses_at.saturating_add(index.saturating_mul(8));
            self.object.u64(usize::try_from(at).unwrap_or(usize::MAX))
        };
        (0..self.address_count()).map(at)
    }
}
