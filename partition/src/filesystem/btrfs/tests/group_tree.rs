//! A block group tree, made from a volume without one: the packaged mkfs.btrfs can't make it.

use super::{SUPERBLOCK, believed, image, poke};
use crate::bytes::{le32, le64};
use crate::device::{MemoryDevice, WriteAt, read_vec};
use crate::extent::ExtentMap;
use crate::filesystem::btrfs::Map;
use crate::filesystem::btrfs::address::Logical;
use crate::filesystem::btrfs::roots::Roots;
use crate::filesystem::extents::{Checksum, Copies};
use crate::filesystem::{Basis, probe, usage};

const NODE: usize = 16_384;
const HEADER: usize = 101;

pub(super) type Items = Vec<([u8; 17], Vec<u8>)>;

/// The header of a leaf, and its items.
pub(super) fn leaf(device: &MemoryDevice, place: u64) -> (Vec<u8>, Items) {
    let raw = read_vec(device, place, NODE).unwrap();
    assert_eq!(raw[0x64], 0, "a tree of one leaf");
    let items = (0..le32(&raw, 0x60) as usize).map(|index| {
        let at = HEADER + 25 * index;
        let start = HEADER + le32(&raw, at + 17) as usize;
        let end = start + le32(&raw, at + 21) as usize;
        (
            raw[at..at + 17].try_into().unwrap(),
            raw[start..end].to_vec(),
        )
    });
    (raw[..HEADER].to_vec(), items.collect())
}

pub(super) fn write_leaf(device: &MemoryDevice, place: u64, header: &[u8], items: &mut Items) {
    items.sort_by_key(|(key, _)| (le64(key, 0), key[8], le64(key, 9)));
    let mut raw = vec![0; NODE];
    raw[..HEADER].copy_from_slice(header);
    raw[0x60..0x64].copy_from_slice(&u32::try_from(items.len()).unwrap().to_le_bytes());
    let mut end = NODE;
    for (index, (key, data)) in items.iter().enumerate() {
        let at = HEADER + 25 * index;
        let start = end - data.len();
        raw[start..end].copy_from_slice(data);
        raw[at..at + 17].copy_from_slice(key);
        let offset = u32::try_from(start - HEADER).unwrap();
        raw[at + 17..at + 21].copy_from_slice(&offset.to_le_bytes());
        let size = u32::try_from(data.len()).unwrap();
        raw[at + 21..at + 25].copy_from_slice(&size.to_le_bytes());
        end = start;
    }
    let csum = crc32c::crc32c(&raw[32..]).to_le_bytes();
    raw[..4].copy_from_slice(&csum);
    device.write_all_at(&raw, place).unwrap();
}

/// The golden image with its block groups moved to a new tree, and where both copies of that are.
pub(super) fn converted() -> (MemoryDevice, ExtentMap) {
    let device = image("btrfs");
    let raw = read_vec(&device, SUPERBLOCK, 4096).unwrap();
    let Ok(map) = Map::read(&raw, Checksum::Crc32c, &device) else {
        panic!("a sound image");
    };
    let copies = |logical: Logical| -> Copies {
        let range = logical.range(NODE as u64).unwrap();
        map.chunks.holding(range).unwrap().physical(range).unwrap()
    };
    let place = |logical: Logical| copies(logical).first.offset_bytes();
    let extent_root = Roots::read(map.tree(&device)).unwrap().extent_tree;
    let root_tree = map.superblock.root_tree;
    let (mut header, items) = leaf(&device, place(extent_root.logical));
    let (mut groups, mut extents): (Items, Items) =
        items.into_iter().partition(|(key, _)| key[8] == 192);
    // The metadata chunk is the last one: after its last block nothing is in use.
    let (mut key, data) = extents.last().unwrap().clone();
    let logical = Logical::new(le64(&key, 0) + NODE as u64);
    let bytenr = logical.bytenr().to_le_bytes();
    key[..8].copy_from_slice(&bytenr);
    extents.push((key, data));
    let used = &mut groups.last_mut().unwrap().1[..8];
    used.copy_from_slice(&(le64(used, 0) + NODE as u64).to_le_bytes());
    write_leaf(&device, place(extent_root.logical), &header, &mut extents);
    header[0x30..0x38].copy_from_slice(&bytenr);
    header[0x58] = 11;
    write_leaf(&device, place(logical), &header, &mut groups);
    let (header, mut roots) = leaf(&device, place(root_tree.logical));
    let is_extent_root = |key: &[u8; 17]| le64(key, 0) == 2 && key[8] == 132;
    let (mut key, mut data) = roots
        .iter()
        .find(|(key, _)| is_extent_root(key))
        .unwrap()
        .clone();
    key[0] = 11;
    data[176..184].copy_from_slice(&bytenr);
    roots.push((key, data));
    write_leaf(&device, place(root_tree.logical), &header, &mut roots);
    let compat_ro = [raw[0xb4] | 8];
    poke(&device, SUPERBLOCK, 0xb4, &compat_ro);
    (device, copies(logical).iter().collect())
}

#[test]
fn block_groups_may_have_a_tree_of_their_own() {
    let (device, new) = converted();
    let expected = believed(&image("btrfs")).unwrap().union(&new);
    assert_eq!(new.total_bytes(), 2 * NODE as u64);
    assert_eq!(believed(&device), Some(expected));
    assert_eq!(usage(&device).unwrap().basis, Basis::Map);
}

#[test]
fn that_tree_is_held_to_its_counters_and_to_its_flag() {
    let (device, new) = converted();
    let place = new.extents()[0].offset_bytes();
    let (header, groups) = leaf(&device, place);
    for index in 0..groups.len() {
        let mut changed = groups.clone();
        changed[index].1[1] ^= 0x10;
        write_leaf(&device, place, &header, &mut changed);
        let error = probe(&device).unwrap().unwrap().used(&device).unwrap_err();
        assert!(error.to_string().contains("btrfs block group"), "{error}");
        let mut fewer = groups.clone();
        fewer.remove(index);
        write_leaf(&device, place, &header, &mut fewer);
        assert_eq!(believed(&device), None);
    }
    write_leaf(&device, place, &header, &mut groups.clone());
    assert!(believed(&device).is_some());
    // Without the flag no block group is found.
    poke(&device, SUPERBLOCK, 0xb4, &[3]);
    assert_eq!(believed(&device), None);
}
