//! Containers that no tool makes, hostile ones, and damaged ones.

mod container;
mod damaged;
mod trees;

use super::probe;
use crate::device::ReadAt;
use crate::error::Error;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Hazard;
use container::{Container, MAP, POOL, SPACEMAN, SUPERBLOCK};

fn hazards(device: &dyn ReadAt) -> Vec<Hazard> {
    let filesystem = probe(device).unwrap().unwrap();
    filesystem.summary().hazards.clone()
}

fn used(device: &dyn ReadAt) -> Result<ExtentMap, Error> {
    let filesystem = probe(device).unwrap().unwrap();
    filesystem.used(device).map(Option::unwrap)
}

#[test]
fn all_block_sizes_and_counts_of_chunks() {
    for (block_bytes, blocks) in [
        (4096, 200),
        (4096, 32_768),
        (4096, 32_769),
        (8192, 70_000),
        (16_384, 4_000_000),
        (65_536, 524_289),
        (65_536, 100_000_000),
    ] {
        let apart = [150, 152, blocks / 2, blocks / 2 + 1, blocks - 1];
        let container = Container::new(block_bytes, blocks, &apart);
        assert_eq!(hazards(&container), [], "{block_bytes} {blocks}");
        let found = used(&container).unwrap();
        let size = u64::from(block_bytes);
        for block in apart {
            let extent = Extent::new(block * size, size).unwrap();
            assert!(found.contains(extent), "{block_bytes} {blocks}: {block}");
        }
        let filesystem = probe(&container).unwrap().unwrap();
        let counted = filesystem.summary().used_bytes;
        assert_eq!(counted, Some(found.total_bytes()), "{block_bytes} {blocks}");
    }
}

/// More chunk-info blocks than one block has addresses of.
#[test]
fn address_blocks_of_large_containers() {
    let chunks: u64 = 126 * 507 + 130;
    let blocks = chunks * 32_768 + 5;
    let apart = [1 << 20, 126 * 507 * 32_768 + 9, blocks - 1];
    let mut container = Container::new(4096, blocks, &apart);
    let found = used(&container).unwrap();
    let extents = apart.map(|block| Extent::new(block * 4096, 4096).unwrap());
    assert_eq!(&found.extents()[found.extents().len() - 3..], extents);
    // cab_index and cab_cib_count of the second one.
    for at in [32, 36] {
        let mut container = container.clone();
        container.poke(POOL + 1, at, &[9]);
        let error = used(&container).unwrap_err().to_string();
        assert!(error.contains("APFS chunk-info address block"), "{error}");
    }
    // An address of a chunk-info block of the first one: the second's instead.
    container.poke(POOL, 40, &(POOL + 2 + 1).to_le_bytes());
    let error = used(&container).unwrap_err().to_string();
    assert!(error.contains("cib_index"), "{error}");
}

/// An object in the checkpoint data area may go around.
#[test]
fn a_space_manager_may_wrap() {
    let mut container = Container::new(4096, 5000, &[4000]);
    let expected = used(&container).unwrap();
    let mut raw = vec![0; 8192];
    container.read_exact_at(&mut raw, SPACEMAN * 4096).unwrap();
    raw[4096..].fill(0x5a);
    let sum = super::object::checksum(&raw);
    raw[..8].copy_from_slice(&sum.to_le_bytes());
    // The data area is blocks 3 to 7.
    container.put(7, 0, &raw[..4096]);
    container.put(3, 0, &raw[4096..]);
    container.put(SPACEMAN, 0, &[0; 4096]);
    container.put(MAP, 48, &8192_u32.to_le_bytes());
    container.poke(MAP, 72, &7_u64.to_le_bytes());
    assert_eq!(used(&container).unwrap(), expected);
    container.put(3, 9, &[0]);
    assert!(matches!(&hazards(&container)[..], [Hazard::Damaged(_)]));
}

#[test]
fn what_the_superblock_says_against_a_copy() {
    type Check = fn(&Hazard) -> bool;
    let cases: [(usize, &[u8], Check); 14] = [
        (56, &[1], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (64, &[1], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (64, &[6], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (65, &[1], |hazard| matches!(hazard, Hazard::MultiDevice(_))),
        (1280, &[1], |hazard| {
            matches!(hazard, Hazard::MultiDevice(_))
        }),
        (1264, &[8], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (1248, &[1], |hazard| {
            matches!(hazard, Hazard::NotCleanlyUnmounted(_))
        }),
        (107, &[0x80], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (119, &[0x80], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (111, &[0x80], |hazard| {
            matches!(hazard, Hazard::UnknownFeature(_))
        }),
        (36, &[0, 0x20], |hazard| {
            matches!(hazard, Hazard::Damaged(_))
        }),
        (47, &[1], |hazard| matches!(hazard, Hazard::Damaged(_))),
        (96, &[3], |hazard| matches!(hazard, Hazard::Damaged(_))),
        (140, &[3], |hazard| matches!(hazard, Hazard::Damaged(_))),
    ];
    for (offset, bytes, is_expected) in cases {
        let mut container = Container::new(4096, 5000, &[]);
        container.poke(SUPERBLOCK, offset, bytes);
        let found = hazards(&container);
        assert!(
            found.first().is_some_and(is_expected),
            "{offset}: {found:?}"
        );
        assert!(used(&container).is_err(), "{offset}");
    }
    // nx_features, and that of software encryption.
    let mut container = Container::new(4096, 5000, &[]);
    container.poke(SUPERBLOCK, 48, &[0xff]);
    container.poke(SUPERBLOCK, 1264, &[4]);
    assert_eq!(hazards(&container), []);
}

#[test]
fn block_0_must_be_of_the_newest_checkpoint() {
    let mut container = Container::new(4096, 5000, &[]);
    container.put(0, 16, &[6]);
    container.put(0, 96, &[7]);
    container.seal(0);
    let found = hazards(&container);
    let is_unclean = matches!(&found[..], [Hazard::NotCleanlyUnmounted(_)]);
    assert!(is_unclean, "{found:?}");
    let mut container = Container::new(4096, 5000, &[]);
    container.put(0, 88, &[9]);
    container.seal(0);
    let found = hazards(&container);
    assert!(matches!(&found[..], [Hazard::Damaged(_)]), "{found:?}");
}

/// What must be in use, and is not by the bitmap.
#[test]
fn structures_that_the_bitmap_leaves_out() {
    let places = [
        (1272, 4000_u64.to_le_bytes().to_vec(), "nx_efi_jumpstart"),
        (
            1296,
            [4000_u64, 1].map(u64::to_le_bytes).concat(),
            "nx_keylocker",
        ),
        (
            1392,
            [100, 1 << 63].map(u64::to_le_bytes).concat(),
            "nx_mkb_locker",
        ),
        (160, 4000_u64.to_le_bytes().to_vec(), "nx_omap_oid"),
        (108, 4000_u32.to_le_bytes().to_vec(), "nx_xp_data_base"),
    ];
    for (offset, bytes, field) in places {
        let mut container = Container::new(4096, 5000, &[]);
        container.poke(SUPERBLOCK, offset, &bytes);
        let error = used(&container).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

/// Fields of the space manager and the blocks below it, one changed at a time.
#[test]
fn contradictions_below_the_superblock() {
    let cib = POOL;
    let cases: [(u64, usize, &[u8], &str); 21] = [
        (SPACEMAN, 16, &[6], "o_xid"),
        (SPACEMAN, 8, &[1], "o_oid"),
        (SPACEMAN, 24, &[6], "o_type"),
        (SPACEMAN, 33, &[0x20], "sm_block_size"),
        (SPACEMAN, 36, &[1], "sm_blocks_per_chunk"),
        (SPACEMAN, 40, &[1], "sm_chunks_per_cib"),
        (SPACEMAN, 48, &[1], "sm_block_count"),
        (SPACEMAN, 56, &[2], "sm_chunk_count"),
        (SPACEMAN, 68, &[1, 1], "sm_cab_count"),
        (SPACEMAN, 72, &[1], "sm_free_count"),
        (SPACEMAN, 80, &[0xff, 0xff], "sm_addr_offset"),
        (SPACEMAN, 145, &[1], "sm_flags"),
        (SPACEMAN, 179, &[1], "sm_ip_base"),
        (SPACEMAN, 384, &[1], "in the internal pool"),
        (MAP, 16, &[6], "o_xid"),
        (MAP, 32, &[0], "cpm_flags"),
        (MAP, 36, &[0xff], "cpm_count"),
        (cib, 16, &[8], "o_xid"),
        (cib, 48, &[1], "ci_addr"),
        (cib, 60, &[1], "free"),
        (cib, 64, &[1], "ci_bitmap_addr"),
    ];
    for (block, offset, bytes, field) in cases {
        let mut container = Container::new(4096, 5000, &[]);
        container.poke(block, offset, bytes);
        let error = used(&container).unwrap_err().to_string();
        assert!(error.contains(field), "{block}+{offset} {field}: {error}");
    }
}
