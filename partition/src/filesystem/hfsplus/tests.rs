//! Volumes that are not what they should be: golden images with single fields changed.

use crate::bytes::{be16, be32};
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::filesystem::Hazard;
use crate::filesystem::golden::{believed, hazards, image};
use proptest::prelude::{any, proptest};

/// The volume with the bytes from `at` on replaced, and put back afterwards.
fn is_noticed(device: &MemoryDevice, at: u64, bytes: &[u8]) -> bool {
    let before = read_vec(device, at, bytes.len()).unwrap();
    assert_ne!(before, bytes, "{at:#x}");
    device.write_all_at(bytes, at).unwrap();
    let found = believed(device);
    device.write_all_at(&before, at).unwrap();
    assert!(believed(device).is_some(), "sound again");
    found.is_none()
}

/// Where the first extent of a special file starts, by the place of its fork in the header.
fn fork(device: &MemoryDevice, at: u64) -> u64 {
    let header = read_vec(device, 1024, 512).unwrap();
    let extent = usize::try_from(at).unwrap() + 16;
    u64::from(be32(&header, extent)) * u64::from(be32(&header, 40))
}

#[test]
fn fields_of_the_header_that_cannot_be() {
    let device = image("hfsplus");
    let size_bytes = device.geometry().size_bytes;
    for (at, value) in [
        (2, 5_u32 << 16), // version
        (4, 0),           // attributes: not unmounted
        (4, 0x2100),      // journaled, with no journal
        (8, 0x4653_4b21), // lastMountedVersion FSK!
        (40, 4095),       // blockSize
        (40, 256),        // blockSize
        (44, u32::MAX),   // totalBlocks
        (44, 0),          // totalBlocks
        (48, 3),          // freeBlocks
        (48, u32::MAX),   // freeBlocks
        (124, 1 << 30),   // allocationFile: totalBlocks
        (128, 2),         // its first extent: another place
        (132, 0),         // no blocks
        (132, u32::MAX),  // too many
        (208, 1 << 30),   // extentsFile: first extent
        (288, 1 << 30),   // catalogFile
        (368, 1 << 30),   // attributesFile
    ] {
        assert!(
            is_noticed(&device, 1024 + at, &value.to_be_bytes()),
            "{at} {value:#x}"
        );
    }
    // The alternate's signature, blockSize, totalBlocks, and where the allocation file is.
    for at in [0, 40, 44, 128] {
        assert!(
            is_noticed(&device, size_bytes - 1024 + at, &[0x7f; 4]),
            "alternate {at}"
        );
    }
}

#[test]
fn trees_that_cannot_be() {
    let device = image("hfsplus");
    // Extents-overflow, catalog, attributes: their forks in the header.
    for tree in [192, 272, 352] {
        let at = fork(&device, tree);
        let header = read_vec(&device, at, 512).unwrap();
        let node_bytes = u64::from(be16(&header, 32));
        let first_leaf = at + node_bytes * u64::from(be32(&header, 24));
        for (place, bytes) in [
            (at + 8, &[2][..]),                        // kind of the header node
            (at + 11, &[4]),                           // its number of records
            (at + 20, &[0, 1, 0, 0]),                  // leafRecords
            (at + 32, &[0x10, 1]),                     // nodeSize
            (at + 36, &[0xff; 4]),                     // totalNodes
            (at + 40, &[0; 4]),                        // freeNodes
            (at + 52, &[0; 4]),                        // attributes
            (at + 248, &[0]),                          // the map's first byte
            (first_leaf, &[0xff; 4]),                  // fLink
            (first_leaf + 8, &[7]),                    // kind
            (first_leaf + 9, &[9]),                    // height
            (first_leaf + 10, &[0xff; 2]),             // numRecords
            (first_leaf + 14, &[0xff; 2]),             // length of the first key
            (first_leaf + node_bytes - 2, &[0xff; 2]), // offset of the first record
        ] {
            assert!(is_noticed(&device, place, bytes), "{tree} {place:#x}");
        }
    }
}

#[test]
fn journals_that_cannot_be() {
    for name in ["hfsplus-journal", "hfsplus-journal-big"] {
        let device = image(name);
        let header = read_vec(&device, 1024, 512).unwrap();
        let block_bytes = u64::from(be32(&header, 40));
        let info = u64::from(be32(&header, 12)) * block_bytes;
        let place = read_vec(&device, info, 52).unwrap();
        let journal = u64::from(be32(&place, 40));
        for at in 0..40 {
            // Every byte that the checksum covers.
            let byte = read_vec(&device, journal + at, 1).unwrap();
            assert!(
                is_noticed(&device, journal + at, &[!byte[0]]),
                "{name} {at}"
            );
        }
        // Flags, offset and size.
        for (at, value) in [(0, 2_u32), (0, 9), (40, 0x7fff_ffff), (48, 0x7fff_ffff)] {
            assert!(
                is_noticed(&device, info + at, &value.to_be_bytes()),
                "{name} {at}"
            );
        }
    }
}

#[test]
fn a_volume_cut_short_is_damaged() {
    let raw = read_vec(&image("hfsplus"), 0, 2 << 20).unwrap();
    for len in [1536, 4096, 70_000, 2 << 20] {
        let cut = MemoryDevice::new(raw[..len].to_vec(), 512);
        assert!(matches!(hazards(&cut)[..], [Hazard::Damaged(_)]), "{len}");
    }
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        changes in proptest::collection::vec((1024_u64..256 << 10, any::<u8>()), 1..20)
    ) {
        let device = image("hfsplus-smaller");
        for (offset_bytes, byte) in changes {
            device.write_all_at(&[byte], offset_bytes).unwrap();
        }
        if let Some(used) = believed(&device) {
            assert!(used.end_bytes() <= device.geometry().size_bytes);
        }
    }
}
