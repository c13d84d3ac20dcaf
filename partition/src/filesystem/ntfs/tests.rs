//! Volumes that are not what they should be: the golden image with single fields changed.

use super::address::{Lcn, Vcn};
use super::probe;
use super::runs::{Pairs, Run};
use crate::device::MemoryDevice;
use crate::extent::ExtentMap;
use crate::filesystem::{Filesystem, Hazard, usage};
use proptest::prelude::{any, proptest};
use std::path::Path;

fn volume() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/ntfs-512.img.zst");
    zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()
}

fn open(bytes: &[u8]) -> (MemoryDevice, Option<Box<dyn Filesystem>>) {
    let device = MemoryDevice::new(bytes.to_vec(), 512);
    let filesystem = probe(&device).unwrap();
    (device, filesystem)
}

/// Whether the volume is recognized, and copied whole because of damage.
fn is_damaged(bytes: &[u8]) -> bool {
    let (device, filesystem) = open(bytes);
    let hazards = filesystem.unwrap().summary().hazards.clone();
    let whole = ExtentMap::whole(bytes.len() as u64);
    assert_eq!(usage(&device).unwrap().extents, whole);
    hazards
        .iter()
        .any(|hazard| matches!(hazard, Hazard::Damaged(_)))
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// Position of a file record.
fn record(bytes: &[u8], number: usize) -> usize {
    word(bytes, 0x30) * 512 + number * 1024
}

/// Position of the attribute of that type in a record.
fn attribute(bytes: &[u8], number: usize, code: u8) -> usize {
    let record = record(bytes, number);
    let mut at = record + word(bytes, record + 0x14);
    while bytes[at] != code {
        at += word(bytes, at + 4);
    }
    at
}

fn changed(at: impl Fn(&[u8]) -> usize, value: u8) -> Vec<u8> {
    let mut bytes = volume();
    let at = at(&bytes);
    assert_ne!(bytes[at], value, "{at:#x}");
    bytes[at] = value;
    bytes
}

#[test]
fn the_image_itself_is_sound() {
    let (device, filesystem) = open(&volume());
    let filesystem = filesystem.unwrap();
    assert_eq!(filesystem.summary().hazards, []);
    let used = filesystem.used(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&used).is_empty());
    assert!(metadata.total_bytes() < used.total_bytes());
}

#[test]
fn other_boot_sectors_are_none() {
    for (at, value) in [(3, b'M'), (0x0b, 3), (0x0d, 3), (0x0e, 1), (0x10, 2)] {
        assert!(open(&changed(|_| at, value)).1.is_none(), "{at:#x}");
    }
}

#[test]
fn boot_fields_that_cannot_be_are_damage() {
    for (at, value) in [
        (0x0d, 0xf4), // 2 MiB clusters: no cluster for the table
        (0x20, 1),    // sectors as FAT counts them
        (0x2a, 9),    // more sectors than the volume
        (0x33, 9),    // the table outside of it
        (0x3b, 9),    // the mirror outside of it
        (0x40, 0xf0), // records of 64 KiB
        (0x40, 3),    // of three clusters
        (0x44, 0xc0), // index blocks of 2^64 bytes
    ] {
        assert!(is_damaged(&changed(|_| at, value)), "{at:#x} {value:#x}");
    }
}

#[test]
fn torn_or_altered_records_are_damage() {
    // Magic, update sequence number, use flag, and the end of a sector, of each record needed.
    for number in [0, 1, 2, 3, 5, 6] {
        for at in [0, 0x30, 0x16, 510] {
            let bytes = changed(|bytes| record(bytes, number) + at, 0x7e);
            assert!(is_damaged(&bytes), "record {number}, byte {at:#x}");
        }
    }
}

#[test]
fn a_mirror_of_something_else_is_damage() {
    let bytes = changed(|bytes| word(bytes, 0x38) * 512 + 3 * 1024 + 0x50, 0x99);
    assert!(is_damaged(&bytes));
}

#[test]
fn run_lists_of_the_bitmap_that_cannot_be_are_damage() {
    for (offset, value) in [
        (0x40, 0x01), // a hole
        (0x40, 0x91), // nine bytes of place
        (0x40, 0x20), // no length
        (0x41, 0x80), // a negative length
        (0x43, 0x80), // a negative place
        (0x43, 0x7f), // a place beyond the end
        (0x44, 0x11), // a second run
        (0x18, 0x63), // fewer runs than it says
        (0x39, 0x00), // less written than there is
        (0x0c, 0x01), // compressed
    ] {
        let bytes = changed(|bytes| attribute(bytes, 6, 0x80) + offset, value);
        assert!(is_damaged(&bytes), "{offset:#x} {value:#x}");
    }
}

#[test]
fn clusters_without_a_bit_are_used() {
    let mut bytes = volume();
    let data = attribute(&bytes, 6, 0x80);
    let before = usage(&MemoryDevice::new(bytes.clone(), 512))
        .unwrap()
        .extents;
    // All but 256 of the bytes that hold bits: 2048 clusters, of 4095.
    for size in [0x30, 0x38] {
        bytes[data + size..data + size + 2].copy_from_slice(&256_u16.to_le_bytes());
    }
    let after = usage(&MemoryDevice::new(bytes, 512)).unwrap();
    assert_eq!(after.basis, crate::filesystem::Basis::Map);
    let last: ExtentMap = crate::Extent::between(2048 * 512, 2 << 20).unwrap().into();
    assert_eq!(after.extents, before.union(&last));
}

#[test]
fn versions_to_come_are_unknown() {
    let bytes = changed(|bytes| attribute(bytes, 3, 0x70) + 0x18 + 8, 4);
    let (_, filesystem) = open(&bytes);
    let hazards = filesystem.unwrap().summary().hazards.clone();
    let is_unknown = |hazard: &Hazard| matches!(hazard, Hazard::UnknownFeature(_));
    assert!(hazards.iter().any(is_unknown), "{hazards:?}");
}

#[test]
fn runs_are_decoded_with_signs_and_holes() {
    let (_, filesystem) = open(&volume());
    assert!(filesystem.is_some());
    let sector = volume();
    let geometry = super::boot::parse(&sector, 2 << 20).unwrap();
    let bytes = [0x21, 4, 0, 2, 0x01, 7, 0x11, 2, 0xf0, 0x12, 1, 0, 0x10, 0];
    let mut runs = Vec::new();
    let pairs = |bytes| Pairs {
        bytes,
        lowest_vcn: Vcn(10),
        offset_bytes: 0,
    };
    assert_eq!(pairs(&bytes).decode(&geometry, &mut runs).unwrap(), Vcn(24));
    let run = |vcn, lcn: Option<u64>, clusters| Run {
        vcn: Vcn(vcn),
        lcn: lcn.map(Lcn),
        clusters,
    };
    let expected = [
        run(10, Some(512), 4),
        run(14, None, 7),
        run(21, Some(496), 2),
        run(23, Some(512), 1),
    ];
    assert_eq!(runs, expected);
    for cut in 1..bytes.len() {
        assert!(pairs(&bytes[..cut]).decode(&geometry, &mut runs).is_err());
    }
}

proptest! {
    #[test]
    fn no_records_make_it_panic(
        changes in proptest::collection::vec((0_usize..30, 0_usize..1024, any::<u8>()), 1..12)
    ) {
        let mut bytes = volume();
        for (number, at, byte) in changes {
            let at = record(&bytes, number) + at;
            bytes[at] = byte;
        }
        let (device, filesystem) = open(&bytes);
        let whole = ExtentMap::whole(bytes.len() as u64);
        let used = usage(&device).unwrap().extents;
        assert!(used.difference(&whole).is_empty());
        let _ = filesystem.unwrap().owners(&device, &whole, usize::MAX);
    }
}
