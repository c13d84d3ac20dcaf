//! Any bytes as an HFS+ volume: recognition, used map, metadata.
//!
//! The alternate header is made a copy of the first, and the journal's checksum is set, so that a
//! change gets past them.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition_fuzz::{check, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((mut bytes, is_mended)) = start(input, 0) else {
        return;
    };
    if is_mended {
        mend(&mut bytes);
    }
    check(&MemoryDevice::new(bytes, 512));
});

fn word(bytes: &[u8], at: usize) -> usize {
    let field = bytes
        .get(at..at + 4)
        .and_then(|field| field.try_into().ok());
    field.map_or(0, u32::from_be_bytes) as usize
}

/// Marks the volume clean, writes its alternate header, counts its free blocks, and sets the
/// checksum of a little-endian journal header.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < 4096 {
        return;
    }
    bytes[1030] |= 1;
    let block = word(bytes, 1064);
    let info = word(bytes, 1036).saturating_mul(block);
    let journal = word(bytes, info.saturating_add(40));
    if let Some(raw) = bytes.get_mut(journal..journal.saturating_add(44)) {
        raw[36..40].fill(0);
        let sum = raw.iter().fold(0_u32, |sum, &byte| {
            (sum << 8) ^ sum.wrapping_add(byte.into())
        });
        raw[36..40].copy_from_slice(&(!sum).to_le_bytes());
    }
    let bits = word(bytes, 1152).saturating_mul(block);
    let blocks = word(bytes, 1068);
    let end = bits.saturating_add(blocks / 8);
    if let Some(raw) = bytes.get(bits..end).filter(|_| blocks % 8 == 0) {
        let used: u32 = raw.iter().map(|byte| byte.count_ones()).sum();
        let free = (blocks as u32).saturating_sub(used).to_be_bytes();
        bytes[1072..1076].copy_from_slice(&free);
    }
    let header = bytes[1024..1536].to_vec();
    let alternate = bytes.len() - 1024;
    bytes[alternate..alternate + 512].copy_from_slice(&header);
}
