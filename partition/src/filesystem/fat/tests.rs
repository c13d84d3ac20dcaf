//! Boot sectors and directories made by hand; volumes made by real tools are in `tests/`.

mod large;

use super::{cleared_mark, probe};
use crate::device::{Fault, FaultAt, MemoryDevice};
use crate::error::Error;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Filesystem, Hazard, Kind, Owner, Owners};

/// A FAT12 volume of 128 sectors: 1 reserved, 2 FATs of 1, a root directory of 1, 124 clusters
/// from byte 2048.
fn volume() -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    bytes[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
    bytes[13] = 1;
    bytes[14] = 1;
    bytes[16] = 2;
    bytes[17] = 16;
    bytes[19] = 128;
    bytes[21] = 0xf8;
    bytes[22] = 1;
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    for cluster in [0, 1] {
        set_entry(&mut bytes, cluster, 0xff8 | (cluster as u16) << 1);
    }
    bytes
}

fn set_entry(bytes: &mut [u8], cluster: usize, value: u16) {
    for fat in [512, 1024] {
        let at = fat + cluster * 3 / 2;
        let old = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let new = if cluster.is_multiple_of(2) {
            old & 0xf000 | value
        } else {
            old & 0x000f | value << 4
        };
        bytes[at..at + 2].copy_from_slice(&new.to_le_bytes());
    }
}

/// Writes a short entry; `slot` counts from the start of the root directory.
fn set_file(bytes: &mut [u8], at: usize, name: &[u8; 11], attributes_cluster: (u8, u8)) {
    let entry = &mut bytes[at..at + 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes_cluster.0;
    entry[26] = attributes_cluster.1;
    if attributes_cluster.0 & 0x18 == 0 {
        entry[28..32].copy_from_slice(&700u32.to_le_bytes());
    }
}

const ROOT: usize = 1536;

#[test]
fn the_mark_of_use_is_cleared_where_all_files_fit_together() {
    let mut bytes = volume();
    let cleared = |bytes: &[u8]| cleared_mark(&MemoryDevice::new(bytes.to_vec(), 512));
    // BS_BootSig, and the bit that the kernel sets at a mount.
    bytes[38] = 0x29;
    assert_eq!(cleared(&bytes).unwrap(), None);
    bytes[37] = 1;
    // 700 bytes in two clusters.
    set_file(&mut bytes, ROOT, b"FILE       ", (0x20, 2));
    set_entry(&mut bytes, 2, 3);
    set_entry(&mut bytes, 3, 0xfff);
    let mark = cleared(&bytes).unwrap().unwrap();
    assert_eq!((mark.offset_bytes, mark.byte), (37, 0));
    // Damage that was noted before is no mark of use.
    bytes[37] = 3;
    assert_eq!(cleared(&bytes).unwrap(), None);
    bytes[37] = 1;
    // A chain that is too short, one that leads to a free cluster, and one that has no end.
    for (cluster, next) in [(2, 0xfff), (3, 9), (3, 2)] {
        let mut bytes = bytes.clone();
        set_entry(&mut bytes, cluster, next);
        assert!(cleared(&bytes).is_err(), "{cluster} leads to {next}");
    }
}

fn open(bytes: &[u8]) -> (MemoryDevice, Box<dyn Filesystem>) {
    let device = MemoryDevice::new(bytes.to_vec(), 512);
    let filesystem = probe(&device).unwrap().expect("recognised as FAT");
    (device, filesystem)
}

fn used(bytes: &[u8]) -> ExtentMap {
    let (device, filesystem) = open(bytes);
    filesystem.used(&device).unwrap().unwrap()
}

fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
    Extent::new(offset_bytes, len_bytes).unwrap()
}

fn is_damaged(bytes: &[u8]) -> bool {
    let (_, filesystem) = open(bytes);
    let hazards = &filesystem.summary().hazards;
    hazards
        .iter()
        .any(|hazard| matches!(hazard, Hazard::Damaged(_)))
}

#[test]
fn clusters_in_use_by_any_mark_but_that_of_bad_ones_are_used() {
    let mut bytes = volume();
    for (cluster, value) in [(5, 6), (6, 0xfff), (9, 0xff7), (10, 0xff0), (125, 0xff8)] {
        set_entry(&mut bytes, cluster, value);
    }
    let expected: ExtentMap = [
        extent(0, 2048),
        extent(2048 + 3 * 512, 1024),
        extent(2048 + 8 * 512, 512),
        extent(65_536 - 512, 512),
    ]
    .into_iter()
    .collect();
    assert_eq!(used(&bytes), expected);
    let (device, filesystem) = open(&bytes);
    let summary = filesystem.summary();
    assert_eq!((summary.kind, summary.block_size_bytes), (Kind::Fat12, 512));
    assert_eq!(summary.used_bytes, Some(2048 + 5 * 512));
    let bad: ExtentMap = [extent(2048 + 7 * 512, 512)].into_iter().collect();
    assert_eq!(filesystem.known_bad(&device), bad);
}

#[test]
fn bad_clusters_that_something_leads_to_are_used() {
    let bad = extent(2048 + 7 * 512, 512);
    let mut chained = volume();
    let mut named = volume();
    for bytes in [&mut chained, &mut named] {
        set_entry(bytes, 9, 0xff7);
        assert!(!used(bytes).contains(bad));
    }
    set_entry(&mut chained, 20, 9);
    set_file(&mut named, ROOT, b"FILE       ", (0x20, 9));
    for bytes in [&chained, &named] {
        assert!(used(bytes).contains(bad));
        let (device, filesystem) = open(bytes);
        assert!(filesystem.known_bad(&device).is_empty());
    }
}

#[test]
fn sectors_after_the_last_whole_cluster_are_used_and_those_after_the_end_are_not() {
    let mut bytes = volume();
    bytes[13] = 16;
    bytes[19] = 120;
    // 116 data sectors: 7 clusters of 16 and 4 sectors more.
    let expected: ExtentMap = [extent(0, 2048), extent(116 * 512, 2048)]
        .into_iter()
        .collect();
    assert_eq!(used(&bytes), expected);
}

#[test]
fn every_field_that_cannot_be_is_damage() {
    for (at, value) in [
        (13, 128),   // no cluster fits
        (19, 129),   // larger than the volume
        (17, 0),     // no root directory
        (22, 70),    // FATs larger than the volume
        (512, 0xf0), // FAT[0] is not the media byte
    ] {
        let mut bytes = volume();
        bytes[at] = value;
        assert!(is_damaged(&bytes), "byte {at}");
    }
}

#[test]
fn entries_to_no_cluster_and_copies_that_differ_are_corrupt() {
    let mut beyond = volume();
    set_entry(&mut beyond, 7, 126);
    let mut one = volume();
    set_entry(&mut one, 7, 1);
    let mut differing = volume();
    differing[1024 + 100] = 5;
    for bytes in [beyond, one, differing] {
        let (device, filesystem) = open(&bytes);
        assert!(matches!(filesystem.used(&device), Err(Error::Corrupt(_))));
        assert!(is_damaged(&bytes));
    }
}

#[test]
fn what_is_not_fat_is_none() {
    let is_fat = |bytes: &[u8]| {
        let device = MemoryDevice::new(bytes.to_vec(), 512);
        probe(&device).unwrap().is_some()
    };
    let bytes = volume();
    assert!(is_fat(&bytes));
    assert!(!is_fat(&[0; 4096]) && !is_fat(&[0xff; 4096]) && !is_fat(&bytes[..100]));
    for (at, name) in [(3, b"NTFS    "), (3, b"EXFAT   "), (0x36, b"JFS     ")] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(name);
        assert!(!is_fat(&bytes), "{name:?}");
    }
    // Without the signature a boot sector must be without fault.
    let mut floppy = bytes;
    floppy[510] = 0;
    assert!(is_fat(&floppy));
    floppy[22] = 70;
    assert!(!is_fat(&floppy));
}

#[test]
fn the_label_in_the_root_directory_wins() {
    let mut bytes = volume();
    bytes[0x26] = 0x29;
    bytes[0x27..0x2b].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
    bytes[0x2b..0x36].copy_from_slice(b"BOOT SECTOR");
    let summary = open(&bytes).1.summary().clone();
    assert_eq!(summary.uuid.as_deref(), Some("1234-ABCD"));
    assert_eq!(summary.label.as_deref(), Some("BOOT SECTOR"));
    set_file(&mut bytes, ROOT, b"\xe5OLD LABEL ", (0x08, 0));
    set_file(&mut bytes, ROOT + 32, b"LABEL      ", (0x28, 0));
    let summary = open(&bytes).1.summary().clone();
    assert_eq!(summary.label.as_deref(), Some("LABEL"));
}

fn owners(bytes: &[u8], wanted: Extent) -> Owners {
    let (device, filesystem) = open(bytes);
    filesystem.owners(&device, &wanted.into(), 10)
}

/// DIR/NOTE.TXT of 700 bytes in clusters 20 and 30.
fn volume_with_a_file() -> Vec<u8> {
    let mut bytes = volume();
    for (cluster, value) in [(4, 0xfff), (20, 30), (30, 0xfff)] {
        set_entry(&mut bytes, cluster, value);
    }
    set_file(&mut bytes, ROOT, b"DIR        ", (0x10, 4));
    set_file(&mut bytes, 2048 + 2 * 512, b"NOTE    TXT", (0x20, 20));
    bytes
}

#[test]
fn a_byte_is_traced_to_its_file() {
    let bytes = volume_with_a_file();
    let in_second_cluster = extent(2048 + 28 * 512 + 100, 1000);
    let found = owners(&bytes, in_second_cluster);
    assert_eq!(found.gaps, [""; 0]);
    let expected = Owner {
        path: "/DIR/NOTE.TXT".to_owned(),
        file_offset_bytes: 612,
        // The file ends at byte 700.
        extent: extent(2048 + 28 * 512 + 100, 88),
        inline_sha256: None,
    };
    assert_eq!(found.files, [expected]);
    let slack = extent(2048 + 28 * 512 + 188, 300);
    assert_eq!(owners(&bytes, slack), Owners::default());
    let directory = owners(&bytes, extent(2048 + 2 * 512, 1));
    assert_eq!(directory.files[0].path, "/DIR");
    assert_eq!(owners(&bytes, extent(1536, 1)).files[0].path, "/");
}

#[test]
fn loops_end_and_are_told() {
    let far = extent(65_000, 1);
    let is_told = |bytes: &[u8]| {
        let found = owners(bytes, far);
        found.files.is_empty() && found.gaps.iter().any(|gap| gap.contains("FAT"))
    };
    let mut chain = volume_with_a_file();
    set_entry(&mut chain, 4, 4);
    assert!(is_told(&chain));
    let mut tree = volume_with_a_file();
    set_file(&mut tree, 2048 + 2 * 512, b"LOOP       ", (0x10, 4));
    assert!(is_told(&tree));
    let mut free = volume_with_a_file();
    set_entry(&mut free, 20, 0);
    assert!(is_told(&free));
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let mut bytes = volume_with_a_file();
    set_file(&mut bytes, ROOT + 32, b"OTHER   TXT", (0x20, 40));
    set_entry(&mut bytes, 40, 0xfff);
    let (device, filesystem) = open(&bytes);
    let all = crate::ExtentMap::whole(bytes.len() as u64);
    let paths = |bad: Option<Extent>| {
        let device = FaultAt::new(&device, bad.map(Fault::Unreadable));
        let found = filesystem.owners(&device, &all, 10);
        assert_eq!(found.gaps.is_empty(), bad.is_none());
        let files = found.files.into_iter();
        files.map(|file| file.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(None), ["/", "/OTHER.TXT", "/DIR", "/DIR/NOTE.TXT"]);
    let directory = extent(2048 + 2 * 512, 512);
    assert_eq!(paths(Some(directory)), ["/", "/OTHER.TXT", "/DIR"]);
    let fat = extent(512, 512);
    assert_eq!(paths(Some(fat)), ["/"]);
}
