//! Any bytes as the start of an APFS container: no panic, and nothing outside of the volume is
//! said to be in use.
//!
//! Zeroes follow the input. Checksums are set right first where the input has structures that
//! carry them: few mutations would get past them otherwise.
//!
//! Seeds: `mkdir -p partition/fuzz/corpus/apfs`, then the first MiB of each `images/apfs*.zst`.

#![no_main]

use klon_partition_fuzz::{Padded, check};
use libfuzzer_sys::fuzz_target;

const VOLUME_BYTES: u64 = 40 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    seal_all(&mut bytes);
    check(&Padded {
        bytes,
        size_bytes: VOLUME_BYTES,
    });
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
        if matches!(block[24..26], [1..=3 | 5..=7 | 11..=13, 0]) {
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
