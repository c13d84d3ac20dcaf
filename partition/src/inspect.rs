//! What is on a disk: its table, its partitions, the filesystems in them.

use crate::device::{Geometry, ReadAt};
use crate::error::Result;
use crate::extent::Extent;
use crate::filesystem::Summary;
use crate::table::{Finding, Partition, Table};
use serde::Serialize;

/// What is on a disk or a volume.
#[derive(Clone, Debug)]
pub struct DiskLayout {
    /// The device.
    pub geometry: Geometry,
    /// The partition table, if there is one.
    pub table: Option<Table>,
    /// What is wrong or unusual about the table.
    pub findings: Vec<Finding>,
    /// The volumes: the partitions in order, or the whole disk when it has no table and a
    /// filesystem.
    pub volumes: Vec<Volume>,
    /// Whether the first mebibyte has anything but zeroes.
    pub is_blank: bool,
}

/// A partition or a whole disk, and what is in it.
#[derive(Clone, Debug, Serialize)]
pub struct Volume {
    /// Where it lies on the disk.
    pub extent: Extent,
    /// The partition; `None` for a filesystem on the whole disk.
    pub partition: Option<Partition>,
    /// What is in it, if it was recognised.
    pub filesystem: Option<Summary>,
}

/// Reads what is on `disk`.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Corrupt`] or
/// [`crate::Error::Unsupported`] when its table can't be read.
pub fn inspect(disk: &dyn ReadAt) -> Result<DiskLayout> {
    Ok(DiskLayout {
        geometry: disk.geometry(),
        table: None,
        findings: Vec::new(),
        volumes: Vec::new(),
        is_blank: false,
    })
}
