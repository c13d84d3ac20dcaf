//! The plan that a backup drive carries: a copy of its file between the table and the first partition, so
//! that the drive alone tells what is on it.
//!
//! It lies in the second half of the first MiB, where partitions that klon makes never begin and updates
//! are never staged, and only where nothing else is.
//!
//! | offset | field                                       |
//! |--------|---------------------------------------------|
//! | 0      | "KLONPLAN"                                  |
//! | 8      | version of this form, 1                     |
//! | 12     | length of the text in bytes; 0 while unsure |
//! | 16     | SHA-256 of the text                         |
//! | 4096   | the text                                    |

use crate::bytes::{is_zero, le32};
use crate::device::{ReadAt, WriteAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::planner::Plan;
use crate::table::{Table, hybrid_extents, raw_extents};
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"KLONPLAN";
const VERSION: u32 = 1;
const OFFSET_BYTES: u64 = 512 << 10;
const ROOM_BYTES: u64 = 512 << 10;
/// The header takes one sector of any size that is in use.
const HEADER_BYTES: usize = 4096;
const SHA256_BYTES: usize = 32;

/// What became of the copy of a plan on its drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The drive has it.
    Yes,
    /// The drive had it already.
    Already,
    /// There is no room for it: a partition or unknown data are there, or it is too long.
    NoRoom,
}

/// The plan that a drive with `table` carries; `None` when there is none, or it is not whole.
///
/// # Errors
/// [`Error::Io`] when the device fails; of a whole one as [`Plan::from_toml`].
pub fn carried(drive: &dyn ReadAt, table: &Table) -> Result<Option<Plan>> {
    let Some(place) = place(drive, table)? else {
        return Ok(None);
    };
    match text(drive, place)? {
        Some(text) => Plan::from_toml(&text).map(Some),
        None => Ok(None),
    }
}

/// Lets a drive with `table` carry `plan`. Without power in between, it carries none until the next
/// time.
///
/// # Errors
/// [`Error::Io`] when the device fails; as [`Plan::to_toml`].
pub fn carry(drive: &dyn WriteAt, table: &Table, plan: &Plan) -> Result<Carried> {
    let new = plan.to_toml()?;
    let Some(place) = place(&drive, table)? else {
        return Ok(Carried::NoRoom);
    };
    if text(&drive, place)?.as_ref() == Some(&new) {
        return Ok(Carried::Already);
    }
    let there = read_vec(&drive, place.offset_bytes(), length(place)?)?;
    let mut bytes = new.as_bytes().to_vec();
    let padded = bytes.len().next_multiple_of(HEADER_BYTES);
    let is_ours = there.starts_with(MAGIC);
    if !is_ours && !is_zero(&there) || padded > there.len().saturating_sub(HEADER_BYTES) {
        return Ok(Carried::NoRoom);
    }
    let too_long = |_| Error::Invalid("the plan is too long".to_owned());
    let len = u32::try_from(bytes.len()).map_err(too_long)?;
    let digest = Sha256::digest(&bytes);
    bytes.resize(padded, 0);
    drive.write_all_at(&header(0, &[0; SHA256_BYTES]), place.offset_bytes())?;
    drive.sync()?;
    let text_at = place.offset_bytes().saturating_add(HEADER_BYTES as u64);
    drive.write_all_at(&bytes, text_at)?;
    drive.sync()?;
    drive.write_all_at(&header(len, &digest), place.offset_bytes())?;
    drive.sync()?;
    Ok(Carried::Yes)
}

fn header(len: u32, digest: &[u8]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(len.to_le_bytes());
    header.extend(digest);
    header.resize(HEADER_BYTES, 0);
    header
}

fn length(place: Extent) -> Result<usize> {
    let len = usize::try_from(place.len_bytes());
    len.map_err(|_| Error::Invalid("a place for a plan is too long".to_owned()))
}

/// Where a copy lies, if that is neither a partition's nor the table's.
fn place(drive: &dyn ReadAt, table: &Table) -> Result<Option<Extent>> {
    let Some(place) = Extent::new(OFFSET_BYTES, ROOM_BYTES) else {
        return Ok(None);
    };
    let partitions: ExtentMap = table.partitions.iter().map(|one| one.extent).collect();
    let taken = partitions
        .union(&raw_extents(drive, table)?)
        .union(&hybrid_extents(drive, table)?);
    let is_free = table.usable.contains(place) && taken.within(place).next().is_none();
    Ok(Some(place).filter(|_| is_free))
}

/// The text that lies there; `None` when there is none, or it is not whole.
fn text(drive: &dyn ReadAt, place: Extent) -> Result<Option<String>> {
    let there = read_vec(drive, place.offset_bytes(), length(place)?)?;
    let (Some(header), Some(rest)) = (there.get(..HEADER_BYTES), there.get(HEADER_BYTES..)) else {
        return Ok(None);
    };
    if !header.starts_with(MAGIC) || le32(header, 8) != VERSION {
        return Ok(None);
    }
    let text = usize::try_from(le32(header, 12))
        .ok()
        .filter(|&len| len > 0)
        .and_then(|len| rest.get(..len));
    let Some(text) = text else {
        return Ok(None);
    };
    let digest = header.get(16..).and_then(|rest| rest.get(..SHA256_BYTES));
    if digest != Some(&*Sha256::digest(text)) {
        return Ok(None);
    }
    Ok(String::from_utf8(text.to_vec()).ok())
}

#[cfg(test)]
mod tests {
    use super::{Carried, OFFSET_BYTES, carried, carry};
    use crate::device::{Geometry, MemoryDevice, WriteAt};
    use crate::identity::Identity;
    use crate::planner::{Plan, PlannedDrive, PlannedTable, random_id};
    use crate::table::{Scheme, Table, write};

    const SIZE_BYTES: u64 = 8 << 20;

    fn plan(table: &Table) -> Plan {
        Plan {
            drive: PlannedDrive {
                identity: Identity::Serial("WD-WX11".to_owned()),
                size_bytes: SIZE_BYTES,
                logical_sector_bytes: 512,
            },
            table: PlannedTable {
                scheme: Scheme::Gpt,
                is_new: true,
                disk_guid: table.disk_guid,
                disk_signature: 0,
                extended: None,
            },
            volumes: Vec::new(),
            kept: Vec::new(),
            originals: Vec::new(),
        }
    }

    fn drive() -> (MemoryDevice, Table) {
        let device = MemoryDevice::new(vec![0; usize::try_from(SIZE_BYTES).unwrap()], 512);
        let table = Table::new_gpt(Geometry::new(SIZE_BYTES, 512), random_id()).unwrap();
        write(&device, &table).unwrap();
        (device, table)
    }

    #[test]
    fn a_drive_tells_its_plan() {
        let (device, table) = drive();
        let plan = plan(&table);
        assert_eq!(carried(&device, &table).unwrap(), None);
        assert_eq!(carry(&device, &table, &plan).unwrap(), Carried::Yes);
        assert_eq!(carry(&device, &table, &plan).unwrap(), Carried::Already);
        assert_eq!(carried(&device, &table).unwrap().as_ref(), Some(&plan));
        let mut other = plan;
        other.drive.identity = Identity::Serial("WD-WX12".to_owned());
        assert_eq!(carry(&device, &table, &other).unwrap(), Carried::Yes);
        assert_eq!(carried(&device, &table).unwrap(), Some(other));
    }

    #[test]
    fn a_copy_that_is_not_whole_is_none_and_is_replaced() {
        let (device, table) = drive();
        let plan = plan(&table);
        carry(&device, &table, &plan).unwrap();
        let within = OFFSET_BYTES + 4096 + 512;
        device.write_all_at(&[0; 512], within).unwrap();
        assert_eq!(carried(&device, &table).unwrap(), None);
        assert_eq!(carry(&device, &table, &plan).unwrap(), Carried::Yes);
        assert_eq!(carried(&device, &table).unwrap(), Some(plan));
    }

    #[test]
    fn nothing_else_is_written_over() {
        let (device, table) = drive();
        let within = OFFSET_BYTES + 65536;
        device.write_all_at(&[1; 512], within).unwrap();
        let carried_there = carry(&device, &table, &plan(&table)).unwrap();
        assert_eq!(carried_there, Carried::NoRoom);
        assert_eq!(carried(&device, &table).unwrap(), None);
    }
}
