//! The sparse files of VMware ESX, which QEMU's `block/vmdk.c` describes: COWD, and since VMFS 6 seSparse.

use super::super::SECTOR_BYTES;
use super::super::end::{Map, check_end, within_disk};
use super::{GRAIN_SECTORS_MAX, Grains, NAME, TABLES_MAX, check_own_tables};
use klon_partition::bytes::{le32, le64};
use klon_partition::device::read_vec;
use klon_partition::{ReadAt, Result};

/// How COWD begins.
pub(super) const MAGIC: &[u8] = b"COWD";
/// Entries of each grain table of COWD.
const TABLE_ENTRIES: u64 = 4096;

/// How seSparse begins, little-endian, and its version.
const SPACE_EFFICIENT: u64 = 0xcafe_babe;
const VERSION: u64 = 0x2_0000_0001;
const ENTRY_LEN: usize = 8;
/// The first four bits of an entry say what it is.
const KIND: u64 = 0xf << 60;
/// A grain table that is there, with zeroes up to its number of 32 bits.
const TABLE: u64 = 0x1000_0000;
/// A grain that is in the file.
const GRAIN: u64 = 3 << 60;
/// What QEMU takes: the grains and tables of other sizes it refuses.
const SE_GRAIN_SECTORS: u64 = 8;
const SE_TABLE_SECTORS: u64 = 64;

/// COWD: the capacity at 12, sectors of a grain at 16, the grain directory at 20, its entries at 24.
pub(super) fn copy_on_write(file: &dyn ReadAt, header: &[u8]) -> Result<()> {
    let field = |at| u64::from(le32(header, at));
    let grain_sectors = field(16);
    // What QEMU takes; anything else it refuses.
    if !(1..=GRAIN_SECTORS_MAX).contains(&grain_sectors) {
        return Ok(());
    }
    let grains = Grains {
        capacity_sectors: field(12),
        grain_sectors,
        directory_sector: field(20),
        tables: field(24),
        table_entries: TABLE_ENTRIES,
    };
    match grains.ends(file)? {
        Some(ends) => check_end(file, NAME, ends.end_bytes),
        None => Ok(()),
    }
}

/// seSparse, in sectors: the capacity at 16, of a grain at 24, of a grain table at 32, the grain directory at
/// 128 and its length at 136, the grain tables at 144, the grains at 192.
pub(super) fn space_efficient(file: &dyn ReadAt) -> Result<()> {
    check_end(file, NAME, SECTOR_BYTES)?;
    let header = read_vec(file, 0, 512)?;
    let field = |at| le64(&header, at);
    let directory_entries = field(136).saturating_mul(SECTOR_BYTES) / ENTRY_LEN as u64;
    let is_known = [field(0), field(8)] == [SPACE_EFFICIENT, VERSION]
        && [field(24), field(32)] == [SE_GRAIN_SECTORS, SE_TABLE_SECTORS]
        && directory_entries <= TABLES_MAX;
    if !is_known {
        return Ok(());
    }
    let size_bytes = file.geometry().size_bytes;
    let disk_bytes = field(16).saturating_mul(SECTOR_BYTES);
    let bytes_of = |sector: u64| sector.saturating_mul(SECTOR_BYTES);
    let (directory, tables, grains) = (bytes_of(field(128)), bytes_of(field(144)), field(192));
    let table_bytes = SE_TABLE_SECTORS * SECTOR_BYTES;
    let table_entries = table_bytes / ENTRY_LEN as u64;
    let grain_bytes = SE_GRAIN_SECTORS * SECTOR_BYTES;
    let (mut read_bytes, mut end_bytes) = (0_u64, 0);
    let map = |offset_bytes, entries| Map {
        file,
        structure: NAME,
        offset_bytes,
        entries,
    };
    map(directory, directory_entries).each(ENTRY_LEN, |number, entry| {
        let entry = le64(entry, 0);
        // Anything else is none, or an entry that QEMU refuses.
        if entry >> 32 != TABLE {
            return Ok(());
        }
        read_bytes = read_bytes.saturating_add(table_bytes);
        check_own_tables(read_bytes, size_bytes, directory)?;
        let table = tables.saturating_add((entry & 0xffff_ffff) * table_bytes);
        map(table, table_entries).each(ENTRY_LEN, |index, entry| {
            let entry = le64(entry, 0);
            if entry & KIND == GRAIN {
                let grain = grain_number(entry).saturating_mul(SE_GRAIN_SECTORS);
                let start = bytes_of(grains.saturating_add(grain));
                let index = number * table_entries + index;
                let len_bytes = within_disk(index, grain_bytes, disk_bytes);
                end_bytes = end_bytes.max(start.saturating_add(len_bytes));
            }
            Ok(())
        })
    })?;
    check_end(file, NAME, end_bytes)
}

/// The number of a grain: its lowest 12 bits come first in the entry, behind the kind.
const fn grain_number(entry: u64) -> u64 {
    (entry >> 48 & 0xfff) | (entry & 0xffff_ffff_ffff) << 12
}
