//! What smaller targets cut off, and what they have no room for.

use super::{Cut, Fitting, Overrun, cut_of_disk, cut_of_volume, data_in};
use crate::device::{Geometry, MemoryDevice};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Kind, Usage, usage};
use crate::inspect::{disk_usage, inspect};
use crate::table::{Partition, PartitionType, Rewrite, Table};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const SIZE: usize = 8 << 20;

fn cut(fitting: Fitting) -> Cut {
    match fitting {
        Fitting::Fits(cut) => *cut,
        Fitting::Overruns(overrun) => panic!("{overrun:?}"),
    }
}

fn overrun(fitting: Fitting) -> Overrun {
    match fitting {
        Fitting::Overruns(overrun) => overrun,
        Fitting::Fits(cut) => panic!("{cut:?}"),
    }
}

/// A swap space of 1 MiB in 8 MiB.
fn swap() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
    bytes[1024] = 1;
    bytes[1028] = 255;
    bytes
}

#[test]
fn a_volume_fits_a_target_that_ends_behind_its_filesystem() {
    let volume = MemoryDevice::new(swap(), 512);
    let usage = usage(&volume).unwrap();
    assert_eq!(usage.end_bytes(SIZE as u64), Some(MIB));
    let cut = cut(cut_of_volume(&volume, &usage, 3 * MIB).unwrap());
    assert_eq!((cut.target_bytes, cut.unproven_bytes), (3 * MIB, 2 * MIB));
    let end = Extent::between(3 * MIB, SIZE as u64).unwrap();
    assert_eq!(cut.rest.unproven, end.into());
    let overrun = overrun(cut_of_volume(&volume, &usage, MIB - 512).unwrap());
    let kind = Kind::Swap;
    assert_eq!(
        overrun,
        Overrun::Filesystem {
            kind,
            end_bytes: MIB
        }
    );
    assert_eq!(overrun.least_bytes(), MIB);
}

/// The footer of a fixed disk of that many bytes.
fn footer(disk_bytes: u64) -> [u8; 512] {
    let mut footer = [0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[48..56].copy_from_slice(&disk_bytes.to_be_bytes());
    footer[60..64].copy_from_slice(&2_u32.to_be_bytes());
    let sum: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

#[test]
fn the_footer_of_a_virtual_disk_is_no_part_of_it() {
    let disk_bytes = SIZE as u64 - 512;
    let whole = ExtentMap::whole(SIZE as u64);
    for (claimed_bytes, end_bytes) in [(disk_bytes, disk_bytes), (disk_bytes - 1, SIZE as u64)] {
        let mut bytes = vec![0xff; SIZE];
        bytes[SIZE - 512..].copy_from_slice(&footer(claimed_bytes));
        let volume = MemoryDevice::new(bytes, 512);
        let usage = usage(&volume).unwrap();
        let data = data_in(&volume, &whole).unwrap();
        assert_eq!(data, ExtentMap::whole(end_bytes));
        let found = cut_of_volume(&volume, &usage, disk_bytes).unwrap();
        assert_eq!(matches!(found, Fitting::Fits(_)), end_bytes == disk_bytes);
        let overrun = overrun(cut_of_volume(&volume, &usage, MIB).unwrap());
        assert!(matches!(overrun, Overrun::Whole { .. }), "{overrun:?}");
        assert_eq!(overrun.least_bytes(), end_bytes);
    }
    let short = MemoryDevice::new(vec![1; 100], 512);
    let all = data_in(&short, &ExtentMap::whole(100)).unwrap();
    assert_eq!(all, ExtentMap::whole(100));
}

/// A disk of 8 MiB with one partition, that of 1 to 3 MiB.
fn disk() -> MemoryDevice {
    let disk = MemoryDevice::zeroed(SIZE);
    let mut table = Table::new_gpt(Geometry::new(SIZE as u64, 512), Uuid::from_u128(1)).unwrap();
    table.partitions.push(Partition {
        number: 1,
        extent: Extent::between(MIB, 3 * MIB).unwrap(),
        partition_type: PartitionType::Gpt(Uuid::from_u128(2)),
        guid: Some(Uuid::from_u128(3)),
        name: String::new(),
        attributes: 0,
        is_bootable: false,
    });
    let rewrite = Rewrite::plan(&disk, &disk, &table).unwrap();
    rewrite.carry_out(&disk).unwrap();
    disk
}

fn cut_disk(disk: &MemoryDevice, target_bytes: u64) -> Fitting {
    let usage = disk_usage(disk).unwrap().into_usage();
    cut_of_disk(disk, &inspect(disk).unwrap(), usage, target_bytes).unwrap()
}

#[test]
fn a_disk_fits_a_target_that_has_its_partitions_and_a_backup_of_its_table() {
    let disk = disk();
    let cut = cut(cut_disk(&disk, 4 * MIB));
    // 33 sectors of the target are its own backup.
    let kept_bytes = 4 * MIB - 33 * 512;
    let own = Extent::between(SIZE as u64 - 33 * 512, SIZE as u64).unwrap();
    let end = Extent::between(kept_bytes, SIZE as u64).unwrap();
    assert_eq!(
        cut.rest.unproven,
        ExtentMap::from(end).difference(&own.into())
    );
    let overrun = overrun(cut_disk(&disk, 3 * MIB - 512));
    let least_bytes = 3 * MIB + 33 * 512;
    assert_eq!(
        overrun,
        Overrun::Partition {
            number: 1,
            end_bytes: 3 * MIB,
            least_bytes,
        }
    );
    assert_eq!(overrun.least_bytes(), least_bytes);
}

proptest! {
    #[test]
    fn a_part_has_what_lies_in_it(start in 0_u64..64, len in 1_u64..64, at in 0_u64..128) {
        let all = ExtentMap::whole(128);
        let mut usage = Usage::mapped(all.clone());
        usage.unproven = Extent::between(at, 128).into_iter().collect();
        let part = Extent::new(start, len);
        let within = usage.within(part);
        let part: ExtentMap = part.into_iter().collect();
        prop_assert_eq!(&within.extents, &part);
        prop_assert!(within.unproven.difference(&part).is_empty());
        prop_assert_eq!(usage.end_bytes(128), Some(at).filter(|_| at < 128));
        let rest = usage.within(Extent::between(start + len, 128));
        let before = usage.within(Extent::new(0, start));
        let unproven = before.unproven.union(&within.unproven).union(&rest.unproven);
        prop_assert_eq!(unproven, usage.unproven);
    }
}
