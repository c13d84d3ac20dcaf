//! Tables in memory: what is written is what is read, damage is found, order is kept.

mod damage;
mod identity;
mod kept;
mod mbr;
mod order;

use super::types::{EFI_SYSTEM, LINUX_FILESYSTEM, MBR_EXTENDED_LBA, MBR_LINUX};
use super::{Finding, Found, Partition, PartitionType, Scheme, Table, read, write};
use crate::device::{Geometry, MemoryDevice, ReadAt, WriteAt};
use crate::error::Error;
use crate::extent::Extent;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
    Extent::new(offset_bytes, len_bytes).unwrap()
}

fn gpt_partition(number: u32, extent: Extent, name: &str) -> Partition {
    Partition {
        number,
        extent,
        partition_type: PartitionType::Gpt(LINUX_FILESYSTEM),
        guid: Some(Uuid::from_u128(u128::from(number) << 64 | 7)),
        name: name.to_owned(),
        attributes: 0,
        is_bootable: false,
    }
}

fn mbr_partition(number: u32, extent: Extent, type_byte: u8) -> Partition {
    Partition {
        number,
        extent,
        partition_type: PartitionType::Mbr(type_byte),
        guid: None,
        name: String::new(),
        attributes: 0,
        is_bootable: false,
    }
}

/// A disk of 8 MiB.
fn disk(sector_bytes: u32) -> MemoryDevice {
    MemoryDevice::new(vec![0; 8 << 20], sector_bytes)
}

fn gpt(sector_bytes: u32) -> Table {
    let geometry = Geometry::new(8 * MIB, sector_bytes);
    let mut table = Table::new_gpt(geometry, Uuid::from_u128(0x1234)).unwrap();
    table.disk_signature = 0xdead_beef;
    table.partitions = vec![
        gpt_partition(1, extent(MIB, MIB), "EFI"),
        gpt_partition(3, extent(4 * MIB, MIB), "Wurzel äöü 😀"),
        gpt_partition(15, extent(2 * MIB, MIB), ""),
        gpt_partition(128, extent(6 * MIB, 4096), &"x".repeat(36)),
    ];
    table.partitions[0].partition_type = PartitionType::Gpt(EFI_SYSTEM);
    table.partitions[0].attributes = 1 | 1 << 63;
    table
}

fn mbr(sector_bytes: u32) -> Table {
    let mut table = Table::new_mbr(Geometry::new(8 * MIB, sector_bytes), 0x0102_0304).unwrap();
    table.partitions = vec![
        mbr_partition(1, extent(MIB, MIB), MBR_LINUX),
        mbr_partition(2, extent(2 * MIB, 6 * MIB), MBR_EXTENDED_LBA),
        mbr_partition(5, extent(5 * MIB, MIB), MBR_LINUX),
        mbr_partition(6, extent(3 * MIB, MIB), 0x82),
        mbr_partition(7, extent(7 * MIB, MIB / 2), MBR_LINUX),
    ];
    table.partitions[0].is_bootable = true;
    table
}

fn written(table: &Table) -> MemoryDevice {
    let disk = disk(table.logical_sector_bytes);
    write(&disk, table).unwrap();
    disk
}

fn table_of(disk: &dyn ReadAt) -> (Table, Vec<Finding>) {
    match read(disk).unwrap() {
        Found::Table(table, findings) => (table, findings),
        other => panic!("{other:?}"),
    }
}

/// A copy of `disk` with `bytes` at `offset_bytes`.
fn with(disk: &MemoryDevice, offset_bytes: u64, bytes: &[u8]) -> MemoryDevice {
    let copy = MemoryDevice::new(disk.to_vec(), disk.geometry().logical_sector_bytes);
    copy.write_all_at(bytes, offset_bytes).unwrap();
    copy
}

fn invalid(table: &Table) -> String {
    let disk = disk(512);
    match write(&disk, table) {
        Err(Error::Invalid(message)) => {
            assert!(
                disk.to_vec().iter().all(|&byte| byte == 0),
                "written in spite of: {message}"
            );
            message
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_at_both_sector_sizes() {
    for sector_bytes in [512, 4096] {
        for table in [gpt(sector_bytes), mbr(sector_bytes)] {
            assert_eq!(table_of(&written(&table)), (table, vec![]));
        }
    }
}

#[test]
fn an_image_of_a_4096_sector_disk_is_found_behind_512_byte_sectors_and_back() {
    for (sector_bytes, other) in [(512, 4096), (4096, 512)] {
        let table = gpt(sector_bytes);
        let image = MemoryDevice::new(written(&table).to_vec(), other);
        assert_eq!(table_of(&image), (table, vec![]));
    }
}

#[test]
fn blank_disks_filesystems_and_unknown_bytes_are_told_apart() {
    assert_eq!(read(&disk(512)).unwrap(), Found::Blank);
    assert_eq!(read(&MemoryDevice::zeroed(0)).unwrap(), Found::Blank);
    assert_eq!(read(&MemoryDevice::zeroed(512)).unwrap(), Found::Blank);
    let unknown = with(&disk(512), 5000, b"something");
    assert_eq!(read(&unknown).unwrap(), Found::NoTable);
    let mut ntfs = [0; 512];
    ntfs[..11].copy_from_slice(b"\xeb\x52\x90NTFS    ");
    ntfs[510..].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(read(&with(&disk(512), 0, &ntfs)).unwrap(), Found::NoTable);
    // A boot sector whose code is where entries would be.
    let mut code = [0x90; 512];
    code[510..].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(read(&with(&disk(512), 0, &code)).unwrap(), Found::NoTable);
}

#[test]
fn a_backup_left_behind_other_data_is_no_table_but_one_behind_zeroes_is() {
    let disk = written(&gpt(512));
    let zeroed = with(&disk, 0, &vec![0; 1 << 20]);
    let (table, findings) = table_of(&zeroed);
    assert_eq!(table.partitions, gpt(512).partitions);
    assert!(matches!(
        &findings[..],
        [Finding::PrimaryDamaged(_), Finding::ProtectiveMbr(_)]
    ));
    let formatted = with(&zeroed, 1024 + 0x38, &[0x53, 0xef]);
    assert_eq!(read(&formatted).unwrap(), Found::NoTable);
}

#[test]
fn an_mbr_with_partitions_counts_before_a_gpt_without_protective_one() {
    let disk = written(&gpt(512));
    let record = written(&mbr(512)).to_vec();
    let (table, _) = table_of(&with(&disk, 0, &record[..512]));
    // Its extended partition holds zeroes, so no logical ones.
    assert_eq!(table.partitions, mbr(512).partitions[..2]);
}

#[test]
fn an_empty_mbr_that_replaced_a_gpt_counts_but_one_without_signature_does_not() {
    let disk = written(&gpt(512));
    let mut record = [0; 512];
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    let (table, findings) = table_of(&with(&disk, 0, &record));
    assert_eq!(table.partitions, gpt(512).partitions);
    assert!(matches!(&findings[..], [Finding::ProtectiveMbr(_)]));
    record[440] = 1;
    let (table, findings) = table_of(&with(&disk, 0, &record));
    assert_eq!((table.scheme, findings), (Scheme::Mbr, vec![]));
    assert_eq!(table.partitions, []);
}

#[test]
fn a_protective_mbr_without_gpt_is_corrupt() {
    let sector = written(&gpt(512)).to_vec()[..512].to_vec();
    let error = read(&with(&disk(512), 0, &sector)).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

#[test]
fn hybrid_records_are_reported() {
    let disk = written(&gpt(512));
    let mut entry = [0; 16];
    entry[4] = 0x83;
    entry[8..12].copy_from_slice(&2048_u32.to_le_bytes());
    entry[12..16].copy_from_slice(&2048_u32.to_le_bytes());
    let (table, findings) = table_of(&with(&disk, 446 + 16, &entry));
    assert_eq!(table, gpt(512));
    assert!(matches!(&findings[..], [Finding::Hybrid(text)] if text.contains("type 83")));
}

#[test]
fn tables_that_contradict_themselves_or_the_disk_are_refused_before_writing() {
    type Change = fn(&mut Table);
    let cases: &[(Change, &str)] = &[
        (|t| t.partitions[0].extent = extent(MIB, 3 * MIB), "overlap"),
        (
            |t| t.partitions[0].extent = extent(MIB + 1, MIB),
            "between sectors",
        ),
        (
            |t| t.partitions[0].extent = extent(7 * MIB, 2 * MIB),
            "room for partitions",
        ),
        (|t| t.partitions[1].number = 1, "number 1"),
        (|t| t.partitions[1].number = 129, "no slot"),
        (|t| t.partitions[1].number = 0, "no slot"),
        (|t| t.partitions[1].name = "x".repeat(37), "36 characters"),
        (|t| t.partitions[1].name = "😀".repeat(19), "36 characters"),
        (|t| t.partitions[1].guid = None, "GUID"),
        (
            |t| t.partitions[1].partition_type = PartitionType::Mbr(0x83),
            "type",
        ),
        (
            |t| t.partitions[1].partition_type = PartitionType::Gpt(Uuid::nil()),
            "type",
        ),
        (|t| t.disk_guid = None, "disk GUID"),
        (|t| t.slots_max = 1025, "slots"),
        (|t| t.slots_max = 0, "slots"),
        (|t| t.usable = extent(512, 4 * MIB), "room for partitions"),
        (|t| t.usable = extent(MIB, 7 * MIB), "room for partitions"),
        (|t| t.logical_sector_bytes = 256, "sectors of 256"),
    ];
    for (change, words) in cases {
        let mut table = gpt(512);
        change(&mut table);
        let message = invalid(&table);
        assert!(
            message.contains(words),
            "{message:?} does not say {words:?}"
        );
    }
    // A disk with large sectors can't take a table that counts in small ones.
    assert!(matches!(
        write(&disk(4096), &gpt(512)),
        Err(Error::Invalid(_))
    ));
}

#[test]
fn boot_code_and_signature_stay_but_a_filesystem_s_boot_sector_does_not() {
    let mut record = [0; 512];
    record[..444].fill(0x77);
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    let old = with(&disk(512), 0, &record);
    let mut table = gpt(512);
    table.disk_signature = 0;
    write(&old, &table).unwrap();
    assert_eq!(old.to_vec()[..444], record[..444]);
    let mut fat = [0; 512];
    fat[..24].copy_from_slice(
        b"\xeb\x58\x90mkfs.fat\x00\x02\x08\x20\x00\x02\x00\x00\x00\x40\xf8\x10\x00",
    );
    fat[510..].copy_from_slice(&[0x55, 0xaa]);
    let old = with(&disk(512), 0, &fat);
    assert_eq!(read(&old).unwrap(), Found::NoTable);
    write(&old, &table).unwrap();
    assert_eq!(table_of(&old), (table, vec![]));
}

#[test]
fn no_header_of_an_older_table_survives() {
    let tables = [gpt(512), gpt(4096), mbr(512)];
    for old in &tables {
        for new in &tables {
            let disk = MemoryDevice::new(written(old).to_vec(), 512);
            write(&disk, new).unwrap();
            assert_eq!(table_of(&disk), (new.clone(), vec![]));
            let headers = disk
                .to_vec()
                .chunks(512)
                .filter(|sector| sector.starts_with(b"EFI PART"))
                .count();
            let expected = if new.disk_guid.is_some() { 2 } else { 0 };
            assert_eq!(headers, expected, "{old:?} → {new:?}");
        }
    }
}

#[test]
fn a_table_moves_to_a_larger_or_smaller_disk_or_says_what_does_not_fit() {
    let table = gpt(512);
    let larger = super::relocated(&table, 16 * MIB).unwrap();
    assert_eq!(larger.usable.end_bytes(), 16 * MIB - 33 * 512);
    assert_eq!(larger.partitions, table.partitions);
    let disk = MemoryDevice::zeroed(16 << 20);
    write(&disk, &larger).unwrap();
    assert_eq!(table_of(&disk).0, larger);
    let smaller = super::relocated(&table, 6 * MIB + 4096 + 33 * 512).unwrap();
    assert_eq!(smaller.partitions, table.partitions);
    let error = super::relocated(&table, 6 * MIB).unwrap_err().to_string();
    assert!(error.contains("partition 128"), "{error}");
    assert!(super::relocated(&mbr(512), 7 * MIB).is_err());
}

#[test]
fn raw_extents_are_what_a_write_touches() {
    for sector_bytes in [512, 4096] {
        for table in [gpt(sector_bytes), mbr(sector_bytes)] {
            let disk = written(&table);
            let raw = super::raw_extents(&disk, &table).unwrap();
            let bytes = disk.to_vec();
            for (index, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
                let at = extent(u64::try_from(index).unwrap(), 1);
                assert!(raw.contains(at), "{at} in {raw:?}");
            }
            assert!(raw.total_bytes() <= 40 * 4096);
        }
    }
}
