//! Descriptors, and what reaches past the volume.

use super::{beside_table, probe};
use crate::device::MemoryDevice;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Basis, Hazard, Kind, usage};

const MIB: usize = 1 << 20;
const PRIMARY: usize = 32 << 10;
/// The volume has 1 MiB.
const BLOCKS: u32 = 512;

fn set(raw: &mut [u8], at: usize, bytes: &[u8]) {
    raw[at..at + bytes.len()].copy_from_slice(bytes);
}

fn descriptor(raw: &mut [u8], index: usize, kind: u8, blocks: u32) {
    let at = PRIMARY + index * 2048;
    set(raw, at, &[kind]);
    set(raw, at + 1, b"CD001\x01");
    set(raw, at + 80, &blocks.to_le_bytes());
    set(raw, at + 84, &blocks.to_be_bytes());
    set(raw, at + 128, &[0, 8, 8, 0]);
}

fn volume(size: usize) -> Vec<u8> {
    let mut raw = vec![0; size];
    descriptor(&mut raw, 0, 1, BLOCKS);
    descriptor(&mut raw, 1, 255, 0);
    set(&mut raw, PRIMARY + 40, b"INSTALLER                       ");
    set(&mut raw, PRIMARY + 813, b"2026010203040506\x00");
    set(&mut raw, PRIMARY + 830, b"2026020203040506\x00");
    raw
}

/// What is used, or why all of it; what is not is unproven, and so copied.
fn used(raw: Vec<u8>) -> Result<ExtentMap, String> {
    let size_bytes = raw.len() as u64;
    let usage = usage(&MemoryDevice::new(raw, 512)).unwrap();
    assert_eq!(usage.summary.as_ref().unwrap().kind, Kind::Iso9660);
    match usage.basis {
        Basis::Map => {
            assert_eq!(usage.extents, ExtentMap::whole(size_bytes));
            Ok(usage.used())
        }
        Basis::Whole { reason, .. } | Basis::Contained { reason } => Err(reason),
    }
}

/// An entry of a partition table of the MBR.
fn partition(raw: &mut [u8], index: usize, kind: u8, start: usize, end: usize) {
    let at = 446 + index * 16;
    raw[at + 4] = kind;
    set(raw, at + 8, &((start / 512) as u32).to_le_bytes());
    set(raw, at + 12, &(((end - start) / 512) as u32).to_le_bytes());
    set(raw, 510, &[0x55, 0xaa]);
}

#[test]
fn used_up_to_the_volume_space_size() {
    let raw = volume(4 * MIB);
    let device = MemoryDevice::new(raw.clone(), 512);
    let summary = probe(&device).unwrap().unwrap().summary().clone();
    assert_eq!(summary.label.as_deref(), Some("INSTALLER"));
    assert_eq!(summary.uuid.as_deref(), Some("2026-02-02-03-04-05-06"));
    assert_eq!(used(raw).unwrap(), ExtentMap::whole(MIB as u64));
}

#[test]
fn the_larger_of_two_volumes_counts() {
    let mut raw = volume(4 * MIB);
    descriptor(&mut raw, 1, 2, 2 * BLOCKS);
    descriptor(&mut raw, 2, 255, 0);
    assert_eq!(used(raw).unwrap(), ExtentMap::whole(2 * MIB as u64));
}

#[test]
fn partitions_past_the_end_are_used() {
    let mut raw = volume(8 * MIB);
    partition(&mut raw, 0, 0x17, 0, MIB);
    partition(&mut raw, 1, 0xef, 2 * MIB, 3 * MIB);
    raw[5 * MIB / 2] = 1;
    let expected: ExtentMap = [(0, MIB), (2 * MIB, MIB)]
        .into_iter()
        .filter_map(|(at, len)| Extent::new(at as u64, len as u64))
        .collect();
    assert_eq!(used(raw.clone()).unwrap(), expected);
    raw[3 * MIB] = 1;
    assert_eq!(used(raw).unwrap(), expected, "what follows is copied too");
}

#[test]
fn apple_partitions_past_the_end_are_used() {
    for (block, at) in [(512_u32, 512), (2048, 2048)] {
        let mut raw = volume(8 * MIB);
        set(&mut raw, 0, b"ER");
        set(&mut raw, 2, &(block as u16).to_be_bytes());
        set(&mut raw, at, b"PM");
        set(&mut raw, at + 4, &1_u32.to_be_bytes());
        set(&mut raw, at + 8, &(4 * MIB as u32 / block).to_be_bytes());
        set(&mut raw, at + 12, &(MIB as u32 / block).to_be_bytes());
        raw[4 * MIB + 5] = 1;
        let used = used(raw).unwrap();
        assert_eq!((used.end_bytes(), used.total_bytes()), (5 << 20, 2 << 20));
    }
}

#[test]
fn boot_images_past_the_end_make_it_whole() {
    let catalog = 30;
    for (sector, is_whole) in [(100_u32, false), (512, true), (2000, true)] {
        let mut raw = volume(8 * MIB);
        descriptor(&mut raw, 1, 0, 0);
        set(&mut raw, PRIMARY + 2048 + 7, b"EL TORITO SPECIFICATION");
        set(&mut raw, PRIMARY + 2048 + 71, &[catalog]);
        let at = usize::from(catalog) * 2048;
        set(&mut raw, at, &[1]);
        set(&mut raw, at + 30, &[0x55, 0xaa]);
        set(&mut raw, at + 32, &[0x88, 0, 0, 0, 0, 0, 4, 0]);
        set(&mut raw, at + 40, &sector.to_le_bytes());
        let device = MemoryDevice::new(raw.clone(), 512);
        let image = Extent::new(u64::from(sector) * 2048, 2048).unwrap();
        let beside = beside_table(&device).unwrap();
        assert_eq!(beside.contains(image), sector != 4000);
        assert_eq!(used(raw).is_err(), is_whole, "{sector}");
    }
}

#[test]
fn numbers_that_contradict_each_other_are_damage() {
    for at in [PRIMARY + 80, PRIMARY + 87, PRIMARY + 128, PRIMARY + 131] {
        let mut raw = volume(4 * MIB);
        raw[at] ^= 1;
        let device = MemoryDevice::new(raw.clone(), 512);
        let summary = probe(&device).unwrap().unwrap().summary().clone();
        let is_told = matches!(summary.hazards[..], [Hazard::Damaged(_)]);
        assert!(is_told, "{at}: {:?}", summary.hazards);
        assert!(used(raw).is_err());
        let whole = ExtentMap::whole(4 << 20);
        assert_eq!(beside_table(&device).unwrap(), whole);
    }
    let short = volume(MIB - 2048);
    let reason = used(short).unwrap_err();
    assert!(reason.contains("claims 1048576 bytes"), "{reason}");
}

#[test]
fn udf_and_high_sierra_are_whole() {
    let mut bridge = volume(4 * MIB);
    for (index, identifier) in [(2, b"BEA01"), (3, b"NSR02"), (4, b"TEA01")] {
        set(&mut bridge, PRIMARY + index * 2048 + 1, identifier);
        bridge[PRIMARY + index * 2048 + 6] = 1;
    }
    let device = MemoryDevice::new(bridge, 512);
    assert_eq!(beside_table(&device).unwrap(), ExtentMap::whole(4 << 20));
    let usage = usage(&device).unwrap();
    let summary = usage.summary.unwrap();
    assert_eq!((summary.kind, summary.hazards), (Kind::Udf, vec![]));
    let mut sierra = vec![0; 4 * MIB];
    set(&mut sierra, PRIMARY + 8, b"\x01CDROM\x01");
    let reason = used(sierra).unwrap_err();
    assert!(reason.contains("no primary volume descriptor"), "{reason}");
}
