//! Superblocks field by field.

use super::{NO_TABLE, probe};
use crate::device::MemoryDevice;
use crate::extent::ExtentMap;
use crate::filesystem::{Hazard, Summary, usage};

/// A superblock of 10,000 bytes on a volume of 100,000.
fn volume() -> Vec<u8> {
    let mut raw = vec![0; 100_000];
    raw[..4].copy_from_slice(b"hsqs");
    raw[12..16].copy_from_slice(&131_072_u32.to_le_bytes());
    raw[20] = 1;
    raw[22] = 17;
    raw[28] = 4;
    raw[40..48].copy_from_slice(&10_000_u64.to_le_bytes());
    for at in [48, 64, 72] {
        raw[at..at + 8].copy_from_slice(&9000_u64.to_le_bytes());
    }
    for at in [56, 80, 88] {
        raw[at..at + 8].copy_from_slice(&NO_TABLE.to_le_bytes());
    }
    raw
}

fn read(raw: Vec<u8>) -> (Summary, Option<u64>, String) {
    let device = MemoryDevice::new(raw, 512);
    let filesystem = probe(&device).unwrap().unwrap();
    let used = filesystem.used(&device).unwrap();
    let end_bytes = used.map(|used| used.end_bytes());
    let reason = filesystem.whole_because();
    (filesystem.summary().clone(), end_bytes, reason)
}

#[test]
fn used_to_the_next_4_kib() {
    let (summary, end_bytes, _) = read(volume());
    assert_eq!((summary.size_bytes, summary.hazards), (10_000, vec![]));
    assert_eq!(end_bytes, Some(12_288));
    let mut unpadded = volume();
    unpadded.truncate(10_000);
    assert_eq!(read(unpadded).1, Some(10_000));
}

#[test]
fn nothing_that_follows_is_proven_free() {
    let usage = usage(&MemoryDevice::new(volume(), 512)).unwrap();
    assert_eq!(usage.used(), ExtentMap::whole(12_288));
    let tail = ExtentMap::whole(12_288).complement(100_000);
    assert_eq!(usage.unproven, tail);
    assert_eq!(usage.extents, ExtentMap::whole(100_000));
}

#[test]
fn whole_for_what_is_not_known() {
    for (at, value) in [(20, 7), (25, 0x10), (30, 1)] {
        let mut raw = volume();
        raw[at] = value;
        let (summary, end_bytes, _) = read(raw);
        assert!(matches!(summary.hazards[..], [Hazard::UnknownFeature(_)]));
        assert_eq!(end_bytes, None);
    }
}

#[test]
fn whole_for_damage() {
    for (at, value) in [(12, 1), (22, 16), (43, 1), (41, 0), (49, 0xff), (71, 1)] {
        let mut raw = volume();
        raw[at] = value;
        let (summary, end_bytes, _) = read(raw);
        let is_told = matches!(summary.hazards[..], [Hazard::Damaged(_)]);
        assert!(is_told, "{at}: {:?}", summary.hazards);
        assert_eq!(end_bytes, None);
    }
}

#[test]
fn earlier_versions_are_whole() {
    for (magic, place) in [(b"hsqs", 28), (b"sqsh", 29)] {
        let mut raw = volume();
        raw[..4].copy_from_slice(magic);
        raw[28..30].fill(0);
        raw[place] = 3;
        let (summary, end_bytes, reason) = read(raw);
        assert_eq!((summary.size_bytes, end_bytes), (100_000, None));
        assert!(reason.ends_with("this is version 3"), "{reason}");
    }
    let mut raw = volume();
    raw[28] = 5;
    assert!(probe(&MemoryDevice::new(raw, 512)).unwrap().is_none());
}
