//! Any bytes as the start of an APFS container: no panic, and nothing outside of the volume is
//! said to be in use.
//!
//! Zeroes follow the input. Checksums are set right first where the input has structures that
//! carry them: few mutations would get past them otherwise.
//!
//! Seeds: `mkdir -p partition/fuzz/corpus/apfs`, then the first MiB of each `images/apfs*.zst`.

#![no_main]

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::probe;
use klon_partition::{Extent, Geometry, ReadAt, Result};
use libfuzzer_sys::fuzz_target;

const VOLUME_BYTES: u64 = 40 << 20;

/// A volume that starts with some bytes and is zero from there on.
struct Padded(Vec<u8>);

impl ReadAt for Padded {
    fn geometry(&self) -> Geometry {
        Geometry::new(VOLUME_BYTES, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        buffer.fill(0);
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        let data = self.0.get(start..).unwrap_or_default();
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    seal_all(&mut data);
    let device = Padded(data);
    let Ok(Some(filesystem)) = probe(&device) else {
        return;
    };
    if let Ok(Some(used)) = filesystem.used(&device) {
        assert!(used.end_bytes() <= VOLUME_BYTES);
        let superblock = Extent::new(0, 4096).expect("a constant");
        assert!(used.contains(superblock));
        assert_eq!(filesystem.summary().used_bytes, Some(used.total_bytes()));
    }
    let _ = filesystem.metadata(&device);
    let _ = filesystem.change_token(&device);
});

/// Sets the checksums of all blocks of a type that the parser reads.
fn seal_all(data: &mut [u8]) {
    let size = data.get(36..40).and_then(|field| field.try_into().ok());
    let size = u32::from_le_bytes(size.unwrap_or_default()) as usize;
    let size = if (4096..=65_536).contains(&size) {
        size
    } else {
        4096
    };
    for block in data.chunks_exact_mut(size) {
        if matches!(block[24..26], [1 | 5 | 6 | 7 | 12, 0]) {
            let sum = checksum(&block[8..]);
            block[..8].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Fletcher-64 as APFS has it.
fn checksum(covered: &[u8]) -> u64 {
    const MODULUS: u64 = 0xffff_ffff;
    let (mut first, mut second) = (0, 0);
    for word in covered.as_chunks::<4>().0 {
        first = (first + u64::from(u32::from_le_bytes(*word))) % MODULUS;
        second = (second + first) % MODULUS;
    }
    let low = MODULUS - (first + second) % MODULUS;
    let high = MODULUS - (first + low) % MODULUS;
    high << 32 | low
}
