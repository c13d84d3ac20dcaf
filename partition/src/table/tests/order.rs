//! What is written when, and what is left when writing stops half-way.

use super::{gpt, mbr, table_of, written};
use crate::device::{Geometry, MemoryDevice, ReadAt, WriteAt};
use crate::error::{Error, Operation, Result};
use crate::extent::Extent;
use crate::table::{Scheme, Table, write};
use std::sync::Mutex;

/// Records writes and syncs, and fails from the `fails_at`-th on.
struct Recorder {
    disk: MemoryDevice,
    calls: Mutex<Vec<Option<Extent>>>,
    fails_at: usize,
}

impl Recorder {
    fn new(disk: MemoryDevice, fails_at: usize) -> Self {
        Self {
            disk,
            calls: Mutex::new(Vec::new()),
            fails_at,
        }
    }

    fn note(&self, extent: Option<Extent>) -> Result<()> {
        let mut calls = self.calls.lock().unwrap();
        if calls.len() == self.fails_at {
            let source = std::io::Error::other("made to fail");
            return Err(Error::io(Operation::Write, 0, 0, source));
        }
        calls.push(extent);
        Ok(())
    }
}

impl ReadAt for Recorder {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.disk.read_exact_at(buffer, offset_bytes)
    }
}

impl WriteAt for Recorder {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        self.note(Extent::new(
            offset_bytes,
            u64::try_from(data.len()).unwrap(),
        ))?;
        self.disk.write_all_at(data, offset_bytes)
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.note(Some(extent))?;
        self.disk.zero(extent)
    }

    fn discard(&self, _extent: Extent) -> Result<()> {
        panic!("tables are not discarded");
    }

    fn sync(&self) -> Result<()> {
        self.note(None)
    }
}

fn calls(table: &Table, sector_bytes: u32) -> Vec<Option<Extent>> {
    let recorder = Recorder::new(super::disk(sector_bytes), usize::MAX);
    write(&recorder, table).unwrap();
    recorder.calls.into_inner().unwrap()
}

#[test]
fn the_backup_is_durable_before_the_primary_is_touched() {
    for sector_bytes in [512, 4096] {
        let calls = calls(&gpt(sector_bytes), sector_bytes);
        let (sector, size) = (u64::from(sector_bytes), 8 << 20);
        let array = 16_384;
        let places: Vec<_> = calls
            .iter()
            .map(|call| call.map(|extent| (extent.offset_bytes(), extent.len_bytes())))
            .collect();
        let expected = vec![
            Some((size - sector - array, array)),
            Some((size - sector, sector)),
            None,
            Some((2 * sector, array)),
            Some((sector, sector)),
            Some((0, sector)),
            None,
        ];
        assert_eq!(places, expected);
    }
}

#[test]
fn the_master_boot_record_is_written_last() {
    let calls = calls(&mbr(512), 512);
    let offsets: Vec<_> = calls
        .iter()
        .map(|call| call.map(Extent::offset_bytes))
        .collect();
    let mib = 1 << 20;
    assert_eq!(
        offsets,
        [
            Some(2 * mib),
            Some(2 * mib + 512),
            Some(6 * mib),
            None,
            Some(0),
            None
        ]
    );
}

#[test]
fn wherever_a_rewrite_stops_the_old_or_the_new_table_is_there() {
    let old = gpt(512);
    let mut new = old.clone();
    new.partitions.truncate(2);
    new.partitions[1].number = 9;
    let rewrite = Recorder::new(written(&old), usize::MAX);
    write(&rewrite, &new).unwrap();
    // Two arrays, two headers, two syncs: the first sector stays.
    let total = rewrite.calls.into_inner().unwrap().len();
    assert_eq!(total, 6);
    for fails_at in 0..total {
        let recorder = Recorder::new(written(&old), fails_at);
        assert!(write(&recorder, &new).is_err());
        let (found, _) = table_of(&recorder.disk);
        assert!(
            found == old || found == new,
            "after {fails_at} calls: {found:?}"
        );
    }
}

#[test]
fn wherever_an_edit_of_a_damaged_table_stops_the_old_or_the_new_one_is_there() {
    let old = gpt(512);
    let mut new = old.clone();
    new.partitions[1].name = "another".to_owned();
    new.partitions.pop();
    let size = 8_u64 << 20;
    // Header and array of the primary, array and header of the backup.
    let places = [512, 1024, size - 33 * 512, size - 512];
    for damaged in 0_usize..16 {
        let has_header = damaged & 0b1001 != 0b1001;
        let has_array = damaged & 0b0110 != 0b0110;
        if !has_header || !has_array {
            continue;
        }
        for fails_at in 0..16 {
            let disk = written(&old);
            for (index, place) in places.iter().enumerate() {
                if damaged & (1 << index) != 0 {
                    disk.write_all_at(&[0x5a; 40], *place).unwrap();
                }
            }
            let recorder = Recorder::new(disk, fails_at);
            let is_done = write(&recorder, &new).is_ok();
            let (found, findings) = table_of(&recorder.disk);
            let is_one = found == new || (!is_done && found == old);
            assert!(is_one, "{damaged:04b} after {fails_at} calls: {found:?}");
            assert!(!is_done || findings.is_empty(), "{findings:?}");
        }
    }
}

#[test]
fn wherever_a_first_write_stops_there_is_no_half_a_table() {
    for table in [gpt(512), mbr(512)] {
        let total = calls(&table, 512).len();
        for fails_at in 0..total {
            let recorder = Recorder::new(super::disk(512), fails_at);
            assert!(write(&recorder, &table).is_err());
            let found = crate::table::read(&recorder.disk).unwrap();
            match found {
                crate::table::Found::Table(mut found, _) => {
                    found.disk_signature = table.disk_signature;
                    assert_eq!(found, table);
                    assert!(table.scheme == Scheme::Gpt || fails_at == total - 1);
                }
                _ => assert!(fails_at < total - 1),
            }
        }
    }
}
