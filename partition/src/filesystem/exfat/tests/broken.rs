//! Everything that makes the bitmap not to be believed.

use super::{
    CHAIN, CONTIGUOUS, Handmade, ROOT, file, filled, finish, hazards, open, primary, texfat, used,
};
use crate::error::Error;
use crate::filesystem::Hazard;

#[test]
fn volume_flags_are_hazards() {
    let with = |flags: u16| {
        let mut volume = filled();
        volume.bytes[106..108].copy_from_slice(&flags.to_le_bytes());
        hazards(&volume)
    };
    assert!(matches!(with(2)[..], [Hazard::NotCleanlyUnmounted(_)]));
    assert!(matches!(with(4)[..], [Hazard::Errors(_)]));
    assert!(matches!(with(0x10)[..], [Hazard::UnknownFeature(_)]));
    assert!(matches!(with(1)[..], [Hazard::Damaged(_)]), "one FAT only");
    // ClearToZero
    assert_eq!(with(8), []);
}

#[test]
fn a_boot_sector_that_cannot_be_is_damage() {
    for (at, value) in [
        (72, 231), // VolumeLength: longer than the device
        (72, 0),
        (80, 23),  // FatOffset: in the boot regions
        (84, 0),   // FatLength: too short
        (84, 3),   // into the heap
        (88, 24),  // ClusterHeapOffset: in the FAT
        (92, 101), // ClusterCount: more than there is room for
        (92, 0),   // none
        (96, 1),   // FirstClusterOfRootDirectory: no such cluster
        (96, 102), // after the last
        (108, 8),  // BytesPerSectorShift
        (108, 13), // BytesPerSectorShift
        (109, 17), // SectorsPerClusterShift: more than 32 MiB
        (110, 0),  // NumberOfFats
        (110, 3),  // NumberOfFats
        (510, 0),  // BootSignature
    ] {
        let mut volume = filled();
        volume.bytes[at] = value;
        volume.seal();
        assert!(matches!(hazards(&volume)[..], [Hazard::Damaged(_)]), "{at}");
    }
    for major_minor in [[1, 1], [0, 2], [0, 0]] {
        let mut volume = filled();
        volume.bytes[104..106].copy_from_slice(&major_minor);
        volume.seal();
        assert!(matches!(hazards(&volume)[..], [Hazard::UnknownFeature(_)]));
    }
}

#[test]
fn every_byte_of_the_boot_region_is_covered_but_three() {
    for at in [
        0,
        66,
        105,
        113,
        300,
        700,
        8 * 512,
        11 * 512 - 1,
        11 * 512,
        12 * 512 - 1,
    ] {
        let mut volume = filled();
        volume.bytes[at] ^= 1;
        assert!(matches!(hazards(&volume)[..], [Hazard::Damaged(_)]), "{at}");
    }
    let mut volume = filled();
    // PercentInUse, and the backup boot region.
    volume.bytes[112] = 55;
    volume.bytes[12 * 512..24 * 512].fill(0xee);
    used(&volume).unwrap();
}

#[test]
fn the_root_directory_must_have_what_it_must() {
    let changed = |change: &dyn Fn(&mut Handmade)| {
        let mut volume = filled();
        change(&mut volume);
        let found = hazards(&volume);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    let damages: [&dyn Fn(&mut Handmade); 13] = [
        &|volume| volume.set_fat(0, 0xffff),
        // No bitmap, two, one for no FAT, one that is too short, one in no clusters.
        &|volume| volume.set_entry(ROOT, 0, &[1; 32]),
        &|volume| volume.set_entry(ROOT, 12, &primary(0x81, 2, 13)),
        &|volume| volume.cluster(ROOT)[1] = 1,
        &|volume| volume.cluster(ROOT)[24] = 12,
        &|volume| volume.set_entry(ROOT, 0, &primary(0x81, 0, 13)),
        &|volume| volume.set_entry(ROOT, 0, &primary(0x81, 2, 1025)),
        // The same of the up-case table.
        &|volume| volume.set_entry(ROOT, 1, &[1; 32]),
        &|volume| volume.cluster(3)[9] ^= 4,
        &|volume| volume.cluster(ROOT)[32 + 25] = 0,
        // A label that is too long, a root directory that loops, and one that is not in the FAT.
        &|volume| volume.cluster(ROOT)[64 + 1] = 12,
        &|volume| volume.set_fat(ROOT, ROOT),
        &|volume| volume.set_fat(ROOT, 0),
    ];
    for damage in damages {
        assert!(matches!(changed(damage), Hazard::Damaged(_)));
    }
    let unknown = changed(&|volume| volume.set_entry(ROOT, 12, &primary(0x84, 0, 0)));
    assert!(matches!(unknown, Hazard::UnknownFeature(_)));
}

#[test]
fn texfat_without_its_second_bitmap_is_damaged() {
    let mut volume = texfat();
    volume.set_entry(ROOT, 12, &[1; 32]);
    assert!(matches!(hazards(&volume)[..], [Hazard::Damaged(_)]));
}

/// Where no cluster that is named may be free.
#[test]
fn a_bitmap_that_lacks_clusters_of_the_tree_proves_nothing() {
    for cluster in [2, 3, 4, 10, 12, 20, 30, 40, 41] {
        let mut volume = filled();
        volume.set_used(cluster, false);
        let Err(Error::Corrupt(found)) = used(&volume) else {
            panic!("cluster {cluster}");
        };
        assert_eq!(found.structure, "exFAT allocation bitmap");
    }
}

#[test]
fn entry_sets_that_cannot_be_are_corrupt() {
    let with = |set: &[[u8; 32]]| {
        let mut volume = filled();
        for cluster in 50..60 {
            volume.set_used(cluster, true);
        }
        // In a subdirectory, where nothing is read for the summary.
        for index in 0..30 {
            volume.set_entry(10, index, &[0; 32]);
        }
        volume.set_entries(10, 0, set);
        used(&volume)
    };
    let sound = |clusters| file("sound", 0x20, clusters);
    with(&sound((CONTIGUOUS, 50, 4096))).unwrap();
    // No clusters whatever the flags.
    for flags in 0..4 {
        with(&sound((flags, 0, 0))).unwrap();
    }
    let mut sum = sound((CHAIN, 0, 0));
    sum[2][9] ^= 1;
    let stream_last = {
        let mut set = sound((CHAIN, 0, 0));
        set.swap(1, 2);
        finish(set)
    };
    let named = |len: u8| {
        let mut set = sound((CHAIN, 0, 0));
        set[1][3] = len;
        finish(set)
    };
    let mut unused = sound((CHAIN, 0, 0));
    unused[2][0] = 0x41;
    for set in [
        sum,
        stream_last,
        finish(unused),
        named(0),
        named(16),
        // Clusters without AllocationPossible; a chain that is free; one that ends early.
        sound((0, 50, 1)),
        sound((CHAIN, 50, 1)),
        sound((CHAIN, 12, 1025)),
        // Clusters of no length, lengths of no cluster, clusters after the last.
        sound((CONTIGUOUS, 50, 0)),
        sound((CHAIN, 0, 1)),
        sound((CONTIGUOUS, 100, 2049)),
        sound((CONTIGUOUS, 1, 1)),
        sound((CONTIGUOUS, 50, u64::MAX)),
        sound((CHAIN, 50, 100 * 1024 + 1)),
        // A secondary entry without a set, and what only the root directory may have.
        vec![primary(0xc0, 0, 0)],
        vec![primary(0x80, 0, 0)],
        vec![primary(0x83, 0, 0)],
    ] {
        let kind = set[0][0];
        let found = with(&set);
        let is_refused = match kind {
            0x80 => matches!(found, Err(Error::Unsupported { .. })),
            _ => matches!(found, Err(Error::Corrupt(_))),
        };
        assert!(is_refused, "{set:x?}: {found:?}");
    }
    let mut unknown = sound((CHAIN, 0, 0));
    unknown.push(primary(0xc2, 0, 0));
    let found = with(&finish(unknown));
    assert!(matches!(found, Err(Error::Unsupported { .. })), "{found:?}");
}

#[test]
fn a_set_that_the_directory_cuts_short_is_corrupt() {
    let mut volume = filled();
    let set = file("a name of more than 15 units", 0x20, (CHAIN, 20, 1500));
    for index in 0..30 {
        volume.set_entry(12, index, &[0x05; 32]);
    }
    volume.set_entry(10, 30, &[0x05; 32]);
    volume.set_entry(10, 31, &[0x05; 32]);
    volume.set_entries(12, 30, &set[..2]);
    assert!(matches!(used(&volume), Err(Error::Corrupt(_))));
}

#[test]
fn loops_end_in_an_error() {
    let mut chain = filled();
    chain.set_fat(30, 20);
    assert!(matches!(used(&chain), Err(Error::Corrupt(_))));
    let mut tree = filled();
    tree.set_entries(12, 2, &file("loop", 0x10, (CHAIN, 10, 2048)));
    assert!(matches!(used(&tree), Err(Error::Corrupt(_))));
    let mut flat = filled();
    flat.set_entries(ROOT, 6, &file("flat", 0x10, (CONTIGUOUS, 40, 2048)));
    flat.set_entries(40, 0, &file("loop", 0x10, (CONTIGUOUS, 40, 2048)));
    assert!(matches!(used(&flat), Err(Error::Corrupt(_))));
    let (device, filesystem) = open(&flat);
    assert!(filesystem.metadata(&device).is_err());
    // What was asked for is found before the loop.
    let found = super::clusters(40, 41).into();
    assert_eq!(filesystem.owners(&device, &found, 1).files.len(), 1);
}
