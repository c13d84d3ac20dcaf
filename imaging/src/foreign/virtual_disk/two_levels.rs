//! How long the files of QEMU's older formats must be: qcow and qed, whose tables have two levels of 64-bit
//! entries.

use super::end::{Map, check_end, within_disk};
use klon_partition::bytes::{be32, be64, le32, le64, u8_at};
use klon_partition::device::read_vec;
use klon_partition::error::Corrupt;
use klon_partition::{ReadAt, Result};

const ENTRY_BYTES: u64 = 8;

/// The tables of an image.
struct Tables {
    name: &'static str,
    entry_at: fn(&[u8], usize) -> u64,
    /// Where the table of the first level is.
    first_bytes: u64,
    /// Entries of it.
    first_entries: u64,
    /// Entries of each table of the second level.
    second_entries: u64,
    cluster_bytes: u64,
    disk_bytes: u64,
    /// Of a packed cluster: where it ends.
    packed_end: fn(u64, u32) -> Option<u64>,
    cluster_bits: u32,
}

/// QEMU's `block/qcow.c`, big-endian: the size of the disk at 24, bits of a cluster at 32, of a table at 33,
/// the first table at 40.
pub(super) fn qcow(file: &dyn ReadAt) -> Result<()> {
    const NAME: &str = "qcow image";
    check_end(file, NAME, 48)?;
    let header = read_vec(file, 0, 48)?;
    let (cluster_bits, table_bits) = (u8_at(&header, 32), u8_at(&header, 33));
    // What QEMU takes; anything else it refuses.
    if !(9..=16).contains(&cluster_bits) || !(6..=13).contains(&table_bits) || be32(&header, 4) != 1
    {
        return Ok(());
    }
    let disk_bytes = be64(&header, 24);
    let entries = disk_bytes.div_ceil(1 << (cluster_bits + table_bits));
    Tables {
        name: NAME,
        entry_at: be64,
        first_bytes: be64(&header, 40),
        first_entries: entries,
        second_entries: 1 << table_bits,
        cluster_bytes: 1 << cluster_bits,
        disk_bytes,
        packed_end: |entry, bits| {
            let split = 63 - bits;
            let start = entry & ((1 << split) - 1);
            let len_bytes = (entry >> split) & ((1 << bits) - 1);
            (entry >> 63 == 1).then_some(start + len_bytes)
        },
        cluster_bits: cluster_bits.into(),
    }
    .check(file)
}

/// QEMU's `docs/interop/qed_spec`: bytes of a cluster at 4, clusters of a table at 8, the first table at 40,
/// the size of the disk at 48.
pub(super) fn qed(file: &dyn ReadAt) -> Result<()> {
    const NAME: &str = "qed image";
    check_end(file, NAME, 64)?;
    let header = read_vec(file, 0, 64)?;
    let (cluster_bytes, table_clusters) = (u64::from(le32(&header, 4)), le32(&header, 8));
    // What QEMU takes; anything else it refuses.
    if !cluster_bytes.is_power_of_two()
        || !(1 << 12..=1 << 26).contains(&cluster_bytes)
        || !(1..=16).contains(&table_clusters)
    {
        return Ok(());
    }
    let entries = cluster_bytes * u64::from(table_clusters) / ENTRY_BYTES;
    Tables {
        name: NAME,
        entry_at: le64,
        first_bytes: le64(&header, 40),
        first_entries: entries,
        second_entries: entries,
        cluster_bytes,
        disk_bytes: le64(&header, 48),
        packed_end: |_, _| None,
        cluster_bits: 0,
    }
    .check(file)
}

impl Tables {
    fn check(&self, file: &dyn ReadAt) -> Result<()> {
        let size_bytes = file.geometry().size_bytes;
        let (mut read_bytes, mut end_bytes) = (0_u64, 0);
        let first = self.table(file, self.first_bytes, self.first_entries);
        self.each(first, |number, table| {
            if table == 0 {
                return Ok(());
            }
            // Tables that share their bytes would make a small file say much.
            read_bytes = read_bytes.saturating_add(self.second_entries * ENTRY_BYTES);
            if read_bytes > size_bytes {
                let (field, expected) = ("first table", "tables of their own");
                let found = "more of them than the file has room for: it is damaged, or cut";
                return Err(Corrupt::new(self.name, field, table, expected, found).into());
            }
            let second = self.table(file, table, self.second_entries);
            self.each(second, |index, entry| {
                // 0 is no cluster, in qed 1 is one of zeroes.
                if entry > 1 {
                    let index = (number.saturating_mul(self.second_entries)).saturating_add(index);
                    let len_bytes = within_disk(index, self.cluster_bytes, self.disk_bytes);
                    let end = (self.packed_end)(entry, self.cluster_bits);
                    end_bytes =
                        end_bytes.max(end.unwrap_or_else(|| entry.saturating_add(len_bytes)));
                }
                Ok(())
            })
        })?;
        check_end(file, self.name, end_bytes)
    }

    fn table<'a>(&self, file: &'a dyn ReadAt, offset_bytes: u64, entries: u64) -> Map<'a> {
        Map {
            file,
            structure: self.name,
            offset_bytes,
            entries,
        }
    }

    /// Calls `take` with the index and the value of every entry of a table.
    fn each(&self, table: Map<'_>, mut take: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
        table.each(ENTRY_BYTES as usize, |index, bytes| {
            take(index, (self.entry_at)(bytes, 0))
        })
    }
}
