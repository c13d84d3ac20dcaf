//! Any bytes as a disk: reading its table gives a table inside the disk or an error, and what can
//! be written again reads the same.

#![no_main]

use klon_partition::device::{MemoryDevice, ReadAt};
use klon_partition::table::{Finding, Found, Table, raw_extents, read, relocated, write};
use libfuzzer_sys::fuzz_target;

/// Zeroes between what the input puts at the start and at the end, so that small inputs make
/// disks with room for both copies of a table.
const MIDDLE_BYTES: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    check(data.to_vec());
    let (start, end) = data.split_at(data.len() / 2);
    check([start, &vec![0; MIDDLE_BYTES], end].concat());
    check(with_checksums(
        [start, &vec![0; MIDDLE_BYTES], end].concat(),
    ));
});

fn check(bytes: Vec<u8>) {
    for sector_bytes in [512, 4096] {
        let disk = MemoryDevice::new(bytes.clone(), sector_bytes);
        if let Ok(Found::Table(table, _)) = read(&disk) {
            inside(&disk, &table);
            let _ = raw_extents(&disk, &table);
            let _ = relocated(&table, disk.geometry().size_bytes / 2);
            let _ = relocated(&table, disk.geometry().size_bytes.saturating_mul(3));
            rewrite(&disk, &table);
        }
    }
}

fn inside(disk: &MemoryDevice, table: &Table) {
    let whole = disk.geometry().extent().expect("a table on no bytes");
    assert!(whole.contains(table.usable));
    assert!(table.slots_max <= 1024 && table.partitions.len() <= 1024 + 4);
    for partition in &table.partitions {
        assert!(table.usable.contains(partition.extent), "{partition:?}");
    }
}

fn rewrite(disk: &MemoryDevice, table: &Table) {
    let copy = MemoryDevice::new(disk.to_vec(), disk.geometry().logical_sector_bytes);
    if write(&copy, table).is_ok() {
        match read(&copy) {
            Ok(Found::Table(again, findings)) => {
                assert_eq!(&again, table);
                // A hybrid MBR or a backup short of the end is kept; damage is not.
                let is_damage = |found: &Finding| {
                    matches!(
                        found,
                        Finding::PrimaryDamaged(_) | Finding::BackupDamaged(_)
                    )
                };
                assert!(!findings.iter().any(is_damage), "{findings:?}");
            }
            other => panic!("{table:?} was written and reads as {other:?}"),
        }
    }
}

/// The disk with right GPT checksums, or no input would ever get past them.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for sector in [512, 4096] {
        let last = (bytes.len() / sector).saturating_sub(1) * sector;
        for at in [sector, last] {
            let _ = seal(&mut bytes, at, sector);
        }
    }
    bytes
}

fn seal(bytes: &mut [u8], at: usize, sector: usize) -> Option<()> {
    let header = bytes.get(at..at.checked_add(sector)?)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let field = |offset: usize| -> Option<usize> {
        let field = header.get(offset..offset + 4)?;
        usize::try_from(u32::from_le_bytes(field.try_into().ok()?)).ok()
    };
    let (len, array_lba) = (field(12)?, field(72)?);
    let array_len = field(80)?.checked_mul(field(84)?)?;
    let array_start = array_lba.checked_mul(sector)?;
    let array = bytes.get(array_start..array_start.checked_add(array_len)?);
    let sum = array.map(crc32);
    let header = bytes.get_mut(at..at + sector)?;
    if let Some(sum) = sum {
        header[88..92].copy_from_slice(&sum.to_le_bytes());
    }
    header[24..32].copy_from_slice(&u64::try_from(at / sector).ok()?.to_le_bytes());
    header[16..20].fill(0);
    let sum = crc32(header.get(..len)?);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

/// CRC-32 (ISO-HDLC), as GPT has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}
