//! Any bytes as an HFS+ volume: recognition, used map, metadata.
//!
//! The alternate header is made a copy of the first, and the journal's checksum is set, so that a
//! change gets past them.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::{Error, ReadAt, filesystem};
use libfuzzer_sys::fuzz_target;

const SIZE_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    // The input is the start of a volume. Its last byte says how much longer that is, and whether
    // it is mended.
    let Some(&extra) = input.last() else {
        return;
    };
    let more = usize::from((extra >> 1) & 0x3f) << 15;
    let mut bytes = input.to_vec();
    bytes.resize((input.len() + more).min(SIZE_BYTES_MAX), 0);
    if extra & 1 == 1 {
        mend(&mut bytes);
    }
    let volume = MemoryDevice::new(bytes, 512);
    let size_bytes = volume.geometry().size_bytes;
    if let Some(filesystem) = filesystem::probe(&volume).expect("memory reads") {
        assert!(filesystem.summary().size_bytes <= size_bytes);
        for found in [filesystem.used(&volume), filesystem.metadata(&volume)] {
            match found {
                Ok(map) => assert!(map.unwrap_or_default().end_bytes() <= size_bytes),
                Err(error) => assert!(!matches!(error, Error::Io { .. }), "{error}"),
            }
        }
    }
    let usage = filesystem::usage(&volume).expect("memory reads");
    assert!(usage.extents.end_bytes() <= size_bytes);
});

fn word(bytes: &[u8], at: usize) -> usize {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
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
