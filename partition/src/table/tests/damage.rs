//! Damaged copies of a GPT, and GPTs of unusual shapes.

use super::{MIB, gpt, table_of, with, written};
use crate::device::{Geometry, MemoryDevice, ReadAt, WriteAt};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use crate::table::{Finding, Table, read, readable};

/// Where the structures of `gpt(512)` are.
const PRIMARY_HEADER: u64 = 512;
const PRIMARY_ARRAY: u64 = 1024;
const BACKUP_ARRAY: u64 = 8 * MIB - 33 * 512;
const BACKUP_HEADER: u64 = 8 * MIB - 512;

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    let kind = |finding: &Finding| match finding {
        Finding::PrimaryDamaged(_) => "primary",
        Finding::BackupDamaged(_) => "backup",
        Finding::BackupDiffers(_) => "differs",
        Finding::BackupMisplaced(_) => "misplaced",
        Finding::Hybrid(_) => "hybrid",
        Finding::ProtectiveMbr(_) => "protective",
        Finding::Doubtful(_) => "doubtful",
        Finding::CopiesDiffer(_) => "differ",
        Finding::Sectors(_) => "sectors",
        Finding::Filesystem(_) => "filesystem",
    };
    findings.iter().map(kind).collect()
}

#[test]
fn one_header_and_one_array_are_enough_whichever_they_are() {
    let disk = written(&gpt(512));
    let places = [PRIMARY_HEADER, PRIMARY_ARRAY, BACKUP_ARRAY, BACKUP_HEADER];
    for damaged in 0_usize..16 {
        let copy = with(&disk, 0, &[]);
        for (index, place) in places.iter().enumerate() {
            if damaged & (1 << index) != 0 {
                copy.write_all_at(&[0x5a; 40], *place).unwrap();
            }
        }
        let has_header = damaged & 0b1001 != 0b1001;
        let has_array = damaged & 0b0110 != 0b0110;
        if has_header && has_array {
            let (table, findings) = table_of(&copy);
            assert_eq!(table, gpt(512), "{damaged:04b}");
            let mut expected = Vec::new();
            expected.extend((damaged & 0b0011 != 0).then_some("primary"));
            expected.extend((damaged & 0b1100 != 0).then_some("backup"));
            assert_eq!(kinds(&findings), expected, "{damaged:04b}");
        } else {
            assert!(
                matches!(read(&copy), Err(Error::Corrupt(_))),
                "{damaged:04b}"
            );
        }
    }
}

#[test]
fn every_changed_byte_of_header_or_array_is_noticed_and_survived() {
    let disk = written(&gpt(512));
    let bytes = disk.to_vec();
    let headers = (PRIMARY_HEADER..PRIMARY_HEADER + 92).map(|at| (at, "primary"));
    let entries = (PRIMARY_ARRAY..PRIMARY_ARRAY + 512).map(|at| (at, "primary"));
    let backups = (BACKUP_HEADER..BACKUP_HEADER + 92).map(|at| (at, "backup"));
    for (at, kind) in headers.chain(entries).chain(backups) {
        let index = usize::try_from(at).unwrap();
        let (table, findings) = table_of(&with(&disk, at, &[bytes[index] ^ 0x10]));
        assert_eq!(
            (table, kinds(&findings)),
            (gpt(512), vec![kind]),
            "byte {at:#x}"
        );
    }
}

#[test]
fn the_gpt_is_found_whichever_byte_of_the_first_sector_changed() {
    let disk = written(&gpt(512));
    let bytes = disk.to_vec();
    for (index, byte) in bytes.iter().enumerate().take(512) {
        for flip in [1, 0x10, 0x80, 0xff] {
            let at = u64::try_from(index).unwrap();
            let (table, _) = table_of(&with(&disk, at, &[byte ^ flip]));
            assert_eq!(table.partitions, gpt(512).partitions, "byte {index:#x}");
        }
    }
}

#[test]
fn a_backup_away_from_the_end_is_followed_from_the_primary() {
    let mut bytes = written(&gpt(512)).to_vec();
    bytes.resize(12 << 20, 0);
    let grown = MemoryDevice::new(bytes, 512);
    let (table, findings) = table_of(&grown);
    assert_eq!((table, kinds(&findings)), (gpt(512), vec!["misplaced"]));
    let damaged = with(&grown, PRIMARY_ARRAY, &[1; 8]);
    let (table, findings) = table_of(&damaged);
    assert_eq!(
        (table, kinds(&findings)),
        (gpt(512), vec!["primary", "misplaced"])
    );
}

#[test]
fn a_disk_cut_short_is_corrupt_and_says_so() {
    let mut bytes = written(&gpt(512)).to_vec();
    bytes.truncate(7 << 20);
    let error = read(&MemoryDevice::new(bytes, 512))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("LastUsableLBA") && error.contains("last sector of this disk"),
        "{error}"
    );
}

#[test]
fn copies_that_disagree_are_reported() {
    let mut other = gpt(512);
    other.partitions.pop();
    let disk = written(&gpt(512));
    let end = written(&other).to_vec();
    let backup = usize::try_from(BACKUP_ARRAY).unwrap();
    let (table, findings) = table_of(&with(&disk, BACKUP_ARRAY, &end[backup..]));
    assert_eq!((table, kinds(&findings)), (gpt(512), vec!["differ"]));
}

/// Both copies of `gpt(512)` with `change` made to the header's sector, checksums made right.
fn reshaped(change: impl Fn(&mut [u8])) -> MemoryDevice {
    let disk = written(&gpt(512));
    let bytes = disk.to_vec();
    for at in [PRIMARY_HEADER, BACKUP_HEADER] {
        let index = usize::try_from(at).unwrap();
        let mut sector = bytes[index..index + 512].to_vec();
        change(&mut sector);
        seal(&mut sector);
        disk.write_all_at(&sector, at).unwrap();
    }
    disk
}

fn seal(sector: &mut [u8]) {
    let len = usize::try_from(crate::bytes::le32(sector, 12)).unwrap();
    sector[16..20].fill(0);
    let sum = crc32fast::hash(&sector[..len.min(512)]);
    sector[16..20].copy_from_slice(&sum.to_le_bytes());
}

fn put32(sector: &mut [u8], at: usize, value: u32) {
    sector[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(sector: &mut [u8], at: usize, value: u64) {
    sector[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn a_header_that_is_its_own_backup_is_damaged() {
    let disk = written(&gpt(512));
    let mut sector = disk.to_vec()[512..1024].to_vec();
    put64(&mut sector, 32, 1);
    seal(&mut sector);
    let (table, findings) = table_of(&with(&disk, PRIMARY_HEADER, &sector));
    assert_eq!((table, kinds(&findings)), (gpt(512), vec!["primary"]));
}

#[test]
fn headers_of_other_sizes_are_read_with_their_checksum() {
    for size in [92, 96, 128, 511, 512] {
        let disk = reshaped(|sector| {
            put32(sector, 12, size);
            sector[92..512].fill(0xa5);
        });
        assert_eq!(table_of(&disk), (gpt(512), vec![]), "{size}");
    }
    for size in [0, 91, 513, u32::MAX] {
        let disk = reshaped(|sector| put32(sector, 12, size));
        assert!(matches!(read(&disk), Err(Error::Corrupt(_))), "{size}");
    }
}

#[test]
fn hostile_fields_with_right_checksums_are_refused() {
    let changes: &[(usize, u64)] = &[
        (40, 0),
        (40, 1),
        (40, u64::MAX),
        (48, u64::MAX),
        (48, 1 << 55),
        (48, 20),
        (72, 0),
        (72, 1),
        (72, 4000),
        (72, u64::MAX),
        (72, 1 << 55),
        (80, u64::MAX),
        (80, 128 << 32),
        (80, (128 << 32) | 0xffff_ffff),
        (80, (128 << 32) | 1025),
        (80, 128),
        (80, (64 << 32) | 128),
        (80, (192 << 32) | 128),
        (80, (8192 << 32) | 128),
        (80, (1 << 63) | 1024),
        (8, 0x5c_0000_ffff),
    ];
    for (at, value) in changes {
        let disk = reshaped(|sector| put64(sector, *at, *value));
        let result = read(&disk);
        let is_refused = matches!(result, Err(Error::Corrupt(_) | Error::Unsupported { .. }));
        assert!(is_refused, "{at}: {value:#x}: {result:?}");
        // What can be told of it lies on the disk all the same.
        let told = readable(&disk).unwrap();
        let mut told = told.iter().flat_map(|table| &table.partitions);
        assert!(told.all(|partition| partition.extent.end_bytes() <= 8 * MIB));
    }
}

#[test]
fn of_a_disk_that_was_cut_the_whole_partitions_are_told() {
    let table = gpt(512);
    let bytes = written(&table).to_vec();
    for end_bytes in (MIB..8 * MIB).step_by(MIB as usize / 2) {
        let disk = MemoryDevice::new(bytes[..end_bytes as usize].to_vec(), 512);
        assert!(read(&disk).is_err(), "{end_bytes}");
        let told = readable(&disk).unwrap().unwrap().partitions;
        let whole = table.partitions.iter();
        let whole: Vec<_> = whole
            .filter(|it| it.extent.end_bytes() <= end_bytes)
            .collect();
        assert_eq!(told.iter().collect::<Vec<_>>(), whole, "{end_bytes}");
    }
}

#[test]
fn of_headers_that_can_not_be_believed_nothing_is_told() {
    let broken = reshaped(|sector| put32(sector, 8, 0x0000_ffff));
    assert_eq!(readable(&broken).unwrap(), None);
    let disk = written(&gpt(512));
    let damaged = with(
        &with(&disk, PRIMARY_HEADER + 16, &[1]),
        BACKUP_HEADER + 16,
        &[1],
    );
    assert_eq!(readable(&damaged).unwrap(), None);
}

/// A table of `count` slots of `entry_bytes` made of the entries of `gpt(512)`.
fn with_entries_of(entry_bytes: usize, count: usize) -> (MemoryDevice, Table) {
    let mut expected = gpt(512);
    expected
        .partitions
        .retain(|it| it.number <= u32::try_from(count).unwrap());
    expected.slots_max = u32::try_from(count).unwrap();
    expected.entry_bytes = u32::try_from(entry_bytes).unwrap();
    let disk = written(&gpt(512));
    let bytes = disk.to_vec();
    let mut array = Vec::new();
    for slot in 0..count {
        let mut entry = vec![0xcc; entry_bytes];
        entry[..128].copy_from_slice(&bytes[1024 + slot * 128..][..128]);
        array.extend(entry);
    }
    let sum = crc32fast::hash(&array);
    let sectors = u64::try_from(array.len().div_ceil(512)).unwrap();
    let last_lba = 8 * MIB / 512 - 1;
    // The first partition starts at 1 MiB, which leaves room for any of these.
    let (first_usable, last_usable) = (2 + sectors, last_lba - sectors - 1);
    for (at, array_lba) in [(PRIMARY_HEADER, 2), (BACKUP_HEADER, last_usable + 1)] {
        let index = usize::try_from(at).unwrap();
        let mut sector = bytes[index..index + 512].to_vec();
        put64(&mut sector, 40, first_usable);
        put64(&mut sector, 48, last_usable);
        put64(&mut sector, 72, array_lba);
        put32(&mut sector, 80, u32::try_from(count).unwrap());
        put32(&mut sector, 84, u32::try_from(entry_bytes).unwrap());
        put32(&mut sector, 88, sum);
        seal(&mut sector);
        disk.write_all_at(&sector, at).unwrap();
        disk.write_all_at(&array, array_lba * 512).unwrap();
    }
    expected.usable = super::extent(first_usable * 512, (last_usable + 1 - first_usable) * 512);
    (disk, expected)
}

#[test]
fn entries_of_other_sizes_are_read_and_can_be_written_again() {
    for (entry_bytes, count) in [
        (128, 1),
        (128, 20),
        (256, 128),
        (512, 128),
        (1024, 128),
        (4096, 16),
    ] {
        let (disk, expected) = with_entries_of(entry_bytes, count);
        assert_eq!(
            table_of(&disk),
            (expected.clone(), vec![]),
            "{entry_bytes} × {count}"
        );
        let before = disk.to_vec();
        crate::table::write(&disk, &expected).unwrap();
        assert!(disk.to_vec() == before, "{entry_bytes} × {count}");
        // And from scratch.
        let blank = super::disk(512);
        crate::table::write(&blank, &expected).unwrap();
        assert_eq!(
            table_of(&blank),
            (expected, vec![]),
            "{entry_bytes} × {count}"
        );
    }
}

#[test]
fn overlapping_and_outlying_partitions_are_named() {
    for (first, last, words) in [
        (2048_u64, 2047_u64, "partition 1"),
        (0, 4095, "usable"),
        (2048, u64::MAX, "usable"),
        (
            2048,
            8191,
            "partition 1 (sectors 2048 to 8191) and partition 15 (sectors 4096 to 6143) overlap",
        ),
    ] {
        let disk = written(&gpt(512));
        let bytes = disk.to_vec();
        let mut array = bytes[1024..1024 + 16_384].to_vec();
        put64(&mut array, 32, first);
        put64(&mut array, 40, last);
        let sum = crc32fast::hash(&array);
        for (header, at) in [
            (PRIMARY_HEADER, PRIMARY_ARRAY),
            (BACKUP_HEADER, BACKUP_ARRAY),
        ] {
            let index = usize::try_from(header).unwrap();
            let mut sector = bytes[index..index + 512].to_vec();
            put32(&mut sector, 88, sum);
            seal(&mut sector);
            disk.write_all_at(&sector, header).unwrap();
            disk.write_all_at(&array, at).unwrap();
        }
        let error = read(&disk).unwrap_err();
        assert!(matches!(error, Error::Corrupt(_)));
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A disk with unreadable sectors.
struct Failing {
    disk: MemoryDevice,
    bad: ExtentMap,
}

impl ReadAt for Failing {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let len_bytes = u64::try_from(buffer.len()).unwrap();
        if Extent::new(offset_bytes, len_bytes).is_some_and(|wanted| self.bad.overlaps(wanted)) {
            let source = std::io::Error::other("medium error");
            return Err(Error::io(Operation::Read, offset_bytes, len_bytes, source));
        }
        self.disk.read_exact_at(buffer, offset_bytes)
    }
}

#[test]
fn unreadable_sectors_are_damage_and_a_failing_disk_is_an_io_error() {
    let failing = |places: &[u64]| Failing {
        disk: written(&gpt(512)),
        bad: places
            .iter()
            .map(|&place| super::extent(place, 512))
            .collect(),
    };
    for (places, kind) in [
        ([PRIMARY_HEADER, PRIMARY_ARRAY], "primary"),
        ([BACKUP_HEADER, BACKUP_ARRAY], "backup"),
    ] {
        let (table, findings) = table_of(&failing(&places));
        assert_eq!((table, kinds(&findings)), (gpt(512), vec![kind]));
    }
    for places in [&[0][..], &[PRIMARY_HEADER, BACKUP_HEADER]] {
        let error = read(&failing(places)).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}

#[test]
fn a_header_of_a_later_revision_is_read() {
    for revision in [0x0001_0001, 0x0002_0000, u32::MAX] {
        let later = reshaped(|sector| put32(sector, 8, revision));
        assert_eq!(table_of(&later), (gpt(512), Vec::new()));
    }
}
