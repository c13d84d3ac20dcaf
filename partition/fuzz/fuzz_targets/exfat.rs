//! Any bytes as an exFAT volume: recognition, used map, metadata, owners.
//!
//! The checksums of the boot region, of entry sets and of the up-case table are made right, so
//! that a change gets past them.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition_fuzz::{check, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((mut bytes, is_mended)) = start(input, 2 << 20) else {
        return;
    };
    if is_mended {
        mend(&mut bytes);
    }
    check(&MemoryDevice::new(bytes, 512));
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
