//! Volumes with more than one signature.

use super::{probe, recognize};
use crate::device::{Geometry, MemoryDevice, ReadAt};
use crate::filesystem::golden::image;
use crate::filesystem::{Hazard, Kind, Summary, usage, usage_by, usage_or_whole};
use std::sync::Mutex;

fn swap() -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
    bytes[1024] = 1;
    bytes[1028] = 255;
    bytes
}

fn summary(bytes: Vec<u8>) -> Option<Summary> {
    let filesystem = probe(&MemoryDevice::new(bytes, 512)).unwrap();
    filesystem.map(|filesystem| filesystem.summary().clone())
}

#[test]
fn one_signature_is_an_answer() {
    let summary = summary(swap()).unwrap();
    assert_eq!((summary.kind, summary.size_bytes), (Kind::Swap, 1 << 20));
    assert_eq!(summary.hazards, []);
}

#[test]
fn two_signatures_are_damage_and_the_volume_is_whole() {
    let mut bytes = swap();
    bytes[32_769..32_774].copy_from_slice(b"CD001");
    let usage = usage(&MemoryDevice::new(bytes, 512)).unwrap();
    assert_eq!(usage.extents.total_bytes(), 1 << 20);
    let hazards = usage.summary.unwrap().hazards;
    let [Hazard::Damaged(how)] = &hazards[..] else {
        panic!("{hazards:?}");
    };
    assert!(how.starts_with("both iso9660 and swap signatures"), "{how}");
}

#[test]
fn a_raid_member_is_one_whatever_is_inside() {
    let mut bytes = swap();
    // Version 1.0: at the last multiple of 4 KiB that leaves 8 KiB.
    let sector = ((1u64 << 20) / 512 - 16) & !7;
    let at = (sector * 512) as usize;
    bytes[at..at + 4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    bytes[at + 4] = 1;
    bytes[at + 92] = 2;
    bytes[at + 144..at + 152].copy_from_slice(&sector.to_le_bytes());
    let summary = summary(bytes).unwrap();
    assert_eq!(summary.kind, Kind::Mdraid);
    assert!(matches!(summary.hazards[..], [Hazard::MultiDevice(_)]));
}

#[test]
fn nothing_is_nothing() {
    for len in [0, 1, 511, 4096, 70_000] {
        assert_eq!(summary(vec![0; len]), None);
        assert_eq!(summary(vec![0xff; len]), None);
    }
}

/// A volume that notes where it is read.
struct Noted {
    volume: MemoryDevice,
    reads: Mutex<Vec<u64>>,
}

impl ReadAt for Noted {
    fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> crate::Result<()> {
        self.reads.lock().unwrap().push(offset_bytes);
        self.volume.read_exact_at(buffer, offset_bytes)
    }
}

#[test]
fn what_was_recognized_is_not_searched_for_again() {
    let volume = Noted {
        volume: image("ext4"),
        reads: Mutex::default(),
    };
    let reads = || std::mem::take(&mut *volume.reads.lock().unwrap());
    let expected = usage(&volume).unwrap();
    assert!(reads().contains(&0), "others have their signatures there");
    let kept = recognize(&volume).unwrap().unwrap();
    let _ = reads();
    let found = usage_by(&volume, kept.clone()).unwrap();
    assert_eq!(found.extents, expected.extents);
    assert_eq!(found.token, expected.token);
    let filesystem = found.filesystem().unwrap();
    assert!(filesystem.metadata(&volume).unwrap().is_some());
    assert!(found.known_bad(&volume).is_empty());
    let whole = usage_or_whole(&volume, Some(kept));
    assert_eq!(whole.extents, expected.extents);
    assert!(!reads().contains(&0));
}
