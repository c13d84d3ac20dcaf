//! Hostile and damaged volumes, made from the golden images.

use super::probe;
use crate::bytes::le32;
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Hazard;
use crate::filesystem::golden::{believed, hazards, image};
use proptest::prelude::{any, proptest};
use std::ops::Range;

const BLOCK_BYTES: u64 = 1024;
const DESCRIPTORS: u64 = 2 * BLOCK_BYTES;

/// Every byte of `range` must be noticed when `mask` is flipped in it.
fn assert_noticed(device: &MemoryDevice, range: Range<u64>, mask: u8) {
    for offset_bytes in range {
        let byte = read_vec(device, offset_bytes, 1).unwrap();
        device
            .write_all_at(&[byte[0] ^ mask], offset_bytes)
            .unwrap();
        assert!(believed(device).is_none(), "byte {offset_bytes:#x}");
        device.write_all_at(&byte, offset_bytes).unwrap();
    }
    assert!(believed(device).is_some(), "sound again");
}

fn bitmap(device: &MemoryDevice) -> u64 {
    u64::from(le32(&read_vec(device, DESCRIPTORS, 64).unwrap(), 0)) * BLOCK_BYTES
}

#[test]
fn checksums_guard_every_byte() {
    let device = image("ext4-odd");
    assert_noticed(&device, 1024..2048, 0xff);
    assert_noticed(&device, DESCRIPTORS..DESCRIPTORS + 3 * 64, 0xff);
    let bitmap = bitmap(&device);
    assert_noticed(&device, bitmap..bitmap + BLOCK_BYTES, 0xff);
}

#[test]
fn counts_guard_bitmaps_without_checksums() {
    let device = image("ext4-plain");
    let bitmap = bitmap(&device);
    // A flip of several bits could keep the count.
    assert_noticed(&device, bitmap..bitmap + BLOCK_BYTES, 0x10);
}

#[test]
fn descriptors_of_uninit_bg_have_their_own_checksum() {
    let device = image("ext4-uninit");
    assert_noticed(&device, DESCRIPTORS..DESCRIPTORS + 3 * 64, 0xff);
}

#[test]
fn a_journal_with_transactions_needs_recovery_whatever_the_flag_says() {
    let device = image("ext3");
    let bytes = device.to_vec();
    let magic = [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4];
    let block = bytes
        .chunks(1024)
        .position(|block| block.starts_with(&magic))
        .unwrap();
    let start_field = u64::try_from(block).unwrap() * BLOCK_BYTES + 0x1c;
    device.write_all_at(&[0, 0, 0, 1], start_field).unwrap();
    assert!(matches!(&hazards(&device)[..], [Hazard::NeedsRecovery(_)]));
    device.write_all_at(&[0; 4], start_field).unwrap();
    device.write_all_at(&[0; 4], start_field - 0x1c).unwrap();
    assert!(matches!(&hazards(&device)[..], [Hazard::Damaged(_)]));
}

/// Where a journal that is mapped by indirect blocks has its superblock, and its inode the map.
fn journal_places(device: &MemoryDevice) -> (u64, u64) {
    let tables = read_vec(device, DESCRIPTORS, 12).unwrap();
    let map = u64::from(le32(&tables, 8)) * BLOCK_BYTES + 7 * 128 + 0x28;
    let first = le32(&read_vec(device, map, 4).unwrap(), 0);
    (u64::from(first) * BLOCK_BYTES, map)
}

fn empty_log(device: &MemoryDevice) -> ExtentMap {
    let filesystem = probe(device).unwrap().unwrap();
    filesystem.empty_log(device)
}

#[test]
fn the_log_of_a_journal_is_empty_only_where_all_of_it_is_usual() {
    let device = image("ext3");
    let (superblock, map) = journal_places(&device);
    let log = empty_log(&device);
    assert_eq!(log.total_bytes(), 1023 * BLOCK_BYTES);
    assert!(!log.contains(Extent::new(superblock, BLOCK_BYTES).unwrap()));
    let [blocks, tables] = [map, DESCRIPTORS].map(|at| read_vec(&device, at, 12).unwrap());
    let inode_table = tables[8..12].to_vec();
    let unusual: [(u64, Vec<u8>); 9] = [
        // `s_start`, `s_errno`, `s_first`, and `s_maxlen` behind the file's end.
        (superblock + 0x1c, vec![0, 0, 0, 1]),
        (superblock + 0x20, vec![0, 0, 0, 1]),
        (superblock + 0x14, vec![0; 4]),
        (superblock + 0x10, vec![0, 0, 4, 1]),
        // Features that nobody knows.
        (superblock + 0x28, vec![0, 0, 0, 0x40]),
        (superblock + 0x2c, vec![0, 0, 0, 1]),
        // The superblock, the block before and a table of inodes as blocks of the log.
        (map + 4, blocks[..4].to_vec()),
        (map + 8, blocks[4..8].to_vec()),
        (map + 4, inode_table),
    ];
    for (at, bytes) in unusual {
        let before = read_vec(&device, at, bytes.len()).unwrap();
        assert_ne!(before, bytes);
        device.write_all_at(&bytes, at).unwrap();
        assert!(empty_log(&device).is_empty(), "{bytes:?} at {at:#x}");
        device.write_all_at(&before, at).unwrap();
    }
    assert_eq!(empty_log(&device), log);
    // A log that ends before its file does.
    device
        .write_all_at(&[0, 0, 3, 0], superblock + 0x10)
        .unwrap();
    assert_eq!(empty_log(&device).total_bytes(), 767 * BLOCK_BYTES);
    assert!(empty_log(&image("ext2")).is_empty());
}

#[test]
fn unknown_features_prove_nothing() {
    for (offset_bytes, bit) in [(0x463, 0x40), (0x467, 0x40), (0x45c, 0x40)] {
        let device = image("ext4-plain");
        let byte = read_vec(&device, offset_bytes, 1).unwrap();
        device.write_all_at(&[byte[0] | bit], offset_bytes).unwrap();
        assert!(matches!(&hazards(&device)[..], [Hazard::UnknownFeature(_)]));
        assert!(probe(&device).unwrap().unwrap().used(&device).is_err());
    }
}

#[test]
fn a_volume_in_use_elsewhere_is_not_clean() {
    let device = image("ext4-mmp");
    let bytes = device.to_vec();
    let magic = 0x004d_4d50_u32.to_le_bytes();
    let block = bytes
        .chunks(1024)
        .position(|block| block.starts_with(&magic))
        .unwrap();
    let sequence = u64::try_from(block).unwrap() * BLOCK_BYTES + 4;
    device.write_all_at(&[7, 0, 0, 0], sequence).unwrap();
    assert!(matches!(
        &hazards(&device)[..],
        [Hazard::NotCleanlyUnmounted(_)]
    ));
}

#[test]
fn a_volume_shorter_than_its_filesystem_is_damaged() {
    let mut bytes = image("ext4-plain").to_vec();
    bytes.truncate(bytes.len() - 1);
    let device = MemoryDevice::new(bytes, 512);
    assert!(matches!(&hazards(&device)[..], [Hazard::Damaged(_)]));
    let summary = probe(&device).unwrap().unwrap().summary().clone();
    assert!(summary.size_bytes <= device.geometry().size_bytes);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        changes in proptest::collection::vec((0_u64..8192, any::<u8>()), 1..40)
    ) {
        let device = image("ext2");
        for (offset_bytes, byte) in changes {
            device.write_all_at(&[byte], offset_bytes).unwrap();
        }
        if let Some(used) = believed(&device) {
            assert!(used.end_bytes() <= device.geometry().size_bytes);
        }
    }
}
