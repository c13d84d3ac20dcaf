//! Partition tables: GPT and MBR as found or as planned.
//!
//! The crates `gpt` and `mbrman` stay behind this module; none of their types is in a public
//! signature.

mod boot;
mod finding;
mod gpt;
mod guard;
mod layout;
mod mbr;
mod moved;
mod overlap;
mod own_id;
mod raw;
mod read;
mod sectors;
pub mod types;
mod validate;
mod write;

pub use layout::relocated;
pub use moved::{Moved, MovedField};
pub use own_id::with_own_ids;
pub(crate) use raw::hybrid_entries;
pub use raw::{hybrid_extents, raw_extents, unknown_hybrid_extents};
pub use write::Rewrite;

use crate::device::{ReadAt, WriteAt};
use crate::error::Result;
use crate::extent::Extent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Which kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// GUID partition table (UEFI specification, chapter 5).
    Gpt,
    /// Master boot record, with extended and logical partitions.
    Mbr,
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionType {
    /// GPT partition type GUID.
    Gpt(Uuid),
    /// MBR partition type byte.
    Mbr(u8),
}

/// One partition. Offsets are bytes from the start of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Slot in the table from 1, as in /dev/sda3; logical MBR partitions count from 5.
    pub number: u32,
    /// Where it lies.
    pub extent: Extent,
    /// What it is for.
    pub partition_type: PartitionType,
    /// GPT unique partition GUID.
    pub guid: Option<Uuid>,
    /// GPT partition name.
    pub name: String,
    /// GPT attribute bits.
    pub attributes: u64,
    /// MBR boot indicator.
    pub is_bootable: bool,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Which kind.
    pub scheme: Scheme,
    /// GPT disk GUID.
    pub disk_guid: Option<Uuid>,
    /// MBR disk signature (also of a GPT's protective MBR when it is not 0).
    pub disk_signature: u32,
    /// The unit in which the table counts.
    pub logical_sector_bytes: u32,
    /// Where partitions may lie.
    pub usable: Extent,
    /// Number of slots (GPT) or of primary slots (MBR: 4).
    pub slots_max: u32,
    /// Length of an entry in bytes: 128 or more (GPT), 16 (MBR).
    pub entry_bytes: u32,
    /// The partitions in order of their numbers. MBR: the extended partition itself is listed
    /// too, beside its logical partitions.
    pub partitions: Vec<Partition>,
}

/// What is at the start of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing but zeroes where a table would be.
    Blank,
    /// No table, but something: a filesystem on the whole disk, or unknown bytes.
    NoTable,
    /// A table, and what is wrong or unusual about it.
    Table(Table, Vec<Finding>),
}

/// Something about a table that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding", content = "detail")]
#[non_exhaustive]
pub enum Finding {
    /// The primary GPT header or array is damaged; the backup was used. How.
    PrimaryDamaged(String),
    /// The backup GPT header or array is damaged or missing. How.
    BackupDamaged(String),
    /// Both copies of a GPT are intact and name the same partitions, and something else differs. What.
    BackupDiffers(String),
    /// The backup GPT is not at the end of the disk, as after a copy to a larger one. Where.
    BackupMisplaced(String),
    /// An MBR that lists real partitions beside the GPT.
    Hybrid(String),
    /// The protective MBR is missing or unusual. How.
    ProtectiveMbr(String),
    /// The table contradicts itself or the disk, or is damaged, so that it can't be relied on. How.
    Doubtful(String),
    /// Both copies of a GPT are intact and name different partitions, so that neither can be relied
    /// on. Which.
    CopiesDiffer(String),
    /// The table counts in other sectors than those in which the disk is read. Which.
    Sectors(String),
    /// A filesystem on the whole disk beside the table, or one in a partition that can't be
    /// read. Which.
    Filesystem(String),
}

/// Reads the table on `disk`, counting in the device's logical sectors (a GPT also in sectors of
/// 512 or 4096 bytes, when that is where it is, as in an image of another disk).
///
/// A filesystem's boot sector is no MBR, and a backup GPT that was left behind other data is no
/// GPT. Of an MBR with partitions and a GPT without protective MBR, the MBR counts, as for Linux.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails, [`crate::Error::Corrupt`] or
/// [`crate::Error::Unsupported`] when there is a table that can't be read.
pub fn read(disk: &dyn ReadAt) -> Result<Found> {
    read::read(disk)
}

/// What can be told of a table that [`read()`] refuses: the partitions that are wholly on the disk,
/// which may overlap. `None` when nothing of it can be told.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn readable(disk: &dyn ReadAt) -> Result<Option<Table>> {
    read::readable(disk)
}

/// The table that the backup of a GPT names where both copies are intact: another one than [`read()`]
/// finds when writing it was interrupted.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails, [`crate::Error::Corrupt`] when the backup contradicts
/// itself.
pub fn backup(disk: &dyn ReadAt) -> Result<Option<Table>> {
    read::backup(disk)
}

/// Writes `table` to `disk`: backup, sync, primary, sync; only sectors that change.
///
/// When `table` is another state of the table on the disk (of the same disk GUID or signature,
/// slots and entries), that one is edited: boot code, the entries of a hybrid MBR, what headers,
/// entries and records hold beside their fields, and the places of all structures stay, and
/// entries that don't change stay as they are, byte for byte.
///
/// Otherwise it is written anew: boot code and, unless the table has its own, the disk signature
/// that are on the disk stay, GPT headers of an older table are cleared, and a GPT gets a plain
/// protective MBR.
///
/// # Errors
/// Before anything is written: [`crate::Error::Invalid`] when the table does not fit the disk or
/// contradicts itself, [`crate::Error::Refused`] when something on the disk can't be kept, as a
/// hybrid entry of a partition that moves; [`crate::Error::Io`] when the device fails.
pub fn write(disk: &dyn WriteAt, table: &Table) -> Result<()> {
    Rewrite::plan(disk, disk, table)?.carry_out(disk)
}

#[cfg(test)]
mod tests;
