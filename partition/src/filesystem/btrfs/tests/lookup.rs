//! Checksums by place: what the walk over extents tells, and around damage.

use super::data_extents::{Sector, walk};
use super::{group_tree, image};
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::btrfs::Map;
use crate::filesystem::btrfs::roots::Roots;
use crate::filesystem::extents::{Checksum, Copies};
use crate::filesystem::probe;
use std::collections::BTreeMap;

/// The checksum of each sector by where it starts, looked up in pieces of such a size.
fn look(device: &MemoryDevice, piece_bytes: u64) -> Result<BTreeMap<u64, Vec<u8>>> {
    let filesystem = probe(device)?.unwrap();
    let lookup = filesystem.checksums(device).unwrap()?;
    let mut all = BTreeMap::new();
    for piece in ExtentMap::whole(device.geometry().size_bytes)
        .iter()
        .flat_map(|whole| whole.split(piece_bytes))
    {
        for found in lookup.within(piece)? {
            let sectors = found.place.split(found.sector_bytes.into());
            let checksums = found.checksums();
            assert_eq!(sectors.count(), checksums.iter().len());
            let sectors = found.place.split(found.sector_bytes.into());
            for (sector, checksum) in sectors.zip(checksums.iter()) {
                assert!(sector.overlaps(piece));
                all.insert(sector.offset_bytes(), checksum.to_vec());
            }
        }
    }
    Ok(all)
}

fn told(sectors: &[Sector]) -> BTreeMap<u64, Vec<u8>> {
    let with = sectors.iter().filter_map(|sector| {
        let (_, checksum) = sector.checksum.as_ref()?;
        let starts = sector.copies.iter().map(|copy| copy.offset_bytes());
        Some(starts.map(|start| (start, checksum.clone())))
    });
    with.flatten().collect()
}

#[test]
fn every_place_has_the_checksum_that_the_walk_tells() {
    for name in ["btrfs", "btrfs-mixed", "btrfs-old", "btrfs-64k"] {
        let device = image(name);
        let expected = told(&walk(&device).unwrap());
        assert!(!expected.is_empty(), "{name}");
        for piece_bytes in [u64::MAX, 1 << 20, 65_536, 1536] {
            assert_eq!(look(&device, piece_bytes).unwrap(), expected, "{name}");
        }
    }
    let (device, _) = group_tree::converted();
    let expected = told(&walk(&image("btrfs")).unwrap());
    assert_eq!(look(&device, 1 << 20).unwrap(), expected);
}

/// Where the top of the checksum tree lies.
fn top(device: &MemoryDevice) -> Copies {
    let raw = read_vec(device, super::SUPERBLOCK, 4096).unwrap();
    let Ok(map) = Map::read(&raw, Checksum::Crc32c, device) else {
        panic!("a sound image");
    };
    let tree = map.tree(device);
    let root = Roots::read(tree).unwrap().checksum_tree(tree).unwrap();
    let range = root.logical.range(map.superblock.node_bytes.into());
    let range = range.unwrap();
    map.chunks.holding(range).unwrap().physical(range).unwrap()
}

#[test]
fn one_sound_copy_of_the_tree_is_enough() {
    let device = image("btrfs");
    let expected = look(&device, 1 << 20).unwrap();
    let Copies { first, second } = top(&device);
    let flip = |copy: Extent| {
        let at = copy.offset_bytes() + 3000;
        let byte = read_vec(&device, at, 1).unwrap()[0];
        device.write_all_at(&[!byte], at).unwrap();
    };
    flip(first);
    assert!(walk(&device).is_err(), "the walk is strict");
    assert_eq!(look(&device, 1 << 20).unwrap(), expected);
    flip(second.unwrap());
    let error = look(&device, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("csum"), "{error}");
}

#[test]
fn a_filesystem_with_a_hazard_has_none() {
    let device = image("btrfs-log");
    let filesystem = probe(&device).unwrap().unwrap();
    assert!(filesystem.checksums(&device).unwrap().is_err());
}
