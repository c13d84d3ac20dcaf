//! Any bytes as an exFAT volume: recognition, used map, metadata, owners.
//!
//! The checksums of the boot region, of entry sets and of the up-case table are made right, so
//! that a change gets past them.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::{Error, ExtentMap, ReadAt, filesystem};
use libfuzzer_sys::fuzz_target;

const SIZE_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    // The input is the start of a volume. Its last byte says how much longer that is, and whether
    // its checksums are mended.
    let Some(&extra) = input.last() else {
        return;
    };
    let more = usize::from((extra >> 1) & 0x3f) << 15;
    let len_min = if extra & 0x80 == 0 { 2 << 20 } else { 0 };
    let mut bytes = input.to_vec();
    bytes.resize((input.len().max(len_min) + more).min(SIZE_BYTES_MAX), 0);
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
        let all = ExtentMap::whole(size_bytes);
        assert!(filesystem.owners(&volume, &all, 1000).files.len() <= 1000);
    }
    let usage = filesystem::usage(&volume).expect("memory reads");
    assert!(usage.extents.end_bytes() <= size_bytes);
});

fn sum32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    bytes.fold(0, |sum: u32, &byte| {
        sum.rotate_right(1).wrapping_add(u32::from(byte))
    })
}

/// Makes the checksums right wherever something looks like the structure that has one.
fn mend(bytes: &mut [u8]) {
    let shift = bytes.get(108).map_or(9, |shift| *shift.clamp(&9, &12));
    let sector = 1_usize << shift;
    if let Some((covered, rest)) = bytes.split_at_mut_checked(11 * sector) {
        let ends = [(0, 106), (108, 112), (113, covered.len())];
        let sum = sum32(ends.iter().flat_map(|&(start, end)| &covered[start..end]));
        for word in rest.chunks_exact_mut(4).take(sector / 4) {
            word.copy_from_slice(&sum.to_le_bytes());
        }
    }
    let field = |bytes: &[u8], at: usize| {
        let field = bytes
            .get(at..at + 4)
            .and_then(|field| field.try_into().ok());
        field.map_or(0, u32::from_le_bytes) as usize
    };
    let heap = field(bytes, 88).saturating_mul(sector);
    let cluster = sector << bytes.get(109).map_or(0, |shift| shift % 16);
    let mut at = 24 * 512;
    while at + 32 <= bytes.len() {
        let count = usize::from(bytes[at + 1]);
        match bytes[at] {
            0x82 => {
                let index = field(bytes, at + 20).wrapping_sub(2);
                let start = index.saturating_mul(cluster).saturating_add(heap);
                let end = start.saturating_add(field(bytes, at + 24));
                if let Some(table) = bytes.get(start..end) {
                    let sum = sum32(table.iter());
                    bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
                }
            }
            0x85 | 0xa0..=0xbf if count <= 20 => {
                if let Some(set) = bytes.get_mut(at..at + (count + 1) * 32) {
                    let parts = set[..2].iter().chain(&set[4..]);
                    let sum = parts.fold(0_u16, |sum, &byte| {
                        sum.rotate_right(1).wrapping_add(u16::from(byte))
                    });
                    set[2..4].copy_from_slice(&sum.to_le_bytes());
                }
            }
            _ => {}
        }
        at += 32;
    }
}
