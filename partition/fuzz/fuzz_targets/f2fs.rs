//! Any bytes as the start of an F2FS volume: no panic, and nothing outside of the volume is said to
//! be in use.
//!
//! Volumes are too large to be fuzzed whole, and what matters of them is far apart. The input is
//! in pieces of a block: the superblock, then the blocks that a small volume has at fixed places.
//! Checksums are set right first: few mutations would get past them otherwise.

#![no_main]

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Geometry, ReadAt, Result};
use klon_partition_fuzz::check;
use libfuzzer_sys::fuzz_target;

const VOLUME_BYTES: u64 = 96 << 20;
const BLOCK: usize = 4096;
/// Superblocks, both packs of checkpoints, both copies of the SIT, as mkfs.f2fs lays them out.
const PIECES: [(u64, usize); 5] = [(0, 2), (512, 8), (1024, 8), (1536, 2), (1792, 2)];

/// A volume with some of its blocks, zero elsewhere.
struct Pieces(Vec<u8>);

impl ReadAt for Pieces {
    fn geometry(&self) -> Geometry {
        Geometry::new(VOLUME_BYTES, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        buffer.fill(0);
        let end_bytes = offset_bytes + buffer.len() as u64;
        let mut start = 0;
        for (block, blocks) in PIECES {
            let len = (blocks * BLOCK).min(self.0.len() - start);
            let at = block * BLOCK as u64;
            let from = at.max(offset_bytes);
            let to = (at + len as u64).min(end_bytes);
            if from < to {
                let target = (from - offset_bytes) as usize..(to - offset_bytes) as usize;
                let source = start + (from - at) as usize..start + (to - at) as usize;
                buffer[target].copy_from_slice(&self.0[source]);
            }
            start += len;
        }
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    seal(&mut data);
    check(&Pieces(data));
});

/// CRC-32 that starts from the magic number and isn't inverted.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf2f5_2010, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

/// Makes the second superblock that of the first, and sets the checksums of it and of each block
/// that may be a checkpoint.
fn seal(data: &mut [u8]) {
    if data.len() < 2 * BLOCK {
        return;
    }
    let sum = crc(&data[1024..4092]);
    data[4092..4096].copy_from_slice(&sum.to_le_bytes());
    data.copy_within(0..BLOCK, BLOCK);
    let checkpoints = data[2 * BLOCK..].chunks_exact_mut(BLOCK).take(16);
    for block in checkpoints {
        let field: [u8; 4] = block[164..168].try_into().expect("four bytes");
        let offset = u32::from_le_bytes(field) as usize;
        if offset == BLOCK - 4 {
            let sum = crc(&block[..offset]);
            block[offset..].copy_from_slice(&sum.to_le_bytes());
        }
    }
}
