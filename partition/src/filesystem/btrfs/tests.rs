//! Hostile and damaged volumes, made from the golden images.

mod data_extents;
mod group_tree;
mod lookup;

use super::probe;
use crate::bytes::le64;
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::extents::Checksum;
use crate::filesystem::{Hazard, Kind};
use proptest::prelude::{Just, ProptestConfig, any, prop_oneof, proptest};
use std::fs::File;
use std::path::Path;

const SUPERBLOCK: u64 = 64 << 10;
const NODE_BYTES: u64 = 4096;

/// The mixed image has nodes and sectors of 4 KiB and CRC-32C.
fn mixed() -> MemoryDevice {
    image("btrfs-mixed")
}

fn image(name: &str) -> MemoryDevice {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let file = File::open(root.join(format!("{name}.img.zst"))).unwrap();
    MemoryDevice::new(zstd::decode_all(file).unwrap(), 512)
}

fn hazards(device: &MemoryDevice) -> Vec<Hazard> {
    let filesystem = probe(device).unwrap().unwrap();
    assert_eq!(filesystem.summary().kind, Kind::Btrfs);
    filesystem.summary().hazards.clone()
}

/// The used map, if there is one to be believed.
fn believed(device: &MemoryDevice) -> Option<ExtentMap> {
    let filesystem = probe(device).unwrap()?;
    let _ = filesystem.change_token(device);
    let used = filesystem.used(device);
    let metadata = filesystem.metadata(device);
    let extents = data_extents::walk(device);
    let sums = filesystem.checksums(device).unwrap();
    let whole = ExtentMap::whole(device.geometry().size_bytes).iter().next();
    let sums = sums.and_then(|sums| sums.within(whole.unwrap()));
    if !filesystem.summary().hazards.is_empty() {
        assert!(used.is_err() && metadata.is_err() && extents.is_err() && sums.is_err());
        return None;
    }
    used.ok().flatten()
}

/// Overwrites bytes of the block at `block` and makes its checksum fit.
fn poke(device: &MemoryDevice, block: u64, offset: u64, bytes: &[u8]) {
    device.write_all_at(bytes, block + offset).unwrap();
    let raw = read_vec(device, block + 32, 4096 - 32).unwrap();
    let csum = crc32c::crc32c(&raw).to_le_bytes();
    device.write_all_at(&csum, block).unwrap();
}

/// Where the blocks of a tree are on the device, leaves alone or not.
fn blocks(device: &MemoryDevice, tree: u64) -> Vec<u64> {
    let used = believed(device).unwrap();
    let metadata = probe(device).unwrap().unwrap().metadata(device).unwrap();
    let metadata = metadata.unwrap();
    assert_eq!(metadata.difference(&used), ExtentMap::new());
    let blocks = metadata.iter().flat_map(|extent| extent.split(NODE_BYTES));
    blocks
        .map(Extent::offset_bytes)
        .filter(|&block| {
            let raw = read_vec(device, block, 4096).unwrap();
            Checksum::Crc32c.verify(&raw).is_ok() && le64(&raw, 0x58) == tree
        })
        .filter(|&block| block >= 1 << 20)
        .collect()
}

#[test]
fn checksums_guard_every_byte() {
    let device = mixed();
    let extent_tree = blocks(&device, 2);
    let places = [SUPERBLOCK, blocks(&device, 3)[0], extent_tree[0]];
    for place in places {
        for offset_bytes in (place..place + NODE_BYTES).step_by(61) {
            let byte = read_vec(&device, offset_bytes, 1).unwrap();
            device.write_all_at(&[!byte[0]], offset_bytes).unwrap();
            // Bytes after a short checksum mean nothing.
            let is_padding = (4..32).contains(&(offset_bytes - place));
            assert_eq!(believed(&device).is_some(), is_padding, "{offset_bytes:#x}");
            device.write_all_at(&byte, offset_bytes).unwrap();
        }
    }
    assert!(believed(&device).is_some(), "sound again");
}

#[test]
fn a_block_of_another_time_or_place_is_noticed() {
    let device = mixed();
    let original = device.to_vec();
    // fsid, bytenr, generation, owner, nritems, level.
    for offset in [0x20, 0x30, 0x50, 0x58, 0x63, 0x64] {
        for tree in [1, 2, 3] {
            let device = MemoryDevice::new(original.clone(), 512);
            for block in blocks(&device, tree) {
                let byte = read_vec(&device, block + offset, 1).unwrap();
                poke(&device, block, offset, &[byte[0] ^ 0x15]);
            }
            assert_eq!(believed(&device), None, "tree {tree} {offset:#x}");
        }
    }
}

#[test]
fn counters_of_block_groups_guard_the_extents() {
    let device = mixed();
    for block in blocks(&device, 2) {
        let raw = read_vec(&device, block, 4096).unwrap();
        for index in 0..u64::from(raw[0x60]) {
            let item = 101 + 25 * index;
            if raw[usize::try_from(item).unwrap() + 8] != 192 || raw[0x64] != 0 {
                continue;
            }
            let at = usize::try_from(item).unwrap() + 17;
            let data = 101 + u64::from(raw[at]) + 256 * u64::from(raw[at + 1]);
            let device = MemoryDevice::new(device.to_vec(), 512);
            poke(&device, block, data + 1, &[0x70]);
            let filesystem = probe(&device).unwrap().unwrap();
            let error = filesystem.used(&device).unwrap_err().to_string();
            assert!(error.contains("btrfs block group"), "{error}");
        }
    }
}

#[test]
fn what_the_superblock_says_against_a_copy() {
    type Check = fn(&Hazard) -> bool;
    let cases: [(u64, &[u8], Check); 14] = [
        (0x60, &[0, 0x50, 1], |hazard| {
            matches!(hazard, Hazard::NeedsRecovery(_))
        }),
        (0x88, &[2], |hazard| {
            matches!(hazard, Hazard::MultiDevice(_))
        }),
        (0xc9, &[0], |hazard| {
            matches!(hazard, Hazard::MultiDevice(_))
        }),
        (0x3c, &[1], |hazard| {
            matches!(hazard, Hazard::MultiDevice(_))
        }),
        (0x38, &[5], |hazard| matches!(hazard, Hazard::Errors(_))),
        (0x3c, &[8], |hazard| {
            matches!(hazard, Hazard::NeedsRecovery(_))
        }),
        (0x3c, &[2], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        // Zoned, extent tree v2, raid stripe tree; one unknown to everybody.
        (0xbd, &[0x73], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (0xc3, &[0x80], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (0xb4, &[0x13], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (0x90, &[1], |hazard| matches!(hazard, Hazard::Damaged(_))),
        (0xd8, &[1], |hazard| matches!(hazard, Hazard::Damaged(_))),
        (0xa0, &[0, 0], |hazard| matches!(hazard, Hazard::Damaged(_))),
        (0xc6, &[9], |hazard| matches!(hazard, Hazard::Damaged(_))),
    ];
    let original = mixed().to_vec();
    for (offset, bytes, is_expected) in cases {
        let device = MemoryDevice::new(original.clone(), 512);
        poke(&device, SUPERBLOCK, offset, bytes);
        let found = hazards(&device);
        assert!(
            found.iter().all(is_expected) && !found.is_empty(),
            "{offset:#x} {found:?}"
        );
        assert_eq!(believed(&device), None);
    }
}

#[test]
fn a_checksum_of_an_unknown_type_is_an_unknown_feature() {
    let device = mixed();
    poke(&device, SUPERBLOCK, 0xc4, &[9]);
    assert!(matches!(hazards(&device)[..], [Hazard::UnknownFeature(_)]));
}

#[test]
fn a_chunk_elsewhere_is_damage() {
    let device = mixed();
    // The first stripe's device id and offset in sys_chunk_array.
    for offset in [0x32b + 17 + 48, 0x32b + 17 + 48 + 12] {
        let device = MemoryDevice::new(device.to_vec(), 512);
        poke(&device, SUPERBLOCK, offset, &[9]);
        assert!(
            matches!(hazards(&device)[..], [Hazard::Damaged(_)]),
            "{offset}"
        );
    }
}

#[test]
fn a_volume_shorter_than_its_filesystem_is_damaged() {
    let mut bytes = mixed().to_vec();
    bytes.truncate(bytes.len() - 1);
    let device = MemoryDevice::new(bytes, 512);
    assert!(matches!(&hazards(&device)[..], [Hazard::Damaged(_)]));
    let summary = probe(&device).unwrap().unwrap().summary().clone();
    assert!(summary.size_bytes <= device.geometry().size_bytes);
}

#[test]
fn bytes_after_the_filesystem_are_free() {
    let mut bytes = mixed().to_vec();
    let size_bytes = u64::try_from(bytes.len()).unwrap();
    let used = believed(&mixed()).unwrap();
    bytes.resize(bytes.len() + (1 << 20), 7);
    let device = MemoryDevice::new(bytes, 512);
    assert_eq!(believed(&device), Some(used));
    let summary = probe(&device).unwrap().unwrap().summary().clone();
    assert_eq!(summary.size_bytes, size_bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Changes with checksums that fit: whatever comes of it, no panic and nothing out of bounds.
    #[test]
    fn no_bytes_make_it_panic(
        changes in proptest::collection::vec(
            (any::<usize>(), 32_u64..4088, prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)]),
            1..4,
        )
    ) {
        let device = mixed();
        let mut places: Vec<u64> = [1, 2, 3, 7].iter().flat_map(|&tree| blocks(&device, tree)).collect();
        places.push(SUPERBLOCK);
        for (block, offset, value) in changes {
            poke(&device, places[block % places.len()], offset, &value.to_le_bytes());
        }
        if let Some(used) = believed(&device) {
            assert!(used.end_bytes() <= device.geometry().size_bytes);
        }
    }
}
