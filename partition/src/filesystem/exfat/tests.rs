//! Volumes made by hand; those made by real tools are in `tests/`.

mod broken;
mod handmade;

use super::probe;
use crate::device::MemoryDevice;
use crate::error::Error;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Filesystem, Hazard, Kind, Owner};
use handmade::{
    CHAIN, CONTIGUOUS, DEVICE_END, END, HEAP, HEAP_END, Handmade, ROOT, VOLUME_END, file, finish,
    primary,
};

fn open(volume: &Handmade) -> (MemoryDevice, Box<dyn Filesystem>) {
    let device = MemoryDevice::new(volume.bytes.clone(), 512);
    let filesystem = probe(&device).unwrap().expect("recognised as exFAT");
    (device, filesystem)
}

fn used(volume: &Handmade) -> Result<ExtentMap, Error> {
    let (device, filesystem) = open(volume);
    assert_eq!(filesystem.summary().hazards, []);
    Ok(filesystem.used(&device)?.unwrap())
}

fn hazards(volume: &Handmade) -> Vec<Hazard> {
    open(volume).1.summary().hazards.clone()
}

fn between(start: usize, end: usize) -> Extent {
    Extent::between(start as u64, end as u64).unwrap()
}

/// Where clusters from `first` to before `end` lie.
fn clusters(first: usize, end: usize) -> Extent {
    between(HEAP + (first - 2) * 1024, HEAP + (end - 2) * 1024)
}

/// /dir/long name…, 1500 bytes in clusters 20 and 30; /flat, 2048 bytes in clusters 40 and 41;
/// the directory in clusters 10 and 12; an empty file.
fn filled() -> Handmade {
    let mut volume = Handmade::new();
    for (cluster, next) in [(10, 12), (12, END), (20, 30), (30, END)] {
        volume.set_fat(cluster, next);
    }
    for cluster in [10, 12, 20, 30, 40, 41] {
        volume.set_used(cluster, true);
    }
    // The FAT says nothing of contiguous clusters.
    volume.set_fat(40, 7);
    volume.set_entries(ROOT, 3, &file("dir", 0x10, (CHAIN, 10, 2048)));
    volume.set_entries(ROOT, 6, &file("flat", 0x20, (CONTIGUOUS, 40, 2048)));
    volume.set_entries(ROOT, 9, &file("empty", 0x20, (CHAIN, 0, 0)));
    // Entries that are not in use, up to the last of the directory's first cluster.
    for index in 0..30 {
        volume.set_entry(10, index, &[0x05; 32]);
    }
    // The set goes on in the next cluster.
    let set = file("a name of more than 15 units", 0x20, (CHAIN, 20, 1500));
    assert_eq!(set.len(), 4);
    volume.set_entries(10, 30, &set[..2]);
    volume.set_entries(12, 0, &set[2..]);
    volume
}

#[test]
fn clusters_in_use_and_all_outside_of_the_heap_are_used() {
    let expected: ExtentMap = [
        between(0, HEAP + 3 * 1024),
        clusters(10, 11),
        clusters(12, 13),
        clusters(20, 21),
        clusters(30, 31),
        clusters(40, 42),
        between(HEAP_END, VOLUME_END),
    ]
    .into_iter()
    .collect();
    let volume = filled();
    assert_eq!(used(&volume).unwrap(), expected);
    let (device, filesystem) = open(&volume);
    let summary = filesystem.summary();
    assert_eq!(summary.kind, Kind::Exfat);
    assert_eq!(summary.label.as_deref(), Some("S\u{e9}!"));
    assert_eq!(summary.uuid.as_deref(), Some("1234-ABCD"));
    assert_eq!(summary.size_bytes, VOLUME_END as u64);
    assert_eq!(summary.block_size_bytes, 1024);
    assert_eq!(summary.used_bytes, Some(expected.total_bytes()));
    assert_eq!(filesystem.change_token(&device).unwrap(), None);
    let metadata: ExtentMap = [
        between(0, HEAP + 3 * 1024),
        clusters(10, 11),
        clusters(12, 13),
        between(HEAP_END, VOLUME_END),
    ]
    .into_iter()
    .collect();
    assert_eq!(filesystem.metadata(&device).unwrap(), Some(metadata));
}

fn owners(volume: &Handmade, wanted: Extent) -> Vec<Owner> {
    let (device, filesystem) = open(volume);
    filesystem.owners(&device, &wanted.into(), 10).files
}

#[test]
fn a_byte_is_traced_to_its_file() {
    let volume = filled();
    let second = clusters(30, 31).offset_bytes();
    let expected = Owner {
        path: "/dir/a name of more than 15 units".to_owned(),
        file_offset_bytes: 1124,
        extent: Extent::new(second + 100, 376).unwrap(),
        inline_sha256: None,
    };
    let found = owners(&volume, Extent::new(second + 100, 900).unwrap());
    assert_eq!(found, [expected]);
    // The slack after byte 1500 is no content.
    assert_eq!(owners(&volume, Extent::new(second + 476, 9).unwrap()), []);
    for (cluster, path) in [(4, "/"), (12, "/dir"), (41, "/flat")] {
        let found = owners(&volume, clusters(cluster, cluster + 1));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, path);
    }
    let all = owners(&volume, between(0, DEVICE_END));
    assert_eq!(all.len(), 4, "{all:?}");
}

#[test]
fn the_bitmap_and_the_root_directory_may_be_in_pieces() {
    let mut volume = filled();
    // A longer bitmap than is needed, and a root directory of two clusters.
    volume.set_entry(ROOT, 0, &primary(0x81, 2, 1500));
    for (cluster, next) in [(2, 50), (50, END), (ROOT, 60), (60, END)] {
        volume.set_fat(cluster, next);
        volume.set_used(cluster, true);
    }
    for index in 12..32 {
        volume.set_entry(ROOT, index, &[0x41; 32]);
    }
    volume.set_used(70, true);
    volume.set_entries(60, 0, &file("behind", 0, (CONTIGUOUS, 70, 5)));
    let map = used(&volume).unwrap();
    assert!(
        [50, 60, 70]
            .map(|at| clusters(at, at + 1))
            .iter()
            .all(|&at| map.contains(at))
    );
    let found = owners(&volume, clusters(70, 71));
    assert_eq!(found[0].path, "/behind");
    assert_eq!(found[0].extent.len_bytes(), 5);
}

#[test]
fn what_others_add_to_a_directory_is_read_by_its_template() {
    let mut volume = filled();
    let vendor = |flags: u8| {
        let mut set = file("with", 0x20, (CHAIN, 0, 0));
        let mut entry = primary(0xe1, 80, 3000);
        entry[1] = flags;
        set.push(entry);
        finish(set)
    };
    let mut guid = [7; 32];
    guid[..6].copy_from_slice(&[0xa0, 0, 0, 0, 0, 0]);
    volume.set_entries(ROOT, 12, &finish(vec![guid]));
    let mut texfat = primary(0xa1, 90, 600);
    texfat[4] = CHAIN;
    volume.set_entries(ROOT, 13, &finish(vec![texfat]));
    volume.set_fat(90, END);
    volume.set_entries(ROOT, 14, &vendor(CONTIGUOUS));
    for cluster in [80, 81, 82, 90] {
        assert!(matches!(used(&volume), Err(Error::Corrupt(_))));
        volume.set_used(cluster, true);
    }
    used(&volume).unwrap();
    let (device, filesystem) = open(&volume);
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.contains(clusters(80, 83)) && metadata.contains(clusters(90, 91)));
    // Without AllocationPossible the fields are the vendor's own.
    volume.set_used(81, false);
    volume.set_entries(ROOT, 14, &vendor(0));
    used(&volume).unwrap();
}

/// TexFAT: two FATs, two bitmaps; the first is stale.
fn texfat() -> Handmade {
    let mut volume = filled();
    volume.bytes[110] = 2;
    volume.seal();
    volume.bytes.copy_within(24 * 512..25 * 512, 25 * 512);
    let bitmap = volume.cluster(2).to_vec();
    volume.cluster(5).copy_from_slice(&bitmap);
    let mut second = primary(0x81, 5, 13);
    second[1] = 1;
    volume.set_entry(ROOT, 12, &second);
    for number in 0..2 {
        volume.set_nth_fat(number, 5, END);
    }
    volume.set_used(5, true);
    volume
}

#[test]
fn of_two_fats_the_active_one_is_followed_and_both_bitmaps_count() {
    let mut volume = texfat();
    // Cluster 5 is in use by the first bitmap only; cluster 33 (bit 31) by the second.
    volume.cluster(5)[3] |= 0x80;
    // The second FAT has the file's second cluster in another place.
    volume.set_nth_fat(1, 20, 33);
    volume.set_nth_fat(1, 33, END);
    for (flags, last) in [(0, 30), (1, 33)] {
        volume.bytes[106] = flags;
        let map = used(&volume).unwrap();
        assert!(map.contains(clusters(5, 6)) && map.contains(clusters(33, 34)));
        let found = owners(&volume, clusters(last, last + 1));
        assert_eq!(found.len(), 1, "ActiveFat {flags}");
    }
}

#[test]
fn what_is_not_exfat_is_none() {
    let is_exfat = |bytes: &[u8]| {
        let device = MemoryDevice::new(bytes.to_vec(), 512);
        probe(&device).unwrap().is_some()
    };
    let bytes = filled().bytes;
    assert!(is_exfat(&bytes) && is_exfat(&bytes[..600]));
    assert!(!is_exfat(&[0; 4096]) && !is_exfat(&[0xff; 4096]) && !is_exfat(&bytes[..511]));
    for at in [3, 11, 63] {
        let mut bytes = bytes.clone();
        bytes[at] = 1;
        assert!(!is_exfat(&bytes), "byte {at}");
    }
}

#[test]
fn bad_clusters_are_not_used_unless_a_file_has_them() {
    const BAD: u32 = 0xffff_fff7;
    let mut volume = filled();
    // Of contiguous files, as of the one in 40 and 41, entries of the FAT mean nothing.
    for cluster in [50, 51, 60, 41] {
        volume.set_fat(cluster, BAD);
        volume.set_used(cluster, cluster != 60);
    }
    let (device, filesystem) = open(&volume);
    let bad: ExtentMap = [clusters(50, 52), clusters(60, 61)].into_iter().collect();
    assert_eq!(filesystem.known_bad(&device), bad);
    let used = used(&volume).unwrap();
    assert!(used.contains(clusters(40, 42)) && used.intersection(&bad).is_empty());
}
