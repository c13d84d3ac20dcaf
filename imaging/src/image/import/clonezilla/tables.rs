//! The parts of a disk that belong to no partition: tables, boot code, what hides behind it.

use super::super::zeroes::Zeroes;
use super::Tables;
use super::directory::Directory;
use super::sfdisk;
use klon_partition::Shown;
use klon_partition::bytes::is_zero;
use klon_partition::device::Overlay;
use klon_partition::table::{self, Table};
use klon_partition::{Error, Geometry, ReadAt, Result, WriteAt};
use std::ops::Range;

/// More than tables and hidden data ever have.
const BYTES_MAX: usize = 64 << 20;
const SECTOR_BYTES: u64 = 512;
/// Sectors that Clonezilla saves at the end of a GPT disk.
const BACKUP_SECTORS: u64 = 33;
/// The part of the first sector that is no table.
const BOOT_CODE_LEN: usize = 440;

/// The parts of a disk that belong to no partition.
pub(super) struct Found {
    /// An empty disk with its tables.
    pub(super) tables: Tables,
    /// What they say.
    pub(super) table: Table,
    /// What is missing, and may be needed to boot.
    pub(super) warnings: Vec<String>,
}

/// An empty disk with its tables, and what they say.
pub(super) fn read(directory: &Directory, disk: &str) -> Result<Found> {
    let geometry = geometry(directory, disk)?;
    let empty = || Overlay::new(Zeroes(geometry), BYTES_MAX);
    let dump = directory.text(&format!("{disk}-pt.sf"))?;
    let saved = gpt(directory, disk, empty())?;
    let (tables, table) = match (saved, dump) {
        (Some(saved), _) => saved,
        (None, Some(dump)) => {
            let table = sfdisk::parse(&dump, geometry)?;
            let device = empty();
            // What writes a table need not keep what is before it.
            table::write(&device, &table)?;
            boot_code(directory, disk, &device)?;
            first_sector(directory, disk, &device)?;
            (device, table)
        }
        (None, None) => {
            let device = empty();
            put(directory, &format!("{disk}-mbr"), &device, 0..SECTOR_BYTES)?;
            let table = found(&device)?.ok_or_else(|| no_table(directory, disk))?;
            (device, table)
        }
    };
    let mut warnings = Vec::new();
    if table.disk_guid.is_none() {
        warnings.extend(cut_boot_sector(directory, disk)?);
        warnings.extend(hidden(directory, disk, &tables, &table)?);
    }
    Ok(Found {
        tables,
        table,
        warnings,
    })
}

/// Both GPTs as they were saved, if that is what gives a table.
fn gpt(directory: &Directory, disk: &str, device: Tables) -> Result<Option<(Tables, Table)>> {
    let geometry = device.geometry();
    // Of larger sectors too few were saved.
    if u64::from(geometry.logical_sector_bytes) != SECTOR_BYTES {
        return Ok(None);
    }
    let (first, second) = (format!("{disk}-gpt-1st"), format!("{disk}-gpt-2nd"));
    let backup_bytes = BACKUP_SECTORS * SECTOR_BYTES;
    let backup_at = geometry.size_bytes.saturating_sub(backup_bytes);
    let has_first = put(directory, &first, &device, 0..34 * SECTOR_BYTES)?;
    let backup = backup_at..backup_at.saturating_add(backup_bytes);
    if !has_first || !put(directory, &second, &device, backup)? {
        return Ok(None);
    }
    Ok(found(&device)?.map(|table| (device, table)))
}

fn found(device: &Tables) -> Result<Option<Table>> {
    match table::read(device)? {
        table::Found::Table(table, _) => Ok(Some(table)),
        table::Found::Blank | table::Found::NoTable => Ok(None),
    }
}

fn boot_code(directory: &Directory, disk: &str, device: &Tables) -> Result<()> {
    let sector = directory.bytes(&format!("{disk}-mbr"))?;
    match sector
        .as_deref()
        .and_then(|sector| sector.get(..BOOT_CODE_LEN))
    {
        Some(code) => device.write_all_at(code, 0),
        None => Ok(()),
    }
}

/// The first sector as it was saved, if it says the same as the one that klon made. Their CHS fields may
/// differ. Boot code may look at the saved ones.
fn first_sector(directory: &Directory, disk: &str, device: &Tables) -> Result<()> {
    let mut made = [0; SECTOR_BYTES as usize];
    device.read_exact_at(&mut made, 0)?;
    let saved = directory.bytes(&format!("{disk}-mbr"))?.unwrap_or_default();
    let Some(saved) = saved.get(..made.len()) else {
        return Ok(());
    };
    let (table, chs) = (446..510, [1, 2, 3, 5, 6, 7]);
    let is_same = |at: &usize| {
        let is_chs = table.contains(at) && chs.contains(&((at - table.start) % 16));
        is_chs || saved[*at] == made[*at]
    };
    if (BOOT_CODE_LEN..made.len()).all(|at| is_same(&at)) {
        device.write_all_at(saved, 0)?;
    }
    Ok(())
}

/// What to say of a first sector that was not saved, or not all of it.
fn cut_boot_sector(directory: &Directory, disk: &str) -> Result<Option<String>> {
    let name = format!("{disk}-mbr");
    Ok(match directory.bytes(&name)?.map(|sector| sector.len()) {
        Some(len) if len as u64 >= SECTOR_BYTES => None,
        Some(len) if len >= BOOT_CODE_LEN => Some(format!(
            "{name} is cut short, at {len} of {SECTOR_BYTES} bytes: its boot code is in the image, its table \
             is made anew"
        )),
        Some(len) => Some(format!(
            "{name} is cut short, at {len} of {SECTOR_BYTES} bytes: the image has no boot code, and the disk \
             will not boot by BIOS before its boot loader is installed again"
        )),
        None => Some(format!(
            "there is no {name}: the image has no boot code, and the disk will not boot by BIOS before its \
             boot loader is installed again"
        )),
    })
}

/// What lies between the first sector and the first partition, as far as there is room. Gives what to
/// say of what is missing.
fn hidden(
    directory: &Directory,
    disk: &str,
    device: &Tables,
    table: &Table,
) -> Result<Option<String>> {
    let starts = table.partitions.iter().map(|it| it.extent.offset_bytes());
    let room_bytes = starts.min().unwrap_or(0).saturating_sub(SECTOR_BYTES);
    let name = format!("{disk}-hidden-data-after-mbr");
    let Some(mut bytes) = directory.bytes(&name)? else {
        let mut code = [0; BOOT_CODE_LEN];
        device.read_exact_at(&mut code, 0)?;
        return Ok((room_bytes > 0 && !is_zero(&code)).then(|| {
            format!(
                "there is no {name}: a boot loader that goes on there (GRUB) is not whole in the image, and \
                 must be installed again before the disk boots by BIOS"
            )
        }));
    };
    let saved = bytes.len();
    // The end of a sector that is cut short is none.
    let whole = saved as u64 / SECTOR_BYTES * SECTOR_BYTES;
    bytes.truncate(usize::try_from(whole.min(room_bytes)).unwrap_or(0));
    device.write_all_at(&bytes, SECTOR_BYTES)?;
    Ok((bytes.len() < saved).then(|| {
        format!(
            "{name} has {saved} bytes, but before the first partition there is room for {room_bytes}: {} \
             of it are in the image; a boot loader there may have to be installed again",
            bytes.len()
        )
    }))
}

/// Writes a saved file to the bytes `at` of the disk; `false` when there is none of that length.
fn put(directory: &Directory, name: &str, device: &Tables, at: Range<u64>) -> Result<bool> {
    let Some(bytes) = directory.bytes(name)? else {
        return Ok(false);
    };
    let len = usize::try_from(at.end - at.start).unwrap_or(usize::MAX);
    let Some(bytes) = bytes.get(..len) else {
        return Ok(false);
    };
    device.write_all_at(bytes, at.start)?;
    Ok(true)
}

/// Size and sectors, as parted printed them: `Disk /dev/sda: 20971520s`, `Sector size
/// (logical/physical): 512B/512B`.
fn geometry(directory: &Directory, disk: &str) -> Result<Geometry> {
    let text = directory.text(&format!("{disk}-pt.parted"))?;
    let text = text.ok_or_else(|| no_table(directory, disk))?;
    let value = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit_once(": ").map(|(_, value)| value.trim())
    };
    let sectors = value("Disk /dev/").and_then(|value| value.strip_suffix('s')?.parse().ok());
    let sizes = value("Sector size").unwrap_or("512B/512B");
    let logical = sizes.split('B').next().and_then(|size| size.parse().ok());
    let logical =
        logical.filter(|size: &u32| size.is_power_of_two() && (512..=65536).contains(size));
    let size = |sectors: u64| sectors.checked_mul(logical?.into());
    match (sectors.and_then(size), logical) {
        (Some(size_bytes), Some(sector)) if size_bytes > 0 => Ok(Geometry::new(size_bytes, sector)),
        _ => Err(Error::Invalid(format!(
            "{}: {disk}-pt.parted does not say how large the disk was (Disk /dev/…: …s)",
            directory.path().shown()
        ))),
    }
}

fn no_table(directory: &Directory, disk: &str) -> Error {
    Error::Invalid(format!(
        "{}: the partition table of {disk} is missing ({disk}-pt.parted with {disk}-pt.sf, \
         {disk}-gpt-1st and -2nd, or {disk}-mbr)",
        directory.path().shown()
    ))
}
