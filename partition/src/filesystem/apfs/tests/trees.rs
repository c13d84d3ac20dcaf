//! Metadata: damaged trees, hostile ones, and volumes that klon can't read all of.

use super::used;
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::apfs::object::checksum;
use crate::filesystem::golden::image;
use crate::filesystem::probe;

const BLOCK: u64 = 4096;
/// `o_type`.
const CONTAINER: u16 = 1;
const ROOT: u16 = 2;
const NODE: u16 = 3;
const OMAP: u16 = 11;
const VOLUME: u16 = 13;
/// `o_subtype`.
const OBJECTS: u16 = 11;
const FILES: u16 = 14;
const EXTENTS: u16 = 15;
const SNAPSHOTS: u16 = 16;

fn metadata(device: &MemoryDevice) -> Result<ExtentMap> {
    let filesystem = probe(device).unwrap().unwrap();
    filesystem.metadata(device).map(Option::unwrap)
}

fn block(device: &MemoryDevice, number: u64) -> Vec<u8> {
    read_vec(device, number * BLOCK, BLOCK as usize).unwrap()
}

fn u64_at(device: &MemoryDevice, number: u64, offset: u64) -> u64 {
    let raw = read_vec(device, number * BLOCK + offset, 8).unwrap();
    u64::from_le_bytes(raw.try_into().unwrap())
}

/// Overwrites bytes of a block and makes its checksum fit.
fn poke(device: &MemoryDevice, number: u64, offset: u64, bytes: &[u8]) {
    device.write_all_at(bytes, number * BLOCK + offset).unwrap();
    let sum = checksum(&block(device, number)).to_le_bytes();
    device.write_all_at(&sum, number * BLOCK).unwrap();
}

/// The blocks in use with objects of this type and subtype.
fn objects(device: &MemoryDevice, kind: u16, subtype: u16) -> Vec<u64> {
    let used = used(device).unwrap();
    let blocks = used.iter().flat_map(|extent| extent.split(BLOCK));
    let is_one = |number: &u64| {
        let raw = block(device, *number);
        let field = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        field(24) == kind && field(28) == subtype && checksum(&raw).to_le_bytes() == raw[..8]
    };
    let numbers = blocks.map(|block| block.offset_bytes() / BLOCK);
    numbers.filter(is_one).collect()
}

/// The blocks of a container's structures, from the newest superblock down.
struct Places {
    volume: u64,
    omap: u64,
    objects: u64,
    extents: u64,
    snapshots: u64,
}

impl Places {
    /// Of the volume as it is now: a snapshot's has no object map.
    fn of(device: &MemoryDevice) -> Self {
        let container = objects(device, CONTAINER, 0);
        let newest = |&at: &u64| u64_at(device, at, 16);
        let container = *container.iter().max_by_key(|at| newest(at)).unwrap();
        let tree = u64_at(device, u64_at(device, container, 160), 48);
        // The only value of the only node.
        let volume = u64_at(device, tree, BLOCK - 40 - 8);
        let omap = u64_at(device, volume, 128);
        Self {
            volume,
            omap,
            objects: u64_at(device, omap, 48),
            extents: u64_at(device, volume, 144),
            snapshots: u64_at(device, volume, 152),
        }
    }
}

fn extent(number: u64) -> Extent {
    Extent::new(number * BLOCK, BLOCK).unwrap()
}

/// What is read is guarded by its checksum; what is not read is of no importance.
#[test]
fn checksums_guard_the_trees() {
    let device = image("apfs");
    let expected = metadata(&device).unwrap();
    let kinds = [
        (OMAP, 0),
        (VOLUME, 0),
        (ROOT, OBJECTS),
        (NODE, OBJECTS),
        (ROOT, EXTENTS),
        (ROOT, SNAPSHOTS),
    ];
    let mut guarded = 0;
    for number in kinds
        .into_iter()
        .flat_map(|(kind, sub)| objects(&device, kind, sub))
    {
        for at in (number * BLOCK..(number + 1) * BLOCK).step_by(331) {
            let byte = read_vec(&device, at, 1).unwrap();
            device.write_all_at(&[!byte[0]], at).unwrap();
            match metadata(&device) {
                Ok(found) => assert_eq!(found, expected),
                Err(error) => {
                    assert!(error.to_string().contains("o_cksum"), "{error}");
                    guarded += 1;
                }
            }
            device.write_all_at(&byte, at).unwrap();
        }
    }
    // Two object maps and their trees, the volume, its snapshots, two trees of extents.
    assert!(guarded >= 7 * 13, "{guarded}");
    assert_eq!(metadata(&device).unwrap(), expected);
}

/// Fields of the structures of a sound container, one changed at a time.
#[test]
fn contradictions_in_the_trees() {
    let device = image("apfs-trees");
    let at = Places::of(&device);
    let leaf = u64_at(&device, at.extents, BLOCK - 40 - 8);
    let far = (1_u64 << 50).to_le_bytes();
    let free = (device.geometry().size_bytes / BLOCK - 1).to_le_bytes();
    let cases: [(u64, u64, &[u8], &str); 22] = [
        (at.volume, 8, &[9], "o_oid"),
        (at.volume, 20, &[9], "o_xid"),
        (at.volume, 32, &[9], "apfs_magic"),
        (at.volume, 128, &far, "apfs_omap_oid"),
        (at.volume, 128, &free, "apfs_omap_oid"),
        (at.volume, 144, &[0; 8], "apfs_extentref_tree_oid"),
        (at.volume, 152, &free, "apfs_snap_meta_tree_oid"),
        (at.omap, 24, &[2], "o_type"),
        (at.omap, 48, &far, "om_tree_oid"),
        (at.omap, 56, &far, "om_snapshot_tree_oid"),
        (at.objects, 28, &[15], "o_subtype"),
        (at.objects, 32, &[4], "btn_flags"),
        (at.objects, 32, &[7], "btn_level"),
        (at.objects, 34, &[16], "btn_level"),
        (at.objects, 34, &[2], "btn_level"),
        (at.objects, 36, &[0, 9], "btn_nkeys"),
        (at.objects, 40, &[1], "btn_table_space"),
        (at.objects, BLOCK - 36, &[0, 0x20], "bt_node_size"),
        (at.objects, 58, &[0xff, 0xff], "btn_data"),
        (at.extents, 58, &[4], "btn_data"),
        (leaf, 34, &[1], "btn_level"),
        (leaf, 32, &[1], "btn_flags"),
    ];
    for (number, offset, bytes, field) in cases {
        let before = block(&device, number);
        poke(&device, number, offset, bytes);
        let error = metadata(&device).unwrap_err().to_string();
        assert!(error.contains(field), "{number}+{offset} {field}: {error}");
        device.write_all_at(&before, number * BLOCK).unwrap();
    }
    assert!(metadata(&device).is_ok());
}

/// A tree that leads back to itself, and a child that two places name.
#[test]
fn trees_that_are_none() {
    let device = image("apfs-trees");
    let root = Places::of(&device).extents;
    let before = block(&device, root);
    let value = |index: u64| BLOCK - 40 - 8 * (index + 1);
    poke(&device, root, value(0), &root.to_le_bytes());
    let error = metadata(&device).unwrap_err().to_string();
    assert!(error.contains("o_type"), "{error}");
    device.write_all_at(&before, root * BLOCK).unwrap();
    let child = u64_at(&device, root, value(1));
    poke(&device, root, value(0), &child.to_le_bytes());
    let error = metadata(&device).unwrap_err().to_string();
    assert!(error.contains("a key after"), "{error}");
}

/// The tree of extents of the volume as it is now, in one node, and where the first record's key
/// and value are in that.
fn first_extent(device: &MemoryDevice) -> (u64, u64, u64) {
    let root = Places::of(device).extents;
    let raw = block(device, root);
    let field = |at: usize| u64::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
    assert_eq!(field(34), 0, "a leaf");
    let (key, value) = (56 + field(42) + field(56), BLOCK - 40 - field(60));
    (root, key, value)
}

#[test]
fn extents_that_are_none() {
    let device = image("apfs-seed-rings");
    let expected = metadata(&device).unwrap();
    let (root, key, value) = first_extent(&device);
    let before = block(&device, root);
    let first = u64_at(&device, root, key) & ((1 << 60) - 1);
    let cases: [(u64, &[u8], &str); 4] = [
        (key + 7, &[0x10], "obj_id_and_type"),
        (key + 6, &[0xff], "len_and_kind"),
        (value + 4, &[1], "len_and_kind"),
        (value, &[0; 7], "len_and_kind"),
    ];
    for (offset, bytes, field) in cases {
        poke(&device, root, offset, bytes);
        let error = metadata(&device).unwrap_err().to_string();
        assert!(error.contains(field), "{offset} {field}: {error}");
        device.write_all_at(&before, root * BLOCK).unwrap();
    }
    // Of another kind than new or updated: not known to be contents.
    poke(&device, root, value + 7, &[0x30]);
    let found = metadata(&device).unwrap();
    assert!(found.contains(extent(first)) && !expected.contains(extent(first)));
}

/// What is named as a file's and is an object all the same is metadata.
#[test]
fn objects_that_an_extent_claims_stay_metadata() {
    let device = image("apfs");
    let (root, key, value) = first_extent(&device);
    // The smallest of all keys: block 1 and what follows, in the rings.
    let claimed = used(&device).unwrap().extents()[0];
    let count = claimed.len_bytes() / BLOCK - 1;
    poke(&device, root, key, &(2 << 60 | 1_u64).to_le_bytes());
    poke(&device, root, value, &(1 << 60 | count).to_le_bytes());
    let found = metadata(&device).unwrap();
    let read = [OMAP, VOLUME]
        .map(|kind| objects(&device, kind, 0))
        .concat();
    let trees = [OBJECTS, EXTENTS, SNAPSHOTS].map(|sub| objects(&device, ROOT, sub));
    let places = Places::of(&device);
    let now = [places.volume, places.omap, places.objects, places.extents];
    assert!(read.len() > 3 && trees.iter().all(|tree| !tree.is_empty()));
    for number in now.into_iter().chain(objects(&device, NODE, FILES)) {
        assert!(found.contains(extent(number)), "{number}");
    }
    for number in [0, 1, 2] {
        assert!(found.contains(extent(number)), "{number}");
    }
}

/// As in an encrypted volume.
#[test]
fn trees_of_files_need_not_be_readable() {
    let device = image("apfs-trees");
    let expected = metadata(&device).unwrap();
    let trees = [ROOT, NODE].map(|kind| objects(&device, kind, FILES));
    assert!(trees.concat().len() > 50);
    for number in trees.concat() {
        let noise: Vec<u8> = block(&device, number).iter().map(|byte| !byte).collect();
        device.write_all_at(&noise, number * BLOCK).unwrap();
    }
    assert_eq!(metadata(&device).unwrap(), expected);
}

#[test]
fn a_volume_with_unknown_features_is_all_metadata() {
    for (offset, bits) in [(48, 1), (57, 2), (63, 0x80)] {
        let device = image("apfs");
        let volume = Places::of(&device).volume;
        poke(&device, volume, offset, &[bits]);
        let found = metadata(&device).unwrap();
        assert_eq!(found, used(&device).unwrap(), "{offset}");
    }
}

/// Snapshots that share a tree would have it read for each.
#[test]
fn what_is_read_again_and_again_ends() {
    let device = image("apfs-seed");
    let at = Places::of(&device);
    let (records, table_bytes) = (200_u16, 1600_u16);
    poke(&device, at.snapshots, 36, &records.to_le_bytes());
    poke(&device, at.snapshots, 42, &table_bytes.to_le_bytes());
    for index in 0..records {
        // All have the same value.
        let entry = [index * 8, 8, 48, 48].map(u16::to_le_bytes).concat();
        let (entry_at, key_at) = (56 + index * 8, 56 + table_bytes + index * 8);
        poke(&device, at.snapshots, entry_at.into(), &entry);
        let key = 1 << 60 | u64::from(index);
        poke(&device, at.snapshots, key_at.into(), &key.to_le_bytes());
    }
    let value = [at.extents, at.volume].map(u64::to_le_bytes).concat();
    poke(&device, at.snapshots, BLOCK - 40 - 48, &value);
    let error = metadata(&device).unwrap_err().to_string();
    assert!(error.contains("an object of one tree"), "{error}");
}
