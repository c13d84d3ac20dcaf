//! Hostile and damaged volumes, made from the golden images.

use super::superblock::Superblock;
use crate::bytes::be32;
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::filesystem::Hazard;
use crate::filesystem::golden::{believed, hazards, image};
use proptest::prelude::{any, proptest};
use std::ops::Range;

const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: u64 = 4096;

/// Every byte of `range` must be noticed when it is flipped.
fn assert_noticed(device: &MemoryDevice, range: Range<u64>) {
    for offset_bytes in range {
        let byte = read_vec(device, offset_bytes, 1).unwrap();
        device.write_all_at(&[!byte[0]], offset_bytes).unwrap();
        assert!(believed(device).is_none(), "byte {offset_bytes:#x}");
        device.write_all_at(&byte, offset_bytes).unwrap();
    }
    assert!(believed(device).is_some(), "sound again");
}

fn superblock(device: &MemoryDevice) -> Superblock {
    let raw = read_vec(device, 0, 512).unwrap();
    Superblock::parse(&raw, device.geometry().size_bytes).unwrap()
}

/// Where the block by which group 0's free extents are found starts.
fn root(device: &MemoryDevice) -> u64 {
    let agf = read_vec(device, SECTOR_BYTES, 512).unwrap();
    u64::from(be32(&agf, 16)) * u64::from(superblock(device).block_bytes)
}

#[test]
fn checksums_guard_every_byte() {
    let device = image("xfs");
    assert_noticed(&device, 0..4 * SECTOR_BYTES);
    let root = root(&device);
    // The rest of the block is its unused room, checked as a whole.
    assert_noticed(&device, root..root + 128);
    assert_noticed(&device, root + BLOCK_BYTES - 16..root + BLOCK_BYTES);
}

#[test]
fn counters_guard_version_4() {
    let device = image("xfs-v4");
    let root = root(&device);
    // Header but for its left sibling, and the first record.
    assert_noticed(&device, root..root + 8);
    assert_noticed(&device, root + 12..root + 24);
    // AGF: magic to the root, levels, and the counters.
    assert_noticed(&device, SECTOR_BYTES..SECTOR_BYTES + 20);
    assert_noticed(&device, SECTOR_BYTES + 28..SECTOR_BYTES + 32);
    assert_noticed(&device, SECTOR_BYTES + 40..SECTOR_BYTES + 60);
}

#[test]
fn the_log_must_end_with_an_unmount() {
    let device = image("xfs");
    let log = superblock(&device).log.unwrap();
    let start = log.offset_bytes();
    // Cycle, version, length, position, number of operations; what follows in the block is of no
    // interest, but the UUID.
    for range in [0..24, 40..44, 304..320] {
        assert_noticed(&device, start + range.start..start + range.end);
    }
    // The operation's flags, and what tells an unmount.
    assert_noticed(&device, start + SECTOR_BYTES + 9..start + SECTOR_BYTES + 10);
    assert_noticed(
        &device,
        start + SECTOR_BYTES + 12..start + SECTOR_BYTES + 14,
    );
}

#[test]
fn a_later_record_needs_recovery_wherever_it_is() {
    let device = image("xfs");
    let log = superblock(&device).log.unwrap();
    let record = read_vec(&device, log.offset_bytes(), 1024).unwrap();
    for block in [2, 3, 100, 4000] {
        let offset_bytes = log.offset_bytes() + block * 512;
        let before = read_vec(&device, offset_bytes, 1024).unwrap();
        device.write_all_at(&record, offset_bytes).unwrap();
        assert!(believed(&device).is_none(), "block {block}");
        device.write_all_at(&before, offset_bytes).unwrap();
    }
    assert!(believed(&device).is_some());
}

#[test]
fn a_log_of_zeroes_is_none() {
    let device = image("xfs");
    let log = superblock(&device).log.unwrap();
    device.zero(log).unwrap();
    assert!(matches!(hazards(&device)[..], [Hazard::Damaged(_)]));
}

#[test]
fn a_volume_cut_short_is_damaged() {
    let device = image("xfs");
    let raw = read_vec(&device, 0, 8 << 20).unwrap();
    for len in [512, 600, 4096, 1 << 20, 8 << 20] {
        let cut = MemoryDevice::new(raw[..len].to_vec(), 512);
        assert!(matches!(hazards(&cut)[..], [Hazard::Damaged(_)]), "{len}");
        assert!(believed(&cut).is_none());
    }
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        changes in proptest::collection::vec((0_u64..32 << 10, any::<u8>()), 1..20),
        is_v4 in any::<bool>()
    ) {
        let device = image(if is_v4 { "xfs-v4" } else { "xfs" });
        for (offset_bytes, byte) in changes {
            device.write_all_at(&[byte], offset_bytes).unwrap();
        }
        if let Some(used) = believed(&device) {
            assert!(used.end_bytes() <= device.geometry().size_bytes);
        }
    }
}
