//! Data extents and their checksums, of golden volumes whole and damaged.

use super::group_tree::{Items, leaf, write_leaf};
use super::{SUPERBLOCK, believed, blocks, group_tree, image, mixed, poke};
use crate::bytes::le64;
use crate::device::{MemoryDevice, WriteAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::btrfs::Map;
use crate::filesystem::btrfs::roots::Roots;
use crate::filesystem::extents::{Checksum, DataExtent, ExtentVisitor, Sectors};
use crate::filesystem::probe;
use std::ops::ControlFlow;

/// The key's type in `item` 0 of a leaf, its offset, and where its data starts after the header.
const FIRST_KEY: u64 = 101;
const FIRST_OFFSET: u64 = FIRST_KEY + 9;

/// A sector by klon: where its first copy is, and its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sector {
    pub(super) copies: Vec<Extent>,
    pub(super) checksum: Option<(Checksum, Vec<u8>)>,
}

/// Checks what every walk must hold to, and keeps what it tells.
#[derive(Default)]
struct Collector {
    extents: Vec<DataExtent>,
    sectors: Vec<Sector>,
    /// How far the sectors of the last extent reach.
    told_bytes: u64,
    sectors_max: Option<usize>,
}

impl Collector {
    fn check_complete(&self) {
        let len_bytes = self.extents.last().map_or(0, |extent| extent.len_bytes);
        assert_eq!(self.told_bytes, len_bytes, "{:?}", self.extents.last());
    }
}

impl ExtentVisitor for Collector {
    fn extent(&mut self, extent: &DataExtent) -> ControlFlow<()> {
        self.check_complete();
        if let Some(last) = self.extents.last() {
            assert!(last.logical_bytes + last.len_bytes <= extent.logical_bytes);
        }
        self.extents.push(*extent);
        self.told_bytes = 0;
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, extent: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        assert_eq!(self.extents.last(), Some(extent));
        assert_eq!(sectors.offset_bytes, self.told_bytes);
        let len_bytes = sectors.copies.first.len_bytes();
        self.told_bytes += len_bytes;
        let unit_bytes = u64::from(sectors.sector_bytes);
        let count = len_bytes / unit_bytes;
        assert_eq!(count * unit_bytes, len_bytes);
        let checksums = sectors.checksums;
        assert!(checksums.is_none_or(|checksums| checksums.iter().len() as u64 == count));
        let mut checksums = checksums.map(|checksums| (checksums.kind(), checksums.iter()));
        for index in 0..count {
            let place = |copy: Extent| {
                Extent::new(copy.offset_bytes() + index * unit_bytes, unit_bytes).unwrap()
            };
            self.sectors.push(Sector {
                copies: sectors.copies.iter().map(place).collect(),
                checksum: checksums
                    .as_mut()
                    .map(|(kind, each)| (*kind, each.next().unwrap().to_vec())),
            });
        }
        match self.sectors_max {
            Some(max) if self.sectors.len() >= max => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn collect(device: &MemoryDevice, sectors_max: Option<usize>) -> Result<Collector> {
    let mut collector = Collector {
        sectors_max,
        ..Collector::default()
    };
    let filesystem = probe(device)?.unwrap();
    filesystem.data_extents(device, &mut collector).unwrap()?;
    Ok(collector)
}

/// All sectors of data.
pub(super) fn walk(device: &MemoryDevice) -> Result<Vec<Sector>> {
    let collector = collect(device, None)?;
    collector.check_complete();
    Ok(collector.sectors)
}

/// Where sectors are whose checksum is not that of their bytes.
fn mismatches(device: &MemoryDevice) -> Vec<Extent> {
    let mut found = Vec::new();
    for sector in walk(device).unwrap() {
        for copy in sector.copies {
            let len = usize::try_from(copy.len_bytes()).unwrap();
            let bytes = read_vec(device, copy.offset_bytes(), len).unwrap();
            if let Some((kind, checksum)) = &sector.checksum
                && !kind.matches(&bytes, checksum)
            {
                found.push(copy);
            }
        }
    }
    found
}

#[test]
fn golden_data_has_the_checksums_of_every_kind() {
    let kinds = [
        ("btrfs", Checksum::Crc32c, 1),
        ("btrfs-mixed", Checksum::Crc32c, 1),
        ("btrfs-old", Checksum::Xxhash64, 1),
        ("btrfs-64k", Checksum::Blake2b, 2),
    ];
    for (name, kind, copies) in kinds {
        let device = image(name);
        let sectors = walk(&device).unwrap();
        let is_of_kind = |sector: &&Sector| {
            sector
                .checksum
                .as_ref()
                .is_some_and(|found| found.0 == kind)
        };
        assert!(sectors.iter().filter(is_of_kind).count() > 10, "{name}");
        assert!(
            sectors.iter().all(|sector| sector.copies.len() == copies),
            "{name}"
        );
        assert_eq!(mismatches(&device), [], "{name}");
        let data: ExtentMap = sectors
            .into_iter()
            .flat_map(|sector| sector.copies)
            .collect();
        let used = probe(&device)
            .unwrap()
            .unwrap()
            .used(&device)
            .unwrap()
            .unwrap();
        assert!(data.difference(&used).is_empty(), "{name}");
        let metadata = probe(&device).unwrap().unwrap().metadata(&device).unwrap();
        let all = data.union(&metadata.unwrap());
        assert!(used.difference(&all).is_empty(), "{name}");
    }
}

#[test]
fn one_bit_of_data_is_one_sector_that_differs() {
    let device = image("btrfs-64k");
    let sectors = walk(&device).unwrap();
    let sector = sectors.iter().rfind(|sector| sector.checksum.is_some());
    for copy in &sector.unwrap().copies {
        let at = copy.end_bytes() - 1;
        let byte = read_vec(&device, at, 1).unwrap();
        device.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        assert_eq!(mismatches(&device), [*copy]);
        device.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(mismatches(&device), []);
}

#[test]
fn a_visitor_may_end_the_walk() {
    let device = mixed();
    let all = walk(&device).unwrap();
    for max in [1, 7, all.len() / 2] {
        let some = collect(&device, Some(max)).unwrap().sectors;
        assert!((max..all.len()).contains(&some.len()));
        assert_eq!(some, all[..some.len()]);
    }
}

/// The leaf of the checksum tree that is first.
fn first_leaf(device: &MemoryDevice) -> u64 {
    let leaves = blocks(device, 7).into_iter().filter(|&block| {
        let level = read_vec(device, block + 0x64, 1).unwrap();
        level == [0]
    });
    let first = |block: &u64| le64(&read_vec(device, block + FIRST_OFFSET, 8).unwrap(), 0);
    leaves.min_by_key(first).unwrap()
}

#[test]
fn impossible_checksum_items_end_it() {
    let original = mixed();
    let leaf = first_leaf(&original);
    // Object id, type, an address within a sector, a length that is no multiple of a checksum's.
    let cases: [(u64, &[u8], &str); 4] = [
        (FIRST_KEY, &[0xf5], "key.type"),
        (FIRST_KEY + 8, &[0x7f], "key.type"),
        (FIRST_OFFSET, &[1], "key.offset"),
        (FIRST_KEY + 21, &[3, 0, 0, 0], "size"),
    ];
    for (offset, bytes, field) in cases {
        let device = MemoryDevice::new(original.to_vec(), 512);
        poke(&device, leaf, offset, bytes);
        let error = walk(&device).unwrap_err().to_string();
        assert!(error.contains(field), "{offset}: {error}");
        assert!(
            believed(&device).is_some(),
            "the used map needs no checksums"
        );
    }
}

/// A first checksum at address 0 is of no extent, and those behind stay what they are.
#[test]
fn a_sector_whose_checksum_is_gone_has_none() {
    let original = mixed();
    let before = walk(&original).unwrap();
    let device = MemoryDevice::new(original.to_vec(), 512);
    poke(&device, first_leaf(&device), FIRST_OFFSET, &[0; 8]);
    let after = walk(&device).unwrap();
    let count = |sectors: &[Sector]| {
        let some = sectors.iter().filter(|sector| sector.checksum.is_some());
        some.count()
    };
    assert!(count(&after) < count(&before));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.copies, after.copies);
        assert!(after.checksum.is_none() || after.checksum == before.checksum);
    }
}

/// The golden volume with other items in its checksum tree, a leaf alone.
fn with_checksums(change: impl FnOnce(&mut Items)) -> MemoryDevice {
    let device = image("btrfs");
    let raw = read_vec(&device, SUPERBLOCK, 4096).unwrap();
    let Ok(map) = Map::read(&raw, Checksum::Crc32c, &device) else {
        panic!("a sound image");
    };
    let tree = map.tree(&device);
    let root = Roots::read(tree).unwrap().checksum_tree(tree).unwrap();
    let range = root.logical.range(map.superblock.node_bytes.into());
    let range = range.unwrap();
    let copies = map.chunks.holding(range).unwrap().physical(range).unwrap();
    let place = copies.first.offset_bytes();
    let (header, mut items) = leaf(&device, place);
    change(&mut items);
    write_leaf(&device, place, &header, &mut items);
    device
}

/// Moves the address that a key is of.
fn moved(key: [u8; 17], bytes: u64) -> [u8; 17] {
    let mut moved = key;
    let address = le64(&key, 9) + bytes;
    moved[9..].copy_from_slice(&address.to_le_bytes());
    moved
}

#[test]
fn sectors_between_checksums_have_none() {
    let golden = collect(&image("btrfs"), None).unwrap();
    let before = golden.sectors;
    let device = with_checksums(|items| {
        // The first sector of an extent that has more.
        let large = golden
            .extents
            .iter()
            .filter(|extent| extent.len_bytes > 4096);
        let mut holes = large.map(|extent| extent.logical_bytes);
        let item_of = |hole: u64| {
            items.iter().position(|(key, data)| {
                let sectors = data.len() as u64 / 4;
                (le64(key, 9)..le64(key, 9) + sectors * 4096).contains(&hole)
            })
        };
        let found = holes.find_map(|hole| Some((hole, item_of(hole)?)));
        let (hole, at) = found.unwrap();
        let (key, data) = items.remove(at);
        let in_item_bytes = hole - le64(&key, 9);
        let (first, rest) = data.split_at(usize::try_from(in_item_bytes / 4096).unwrap() * 4);
        let behind = moved(key, in_item_bytes + 4096);
        let parts = [(key, first.to_vec()), (behind, rest[4..].to_vec())];
        items.extend(parts.into_iter().filter(|(_, data)| !data.is_empty()));
    });
    let after = walk(&device).unwrap();
    let is_changed = |index: &usize| before[*index] != after[*index];
    let changed: Vec<usize> = (0..before.len()).filter(is_changed).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(after[changed[0]].checksum, None);
    assert_eq!(after[changed[0]].copies, before[changed[0]].copies);
}

#[test]
fn checksums_that_overlap_end_it() {
    let device = with_checksums(|items| {
        let key = items[0].0;
        items.push((moved(key, 4096), vec![7; 4]));
    });
    let error = walk(&device).unwrap_err().to_string();
    assert!(error.contains("other checksums end"), "{error}");
}

#[test]
fn damage_behind_the_last_extent_ends_it_too() {
    let add = |len| {
        with_checksums(|items| {
            let key = items.last().unwrap().0;
            items.push((moved(key, 1 << 40), vec![7; len]));
        })
    };
    let before = walk(&image("btrfs")).unwrap();
    assert_eq!(walk(&add(8)).unwrap(), before, "checksums of no extent");
    let error = walk(&add(7)).unwrap_err().to_string();
    assert!(error.contains("checksums of 4 bytes"), "{error}");
}

#[test]
fn damage_in_either_tree_ends_it() {
    let original = mixed();
    for tree in [2, 7] {
        for block in blocks(&original, tree) {
            let device = MemoryDevice::new(original.to_vec(), 512);
            let byte = read_vec(&device, block + 4000, 1).unwrap();
            device.write_all_at(&[!byte[0]], block + 4000).unwrap();
            let error = walk(&device).unwrap_err().to_string();
            assert!(error.contains("csum"), "{error}");
        }
    }
}

#[test]
fn a_filesystem_with_a_hazard_shows_nothing() {
    let device = image("btrfs-log");
    let error = walk(&device).unwrap_err().to_string();
    assert!(error.contains("log tree"), "{error}");
}

#[test]
fn block_groups_in_their_own_tree_change_nothing() {
    let (device, _) = group_tree::converted();
    assert_eq!(walk(&device).unwrap(), walk(&image("btrfs")).unwrap());
}
