//! Superblocks field by field.

use super::{MAGIC, probe};
use crate::device::MemoryDevice;
use crate::filesystem::{Hazard, Summary};

const BLOCK: usize = 4096;

/// A superblock of 5 blocks on a volume of 20, with its checksum.
fn volume(fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut raw = vec![0; 20 * BLOCK];
    let all: [(usize, &[u8]); 4] = [
        (0, &MAGIC.to_le_bytes()),
        (8, &[1]),
        (12, &[12]),
        (36, &[5]),
    ];
    for (at, field) in all.iter().chain(fields) {
        raw[1024 + at..][..field.len()].copy_from_slice(field);
    }
    let sum = !crc32c::crc32c(&raw[1024..BLOCK]);
    raw[1028..1032].copy_from_slice(&sum.to_le_bytes());
    raw
}

fn read(raw: Vec<u8>) -> (Summary, Option<u64>) {
    let device = MemoryDevice::new(raw, 512);
    let filesystem = probe(&device).unwrap().unwrap();
    let used = filesystem.used(&device).unwrap();
    let end_bytes = used.map(|used| used.end_bytes());
    (filesystem.summary().clone(), end_bytes)
}

#[test]
fn used_to_the_last_block() {
    let (summary, end_bytes) = read(volume(&[(64, b"label")]));
    assert_eq!((summary.hazards, end_bytes), (vec![], Some(5 * 4096)));
    assert_eq!(summary.label.as_deref(), Some("label"));
    assert_eq!((summary.size_bytes, summary.uuid), (5 * 4096, None));
}

#[test]
fn high_bits_count_with_their_feature_only() {
    assert_eq!(read(volume(&[(14, &[1])])).1, Some(5 * 4096));
    let (summary, end_bytes) = read(volume(&[(14, &[1]), (80, &[0x80])]));
    assert!(matches!(summary.hazards[..], [Hazard::Damaged(_)]));
    assert_eq!(end_bytes, None);
}

#[test]
fn whole_for_devices_and_unknown_features() {
    let (summary, end_bytes) = read(volume(&[(80, &[8]), (86, &[1])]));
    assert!(matches!(summary.hazards[..], [Hazard::MultiDevice(_)]));
    assert_eq!(end_bytes, None);
    // The bit of a second compression.
    assert_eq!(read(volume(&[(80, &[8])])).1, Some(5 * 4096));
    let (summary, _) = read(volume(&[(81, &[1])]));
    assert!(matches!(summary.hazards[..], [Hazard::UnknownFeature(_)]));
}

#[test]
fn whole_for_damage() {
    let places: [(usize, u8); 5] = [(36, 0), (36, 21), (40, 5), (44, 9), (37, 1)];
    for (at, value) in places {
        let (summary, end_bytes) = read(volume(&[(at, &[value])]));
        let is_told = matches!(summary.hazards[..], [Hazard::Damaged(_)]);
        assert!(is_told, "{at}: {:?}", summary.hazards);
        assert_eq!(end_bytes, None);
    }
    for at in [1024 + 20, 1028, BLOCK - 1] {
        let mut raw = volume(&[]);
        raw[at] ^= 1;
        let hazards = read(raw).0.hazards;
        let [Hazard::Damaged(how)] = &hazards[..] else {
            panic!("{hazards:?}");
        };
        assert!(how.contains("EROFS superblock at byte 0x400: checksum"));
    }
}

#[test]
fn no_volume_is_too_short() {
    for len in [0, 1024, 1151, 1152, 1300, 1536, 2048, 4096] {
        for shift in [9, 10, 11, 12, 16] {
            let mut raw = volume(&[(12, &[shift]), (36, &[2])]);
            raw.truncate(len);
            let device = MemoryDevice::new(raw, 512);
            let _ = probe(&device).unwrap();
        }
    }
}
