//! Containers of any size and block size, made up block by block, for what no tool makes.

use crate::device::{Geometry, ReadAt};
use crate::error::Result;
use crate::filesystem::apfs::object::checksum;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of a container; all others are zeroes.
#[derive(Clone)]
pub(super) struct Container {
    pub(super) block_bytes: u32,
    blocks: u64,
    stored: BTreeMap<u64, Vec<u8>>,
}

/// Where things are in each of these containers.
pub(super) const MAP: u64 = 1;
pub(super) const SUPERBLOCK: u64 = 2;
pub(super) const SPACEMAN: u64 = 4;
const OMAP: u64 = 8;
const POOL_BITMAPS: u64 = 9;
pub(super) const POOL: u64 = 25;

const XID: u64 = 7;

/// What a container has, in units.
#[derive(Clone, Copy)]
struct Counts {
    chunks: u64,
    cibs: u64,
    cabs: u64,
}

impl Container {
    /// A container with its own structures in use, and blocks of `used`.
    pub(super) fn new(block_bytes: u32, blocks: u64, used: &[u64]) -> Self {
        let size = u64::from(block_bytes);
        let chunks = blocks.div_ceil(size * 8);
        let cibs = chunks.div_ceil((size - 40) / 32);
        let cabs = cibs.div_ceil((size - 40) / 8);
        let counts = Counts {
            chunks,
            cibs,
            cabs: if cabs == 1 { 0 } else { cabs },
        };
        let mut container = Self {
            block_bytes,
            blocks,
            stored: BTreeMap::new(),
        };
        let pool = 3 * (counts.chunks + counts.cibs + counts.cabs);
        let used: BTreeSet<u64> = (0..POOL + pool).chain(used.iter().copied()).collect();
        let free = container.chunks(counts, &used);
        container.spaceman(counts, pool, free);
        container.checkpoint();
        container
    }

    pub(super) fn blocks_per_chunk(&self) -> u64 {
        u64::from(self.block_bytes) * 8
    }

    /// Overwrites bytes of a block and makes its checksum fit, also for the copy in block 0.
    pub(super) fn poke(&mut self, block: u64, offset: usize, bytes: &[u8]) {
        self.put(block, offset, bytes);
        self.seal(block);
        if block == SUPERBLOCK {
            let copy = self.stored[&block].clone();
            self.stored.insert(0, copy);
        }
    }

    pub(super) fn put(&mut self, block: u64, offset: usize, bytes: &[u8]) {
        let len = self.block_bytes as usize;
        let stored = self.stored.entry(block).or_insert_with(|| vec![0; len]);
        stored[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn seal(&mut self, block: u64) {
        let raw = self.stored.get_mut(&block).unwrap();
        let sum = checksum(raw);
        raw[..8].copy_from_slice(&sum.to_le_bytes());
    }

    fn put32(&mut self, block: u64, offset: usize, values: &[u64]) {
        for (index, value) in values.iter().enumerate() {
            let bytes = u32::try_from(*value).unwrap().to_le_bytes();
            self.put(block, offset + 4 * index, &bytes);
        }
    }

    fn put64(&mut self, block: u64, offset: usize, values: &[u64]) {
        for (index, value) in values.iter().enumerate() {
            self.put(block, offset + 8 * index, &value.to_le_bytes());
        }
    }

    fn header(&mut self, block: u64, oid: u64, kind: u64) {
        self.put64(block, 8, &[oid, XID]);
        self.put32(block, 24, &[kind, 0]);
    }

    /// Writes bitmaps, chunk-info blocks and their address blocks; returns how many blocks are
    /// free.
    fn chunks(&mut self, counts: Counts, used: &BTreeSet<u64>) -> u64 {
        let per_chunk = self.blocks_per_chunk();
        let mut by_chunk: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for block in used {
            let bits = by_chunk.entry(block / per_chunk).or_default();
            bits.push(block % per_chunk);
        }
        let per_cib = (u64::from(self.block_bytes) - 40) / 32;
        let first_cib = POOL + counts.cabs;
        let first_bitmap = first_cib + counts.cibs;
        let mut free = 0;
        for chunk in 0..counts.chunks {
            let (cib, at) = (first_cib + chunk / per_cib, 40 + 32 * (chunk % per_cib));
            let blocks = per_chunk.min(self.blocks - chunk * per_chunk);
            let bits = by_chunk.get(&chunk).map_or(&[][..], Vec::as_slice);
            let free_now = blocks - bits.len() as u64;
            free += free_now;
            // In an order that makes reading them no simple matter.
            let bitmap = first_bitmap + (counts.chunks - 1 - chunk) * 2;
            for bit in bits {
                let at = (bit / 8) as usize;
                let byte = self.stored.get(&bitmap).map_or(0, |raw| raw[at]);
                self.put(bitmap, at, &[byte | 1 << (bit % 8)]);
            }
            let bitmap = if bits.is_empty() { 0 } else { bitmap };
            self.put64(cib, at as usize, &[XID, chunk * per_chunk]);
            self.put32(cib, at as usize + 16, &[blocks, free_now]);
            self.put64(cib, at as usize + 24, &[bitmap]);
        }
        self.tables((first_cib, counts.cibs), 7, (per_cib, counts.chunks));
        let per_cab = (u64::from(self.block_bytes) - 40) / 8;
        for index in 0..counts.cibs * counts.cabs.min(1) {
            let cab = POOL + index / per_cab;
            let at = 40 + 8 * (index % per_cab);
            self.put64(cab, at as usize, &[first_cib + index]);
        }
        self.tables((POOL, counts.cabs), 6, (per_cab, counts.cibs));
        free
    }

    /// Headers, indexes and counts of blocks with arrays.
    fn tables(&mut self, (first, count): (u64, u64), kind: u64, (each, all): (u64, u64)) {
        for index in 0..count {
            self.header(first + index, first + index, kind | 0x4000_0000);
            self.put32(first + index, 32, &[index, each.min(all - index * each)]);
            self.seal(first + index);
        }
    }

    fn spaceman(&mut self, counts: Counts, pool: u64, free: u64) {
        let size = u64::from(self.block_bytes);
        self.header(SPACEMAN, 1024, 0x8000_0005);
        let units = [size, size * 8, (size - 40) / 32, (size - 40) / 8];
        self.put32(SPACEMAN, 32, &units);
        self.put64(SPACEMAN, 48, &[self.blocks, counts.chunks]);
        self.put32(SPACEMAN, 64, &[counts.cibs, counts.cabs]);
        self.put64(SPACEMAN, 72, &[free]);
        self.put32(SPACEMAN, 80, &[384]);
        self.put64(SPACEMAN, 152, &[pool]);
        self.put32(SPACEMAN, 160, &[1, 16]);
        self.put64(SPACEMAN, 168, &[POOL_BITMAPS, POOL]);
        let (first, count) = match counts.cabs {
            0 => (POOL, counts.cibs),
            cabs => (POOL, cabs),
        };
        let addresses: Vec<u64> = (first..first + count).collect();
        self.put64(SPACEMAN, 384, &addresses);
        self.seal(SPACEMAN);
    }

    fn checkpoint(&mut self) {
        self.header(MAP, MAP, 0x4000_000c);
        self.put32(MAP, 32, &[1, 1, 0x8000_0005, 0, self.block_bytes.into(), 0]);
        self.put64(MAP, 56, &[0, 1024, SPACEMAN]);
        self.seal(MAP);
        self.header(SUPERBLOCK, 1, 0x8000_0001);
        self.put(SUPERBLOCK, 32, b"NXSB");
        self.put32(SUPERBLOCK, 36, &[self.block_bytes.into()]);
        self.put64(SUPERBLOCK, 40, &[self.blocks, 0, 0, 2]);
        self.put(SUPERBLOCK, 72, b"klon's container");
        self.put64(SUPERBLOCK, 96, &[XID + 1]);
        // Two blocks of descriptors, five of data.
        self.put32(SUPERBLOCK, 104, &[2, 5]);
        self.put64(SUPERBLOCK, 112, &[MAP, 3]);
        self.put32(SUPERBLOCK, 128, &[0, 2, 0, 2, 1, 1]);
        self.put64(SUPERBLOCK, 152, &[1024, OMAP]);
        self.poke(SUPERBLOCK, 0, &[]);
    }
}

impl ReadAt for Container {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.blocks * u64::from(self.block_bytes), 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        assert!(buffer.len() <= 8 << 20, "{} bytes at once", buffer.len());
        let size = u64::from(self.block_bytes);
        buffer.fill(0);
        let end_bytes = offset_bytes + buffer.len() as u64;
        let blocks = offset_bytes / size..end_bytes.div_ceil(size);
        for (block, raw) in self.stored.range(blocks) {
            for (at, byte) in (block * size..).zip(raw) {
                if (offset_bytes..end_bytes).contains(&at) {
                    buffer[(at - offset_bytes) as usize] = *byte;
                }
            }
        }
        Ok(())
    }
}
