//! Disks in memory: without a table, and gaps between the partitions of one.

use super::usage::gap_extents;
use super::{MEBIBYTE, Partition, PartitionType, Scheme, Table, inspect, is_plausible};
use crate::device::{Geometry, MemoryDevice, ReadAt};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Kind;
use crate::inspect::disk_usage;

fn partition(number: u32, type_byte: u8, start_mebibytes: u64, end_mebibytes: u64) -> Partition {
    Partition {
        number,
        extent: mebibytes(start_mebibytes, end_mebibytes),
        partition_type: PartitionType::Mbr(type_byte),
        guid: None,
        name: String::new(),
        attributes: 0,
        is_bootable: false,
    }
}

fn mebibytes(start: u64, end: u64) -> Extent {
    Extent::between(start * MEBIBYTE, end * MEBIBYTE).unwrap()
}

fn table(partitions: Vec<Partition>) -> Table {
    Table {
        scheme: Scheme::Mbr,
        disk_guid: None,
        disk_signature: 1,
        logical_sector_bytes: 512,
        usable: mebibytes(1, 1000),
        slots_max: 4,
        entry_bytes: 16,
        partitions,
    }
}

/// A disk too large for memory, of which only the size is asked.
struct Size(u64);

impl ReadAt for Size {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.0, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], _offset_bytes: u64) -> Result<()> {
        buffer.fill(0);
        Ok(())
    }
}

#[test]
fn of_large_gaps_the_edges_are_copied_and_small_ones_whole() {
    let table = table(vec![
        partition(1, 0x83, 100, 200),
        partition(2, 0x05, 210, 400),
        partition(5, 0x83, 211, 300),
        partition(6, 0x83, 350, 400),
    ]);
    let expected: ExtentMap = [
        // Before the first partition, where boot loaders are, sixteen.
        mebibytes(0, 16),
        mebibytes(99, 100),
        // A small gap and the extended boot record in front of the logical partition.
        mebibytes(200, 211),
        // A gap inside the extended partition, with an extended boot record at its end.
        mebibytes(300, 301),
        mebibytes(349, 350),
        mebibytes(400, 401),
        mebibytes(999, 1000),
    ]
    .into_iter()
    .collect();
    assert_eq!(gap_extents(&Size(1000 * MEBIBYTE), &table), expected);
}

#[test]
fn a_table_without_a_real_partition_is_implausible() {
    assert!(!is_plausible(&table(vec![])));
    assert!(!is_plausible(&table(vec![partition(1, 0x0c, 0, 10)])));
    assert!(is_plausible(&table(vec![partition(1, 0x0c, 1, 10)])));
    let gpt = Table {
        scheme: Scheme::Gpt,
        ..table(vec![])
    };
    assert!(is_plausible(&gpt));
}

fn swap() -> MemoryDevice {
    let mut bytes = vec![0; 4 << 20];
    bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
    bytes[1024] = 1;
    bytes[1028] = 255;
    MemoryDevice::new(bytes, 512)
}

#[test]
fn a_filesystem_on_the_whole_disk_is_the_only_volume() {
    let disk = swap();
    let layout = inspect(&disk).unwrap();
    assert!(layout.table.is_none() && !layout.is_blank);
    let [volume] = &layout.volumes[..] else {
        panic!("{:?}", layout.volumes);
    };
    let kind = volume.filesystem.as_ref().map(|summary| summary.kind);
    assert_eq!((volume.extent, kind), (mebibytes(0, 4), Some(Kind::Swap)));
    let usage = disk_usage(&disk).unwrap();
    assert_eq!(usage.extents, ExtentMap::whole(4096));
    assert_eq!((usage.volumes.len(), usage.outside.is_empty()), (1, true));
}

#[test]
fn a_blank_disk_has_no_volumes() {
    for size_bytes in [0, 100, 4 << 20] {
        let layout = inspect(&MemoryDevice::zeroed(size_bytes)).unwrap();
        assert!(layout.is_blank && layout.volumes.is_empty());
    }
}
