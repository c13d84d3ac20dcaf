//! Chains of logical partitions: unusual ones are read, impossible ones refused.

use super::{MIB, extent, mbr, mbr_partition, table_of, with, written};
use crate::device::{Geometry, MemoryDevice, WriteAt};
use crate::error::Error;
use crate::table::{Found, Table, read};

/// Where the records of `mbr(512)` are, in the chain's order.
const RECORDS: [u64; 3] = [2 * MIB, 2 * MIB + 512, 6 * MIB];

fn put_entry(
    disk: &MemoryDevice,
    record: u64,
    slot: u64,
    (type_byte, start, count): (u8, u32, u32),
) {
    let mut entry = [0; 16];
    entry[4] = type_byte;
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..].copy_from_slice(&count.to_le_bytes());
    disk.write_all_at(&entry, record + 446 + slot * 16).unwrap();
}

fn corrupt(disk: &MemoryDevice, words: &str) {
    let error = read(disk).unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn loops_and_links_out_of_the_extended_partition_are_refused() {
    let disk = written(&mbr(512));
    for start in [1, 8192] {
        put_entry(&disk, RECORDS[2], 1, (5, start, 10));
        corrupt(&disk, "loop");
    }
    for start in [6 * 2048, u32::MAX] {
        put_entry(&disk, RECORDS[2], 1, (5, start, 10));
        corrupt(&disk, "inside the extended partition");
    }
    put_entry(&disk, RECORDS[2], 1, (5, 100, 10));
    corrupt(&disk, "signature");
}

#[test]
fn logical_partitions_that_overflow_or_overlap_are_refused() {
    for (start, count) in [
        (2048, u32::MAX),
        (u32::MAX, u32::MAX),
        (u32::MAX, 1),
        (0, 2048),
    ] {
        let disk = written(&mbr(512));
        put_entry(&disk, RECORDS[2], 0, (0x83, start, count));
        assert!(
            matches!(read(&disk), Err(Error::Corrupt(_))),
            "{start} + {count}"
        );
    }
    let disk = written(&mbr(512));
    put_entry(&disk, RECORDS[1], 0, (0x83, 2047, 6000));
    corrupt(&disk, "overlap");
    // On the record of another.
    let disk = written(&mbr(512));
    put_entry(&disk, RECORDS[0], 0, (0x83, 6144, 2049));
    corrupt(&disk, "overlap");
}

#[test]
fn links_first_garbage_in_unused_entries_and_empty_records_are_read() {
    let disk = written(&mbr(512));
    let bytes = disk.to_vec();
    let first = usize::try_from(RECORDS[0]).unwrap();
    let (data, link) = (&bytes[first + 446..][..16], &bytes[first + 462..][..16]);
    disk.write_all_at(&[link, data].concat(), RECORDS[0] + 446)
        .unwrap();
    disk.write_all_at(&[0x99; 32], RECORDS[1] + 478).unwrap();
    assert_eq!(table_of(&disk), (mbr(512), vec![]));
    // The first logical partition was deleted: the others move up.
    disk.write_all_at(link, RECORDS[0] + 462).unwrap();
    disk.write_all_at(&[0; 16], RECORDS[0] + 446).unwrap();
    let (table, _) = table_of(&disk);
    let expected = mbr(512).partitions;
    assert_eq!(
        table.partitions[2..]
            .iter()
            .map(|it| (it.number, it.extent))
            .collect::<Vec<_>>(),
        [(5, expected[3].extent), (6, expected[4].extent)]
    );
    crate::table::write(&disk, &table).unwrap();
    assert_eq!(table_of(&disk), (table, vec![]));
}

#[test]
fn primary_entries_off_the_disk_or_overlapping_are_refused() {
    for entry in [
        (0x83, 0, 100),
        (0x83, 2048, u32::MAX),
        (0x83, u32::MAX, 1),
        (0x83, 2048, 4096),
    ] {
        let disk = written(&mbr(512));
        put_entry(&disk, 0, 0, entry);
        assert!(matches!(read(&disk), Err(Error::Corrupt(_))), "{entry:?}");
    }
    let disk = written(&mbr(512));
    put_entry(&disk, 0, 0, (5, 2048, 10));
    assert!(matches!(read(&disk), Err(Error::Unsupported { .. })));
}

#[test]
fn boot_indicators_other_than_00_and_80_are_no_table() {
    let disk = written(&mbr(512));
    for flag in 1..=255 {
        let found = read(&with(&disk, 446, &[flag])).unwrap();
        assert_eq!(
            matches!(found, Found::Table(..)),
            flag == 0x80,
            "{flag:02x}"
        );
    }
}

#[test]
fn every_changed_byte_of_record_or_chain_gives_a_result() {
    let disk = written(&mbr(512));
    let bytes = disk.to_vec();
    for base in [0, RECORDS[0], RECORDS[1], RECORDS[2]] {
        for at in base + 440..base + 512 {
            for flip in [1, 0x80, 0xff] {
                let byte = bytes[usize::try_from(at).unwrap()] ^ flip;
                let copy = with(&disk, at, &[byte]);
                match read(&copy) {
                    Ok(_) | Err(Error::Corrupt(_) | Error::Unsupported { .. }) => {}
                    Err(error) => panic!("byte {at:#x}: {error}"),
                }
            }
        }
    }
}

#[test]
fn every_place_for_a_record_that_exists_is_found() {
    let mut table = mbr(512);
    // 6 and 7 follow each other without a gap: the record of 7 has to go below 6.
    table.partitions[3].extent = extent(3 * MIB, MIB);
    table.partitions[4].extent = extent(4 * MIB, MIB);
    assert_eq!(table_of(&written(&table)), (table.clone(), vec![]));
    // No sector is free below 6.
    table.partitions[3].extent = extent(2 * MIB + 512, 2 * MIB - 512);
    assert!(super::invalid(&table).contains("extended boot record"));
}

#[test]
fn what_an_mbr_can_t_hold_is_refused_with_a_hint() {
    type Change = fn(&mut Table);
    let cases: &[(Change, &str)] = &[
        (|t| t.partitions[2].number = 8, "without gaps"),
        (
            |t| t.partitions[1].partition_type = crate::table::PartitionType::Mbr(0x83),
            "inside an extended",
        ),
        (
            |t| t.partitions[2].extent = extent(2 * MIB, MIB),
            "behind its first sector",
        ),
        (|t| t.partitions[2].extent = extent(3 * MIB, MIB), "overlap"),
        (|t| t.partitions[0].name = "x".to_owned(), "names"),
        (
            |t| t.partitions[0].partition_type = crate::table::PartitionType::Mbr(0xee),
            "type",
        ),
        (|t| t.partitions[0].number = 0, "partition 0"),
        (|t| t.usable = extent(512, 9 * MIB), "room for partitions"),
    ];
    for (change, words) in cases {
        let mut table = mbr(512);
        change(&mut table);
        let message = super::invalid(&table);
        assert!(
            message.contains(words),
            "{message:?} does not say {words:?}"
        );
    }
}

#[test]
fn two_tebibytes_are_the_limit() {
    let geometry = Geometry::new(3 << 40, 512);
    let table = Table::new_mbr(geometry, 1).unwrap();
    assert_eq!(table.usable.end_bytes(), 2 << 40);
    let mut beyond = table.clone();
    beyond.usable = extent(512, (3 << 40) - 512);
    let message = crate::table::validate::validate(geometry, &beyond)
        .unwrap_err()
        .to_string();
    assert!(message.contains("use a GPT"), "{message}");
    let mut largest = table;
    largest.partitions = vec![mbr_partition(1, extent(512, (2 << 40) - 512), 0x83)];
    assert!(crate::table::validate::validate(geometry, &largest).is_ok());
}
