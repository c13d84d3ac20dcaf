//! Disks in memory: without a table, and gaps between the partitions of one.

use super::reading::is_plausible;
use super::{MEBIBYTE, Partition, PartitionType, Table, inspect};
use crate::device::MemoryDevice;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Kind;
use crate::inspect::disk_usage;
use crate::table::Scheme;

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
    // 256 pages of 4 KiB are the swap space's; what lies behind them is nobody's.
    let behind: ExtentMap = mebibytes(1, 4).into();
    assert_eq!(usage.extents, ExtentMap::whole(4096).union(&behind));
    assert_eq!(usage.unproven, behind);
    assert_eq!((usage.volumes.len(), usage.outside.is_empty()), (1, true));
}

#[test]
fn a_blank_disk_has_no_volumes() {
    for size_bytes in [0, 100, 4 << 20] {
        let layout = inspect(&MemoryDevice::zeroed(size_bytes)).unwrap();
        assert!(layout.is_blank && layout.volumes.is_empty());
    }
}
