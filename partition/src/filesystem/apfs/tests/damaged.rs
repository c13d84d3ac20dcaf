//! Damage to golden images: checksums, counts, and containers cut short.

use super::{hazards, used};
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::filesystem::Hazard;
use crate::filesystem::golden::{believed, image};

const BLOCK: u64 = 4096;

/// Of the smallest image: block 0, map, superblock, space manager, chunk-info block.
#[test]
fn checksums_guard_every_byte() {
    let device = image("apfs-seed");
    let places = structures(&device);
    assert_eq!(places.len(), 5, "{places:?}");
    for place in places {
        for offset_bytes in (place..place + BLOCK).step_by(37) {
            let byte = read_vec(&device, offset_bytes, 1).unwrap();
            device.write_all_at(&[!byte[0]], offset_bytes).unwrap();
            assert_eq!(believed(&device), None, "{offset_bytes:#x}");
            device.write_all_at(&byte, offset_bytes).unwrap();
        }
    }
    assert!(believed(&device).is_some(), "sound again");
}

/// Blocks whose `o_type` is one that the parser reads.
fn structures(device: &MemoryDevice) -> Vec<u64> {
    let blocks = device.geometry().size_bytes / BLOCK;
    let is_read = |block: &u64| {
        let raw = read_vec(device, block * BLOCK, 32).unwrap();
        matches!(raw[24], 1 | 5 | 7 | 12) && raw[16] != 0
    };
    (0..blocks)
        .filter(is_read)
        .map(|block| block * BLOCK)
        .collect()
}

/// Bitmaps have no checksum: each bit is guarded by the count of its chunk.
#[test]
fn counts_guard_the_bitmap() {
    let device = image("apfs");
    let expected = used(&device).unwrap();
    let bitmap = (0..device.geometry().size_bytes / BLOCK)
        .map(|block| block * BLOCK)
        .filter(|&block| read_vec(&device, block, 8).unwrap() == [0xff; 8])
        .collect::<Vec<u64>>();
    let mut guarded = 0;
    for block in bitmap {
        device.write_all_at(&[0xfe], block).unwrap();
        if let Err(error) = used(&device) {
            assert!(error.to_string().contains("APFS bitmap"), "{error}");
            guarded += 1;
        }
        device.write_all_at(&[0xff], block).unwrap();
    }
    assert_eq!(guarded, 1);
    assert_eq!(used(&device).unwrap(), expected);
}

#[test]
fn a_volume_that_is_too_small_is_damaged() {
    for name in ["apfs-seed", "apfs-seed-rings"] {
        let bytes = image(name).to_vec();
        for len in [4096, 8192, 40_960, bytes.len() - 4096, bytes.len() - 1] {
            let device = MemoryDevice::new(bytes[..len].to_vec(), 512);
            let found = hazards(&device);
            assert!(matches!(&found[..], [Hazard::Damaged(_)]), "{found:?}");
        }
        let longer = [&bytes[..], &[0x5a; 10_000]].concat();
        let device = MemoryDevice::new(longer, 512);
        assert_eq!(used(&device).unwrap(), used(&image(name)).unwrap());
    }
}

/// A checkpoint whose superblock is torn could have been the newest.
#[test]
fn any_bad_superblock_among_the_descriptors_counts() {
    let device = image("apfs-seed-rings");
    assert_eq!(hazards(&device), []);
    for block in [4, 6, 8] {
        let at = block * BLOCK + 2000;
        let byte = read_vec(&device, at, 1).unwrap();
        device.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let found = hazards(&device);
        assert!(matches!(&found[..], [Hazard::Damaged(_)]), "{found:?}");
        device.write_all_at(&byte, at).unwrap();
    }
}
