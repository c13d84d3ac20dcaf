//! How long the files of a vmdk image must be (Virtual Disk Format 5.0).

mod descriptor;
mod esx;

pub(super) use descriptor::{check_names, is_image};

use super::end::{Map, check_end, within_disk};
use super::{SECTOR_BYTES, to_len};
use klon_partition::bytes::{le16, le32, le64};
use klon_partition::device::{look_at, read_vec};
use klon_partition::error::Corrupt;
use klon_partition::text::{quoted, sealed};
use klon_partition::{ReadAt, Result};
use std::path::Path;

const NAME: &str = "vmdk image";
const MAGIC: &[u8] = b"KDMV";
/// Where the grain directory of a stream is: named by the footer, which is before the last sector.
const AT_END: u64 = u64::MAX;
const FOOTER_BYTES: u64 = 1024;
/// What QEMU takes; anything else it refuses.
const GRAIN_SECTORS_MAX: u64 = 0x20_0000;
const TABLE_ENTRIES_MAX: u64 = 512;
const TABLES_MAX: u64 = 32 << 20;
/// Flag 16 of the header: grains are compressed, each behind a marker of 12 bytes that has its size.
const COMPRESSED: u32 = 1 << 16;
const MARKER_BYTES: u64 = 12;

/// Refuses an image that is cut: one file, or those that its descriptor names beside `path`. They must be plain
/// files.
pub(super) fn check(file: &dyn ReadAt, path: &Path) -> Result<()> {
    let start = read_vec(file, 0, to_len(file.geometry().size_bytes.min(4)))?;
    let is_sparse = start == MAGIC || start == esx::MAGIC;
    if is_sparse {
        sparse(file)?;
    }
    for text in descriptor::texts(file)? {
        descriptor::check_extents(&text, path)?;
        if !is_sparse {
            extents(&text, path)?;
        }
    }
    Ok(())
}

/// The files that a descriptor names. Those that can't be opened are for QEMU to name.
fn extents(text: &str, path: &Path) -> Result<()> {
    for extent in descriptor::extents(text) {
        let Ok(file) = look_at(&descriptor::beside(path, extent.name)) else {
            continue;
        };
        // An extent may itself have a descriptor.
        let head = read_vec(&file, 0, to_len(file.geometry().size_bytes.min(512)))?;
        let is_flat = matches!(extent.kind, "FLAT" | "VMFS");
        if !is_flat && is_image(&head) {
            check_names(&file, &head)?;
            for text in descriptor::texts(&file)? {
                descriptor::check_extents(&text, path)?;
            }
        }
        match extent.kind {
            "FLAT" | "VMFS" => match extent.sectors {
                Some(sectors) => {
                    let end = sectors.saturating_add(extent.start);
                    check_end(&file, NAME, end.saturating_mul(SECTOR_BYTES))
                }
                None => Ok(()),
            },
            "SPARSE" | "VMFSSPARSE" => sparse(&file),
            "SESPARSE" => esx::space_efficient(&file),
            _ => Ok(()),
        }
        .map_err(|error| named(error, extent.name))?;
    }
    Ok(())
}

/// Which of several files it is.
fn named(error: klon_partition::Error, name: &str) -> klon_partition::Error {
    match error {
        klon_partition::Error::Corrupt(mut corrupt) => {
            corrupt.found = format!("{} in {}", corrupt.found, quoted(&sealed(name)));
            klon_partition::Error::Corrupt(corrupt)
        }
        other => other,
    }
}

/// "Hosted Sparse Extents": the capacity at 12, sectors of a grain at 20, entries of a grain table at 44,
/// the grain directory at 56.
fn sparse(file: &dyn ReadAt) -> Result<()> {
    check_end(file, NAME, SECTOR_BYTES)?;
    let mut header = read_vec(file, 0, 512)?;
    if header.starts_with(esx::MAGIC) {
        return esx::copy_on_write(file, &header);
    }
    if !header.starts_with(MAGIC) {
        return Ok(());
    }
    let size_bytes = file.geometry().size_bytes;
    if le64(&header, 56) == AT_END {
        let at = size_bytes.saturating_sub(FOOTER_BYTES);
        check_end(file, NAME, at + 512)?;
        header = read_vec(file, at, 512)?;
        if !header.starts_with(MAGIC) || at == 0 {
            let (expected, found) = ("a footer before the last sector", "none: the file is cut");
            return Err(Corrupt::new(NAME, "end of the file", at, expected, found).into());
        }
    }
    let grain_sectors = le64(&header, 20);
    let table_entries = u64::from(le32(&header, 44));
    let is_known = (1..=GRAIN_SECTORS_MAX).contains(&grain_sectors)
        && (1..=TABLE_ENTRIES_MAX).contains(&table_entries);
    if !is_known {
        return Ok(());
    }
    let capacity_sectors = le64(&header, 12);
    let grains = Grains {
        capacity_sectors,
        grain_sectors,
        directory_sector: le64(&header, 56),
        tables: capacity_sectors.div_ceil(grain_sectors * table_entries),
        table_entries,
    };
    let Some(Ends {
        end_bytes,
        highest_bytes,
    }) = grains.ends(file)?
    else {
        return Ok(());
    };
    let is_compressed = le32(&header, 8) & COMPRESSED != 0 && le16(&header, 77) != 0;
    if !is_compressed || highest_bytes == 0 {
        return check_end(file, NAME, end_bytes);
    }
    check_end(file, NAME, highest_bytes + MARKER_BYTES)?;
    let marker = read_vec(file, highest_bytes, to_len(MARKER_BYTES))?;
    let packed_bytes = u64::from(le32(&marker, 8));
    check_end(file, NAME, highest_bytes + MARKER_BYTES + packed_bytes)
}

/// A grain directory of 32-bit sector numbers, and the tables that it names.
struct Grains {
    capacity_sectors: u64,
    grain_sectors: u64,
    directory_sector: u64,
    /// Entries of the directory.
    tables: u64,
    table_entries: u64,
}

/// What lies highest in the file.
struct Ends {
    /// Where the grain that ends last ends.
    end_bytes: u64,
    /// Where the grain that begins last begins.
    highest_bytes: u64,
}

impl Grains {
    /// Goes through the directory and its tables; `None` when there are more than QEMU takes.
    fn ends(&self, file: &dyn ReadAt) -> Result<Option<Ends>> {
        if self.tables > TABLES_MAX {
            return Ok(None);
        }
        let size_bytes = file.geometry().size_bytes;
        let disk_bytes = self.capacity_sectors.saturating_mul(SECTOR_BYTES);
        let grain_bytes = self.grain_sectors * SECTOR_BYTES;
        let directory = self.directory_sector.saturating_mul(SECTOR_BYTES);
        let mut read_bytes = 0_u64;
        let mut ends = Ends {
            end_bytes: 0,
            highest_bytes: 0,
        };
        let map = |offset_bytes, entries| Map {
            file,
            structure: NAME,
            offset_bytes,
            entries,
        };
        map(directory, self.tables).each_number(|number, table| {
            if table == 0 {
                return Ok(());
            }
            read_bytes = read_bytes.saturating_add(self.table_entries * 4);
            check_own_tables(read_bytes, size_bytes, directory)?;
            let table = map(u64::from(table) * SECTOR_BYTES, self.table_entries);
            table.each_number(|index, sector| {
                // 0 is no grain, 1 one of zeroes.
                if sector > 1 {
                    let start = u64::from(sector) * SECTOR_BYTES;
                    let index = number * self.table_entries + index;
                    let len_bytes = within_disk(index, grain_bytes, disk_bytes);
                    ends.end_bytes = ends.end_bytes.max(start + len_bytes);
                    ends.highest_bytes = ends.highest_bytes.max(start);
                }
                Ok(())
            })
        })?;
        Ok(Some(ends))
    }
}

/// Refuses tables of more bytes than the file has: when they share their bytes, a small file says much.
fn check_own_tables(read_bytes: u64, size_bytes: u64, directory: u64) -> Result<()> {
    if read_bytes <= size_bytes {
        return Ok(());
    }
    let (field, expected) = ("grain directory", "tables of their own");
    let found = "more of them than the file has room for: it is damaged, or cut";
    Err(Corrupt::new(NAME, field, directory, expected, found).into())
}
