//! What is on a disk: its table, its partitions, the filesystems in them.

mod container;
mod cut;
mod growth;
mod reading;
mod room;
mod unassigned;
mod usage;
mod verity;

pub use cut::{Cut, Fitting, Overrun, cut_of_disk, cut_of_volume, data_in};
pub use growth::{GrownTable, grown};
pub use room::room;
pub use unassigned::{Unassigned, first_unassigned, unassigned};
pub use usage::{DiskUsage, VolumeUsage, disk_usage, disk_usage_by};

use crate::device::{Geometry, ReadAt, Window, is_zero_up_to};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::{self, Forgiving, Gaps, Recognized, Summary, Usage, recognize, usage_by};
use crate::table::{Finding, Partition, PartitionType, Table};
use reading::Reading;
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
    /// filesystem. An extended MBR partition is no volume; its logical partitions are.
    pub volumes: Vec<Volume>,
    /// Whether the first mebibyte has nothing but zeroes.
    pub is_blank: bool,
}

impl DiskLayout {
    /// Why its table can't be relied on, if that is so: nothing shows then which bytes are free.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.findings.iter().find_map(Finding::doubt)
    }

    /// Whether both copies of its GPT are intact and name different partitions.
    #[must_use]
    pub fn has_differing_copies(&self) -> bool {
        let is_it = |finding: &Finding| matches!(finding, Finding::CopiesDiffer(_));
        self.findings.iter().any(is_it)
    }

    /// The table, when it can be relied on.
    #[must_use]
    pub fn believed_table(&self) -> Option<&Table> {
        self.table.as_ref().filter(|_| self.doubt().is_none())
    }

    /// A disk that shows nothing of itself.
    #[must_use]
    pub fn unknown(disk: &dyn ReadAt) -> Self {
        Self {
            geometry: disk.geometry(),
            table: None,
            findings: Vec::new(),
            volumes: Vec::new(),
            is_blank: false,
        }
    }
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
    /// The filesystem itself, when all of what tells it could be read.
    #[serde(skip)]
    pub recognized: Option<Recognized>,
    /// Why all of it must be copied, although its filesystem may prove some of it free: its type, or a
    /// hash tree on the disk, says that there is more in it.
    #[serde(skip)]
    pub contained_because: Option<String>,
}

impl Volume {
    /// The bytes of it that must be copied, by the filesystem that was recognized in it.
    ///
    /// # Errors
    /// As [`filesystem::usage()`].
    pub fn usage(&self, disk: &dyn ReadAt) -> Result<Usage> {
        let volume = Window::new(disk, self.extent)?;
        match &self.recognized {
            Some(filesystem) => usage_by(&volume, filesystem.clone()),
            None => filesystem::usage(&volume),
        }
    }
}

/// Reads what is on `disk`.
///
/// A partition whose filesystem can't be read is listed without one, and a finding says why.
///
/// A table that can't be relied on is a finding ([`Finding::Doubtful`]), and the partitions of it that
/// are wholly on the disk are listed.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub fn inspect(disk: &dyn ReadAt) -> Result<DiskLayout> {
    let geometry = disk.geometry();
    let Reading {
        table,
        mut findings,
        ..
    } = reading::read(disk)?;
    let whole = recognize(disk)?;
    let is_blank = is_zero_up_to(disk, MEBIBYTE)?;
    let volumes = match (&table, whole) {
        (Some(table), beside) => {
            findings.extend(beside.map(|beside| {
                Finding::Filesystem(format!(
                    "the whole disk also has the signature of {}; the table counts",
                    beside.summary().kind
                ))
            }));
            volumes(disk, table, &mut findings)?
        }
        (None, Some(filesystem)) => geometry
            .extent()
            .map(|extent| Volume {
                extent,
                partition: None,
                filesystem: Some(filesystem.summary().clone()),
                recognized: Some(filesystem),
                contained_because: None,
            })
            .into_iter()
            .collect(),
        (None, None) => Vec::new(),
    };
    Ok(DiskLayout {
        geometry,
        table,
        findings,
        volumes,
        is_blank,
    })
}

/// As [`inspect`], for a device with bad sectors: they count as zeroes. Also says what could not be
/// read.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_around(disk: &dyn ReadAt) -> Result<(DiskLayout, Vec<String>)> {
    let gaps = Gaps::new();
    let mut layout = inspect(&Forgiving::new(disk, 0, &gaps))?;
    // Zeroes may have told what they are.
    for volume in &mut layout.volumes {
        volume.recognized = None;
    }
    Ok((layout, gaps.list()))
}

const MEBIBYTE: u64 = 1 << 20;

/// The partitions that hold data, not others.
fn data_partitions(table: &Table) -> impl Iterator<Item = &Partition> {
    table.partitions.iter().filter(|partition| {
        !matches!(
            partition.partition_type,
            PartitionType::Mbr(0x05 | 0x0f | 0x85)
        )
    })
}

fn volumes(disk: &dyn ReadAt, table: &Table, findings: &mut Vec<Finding>) -> Result<Vec<Volume>> {
    let mut volumes = Vec::new();
    let beside = container::Beside::read(disk, table)?;
    for partition in data_partitions(table) {
        let window = Window::new(disk, partition.extent)?;
        let recognized = match recognize(&window) {
            Ok(recognized) => recognized,
            Err(error @ (Error::Corrupt(_) | Error::Unsupported { .. })) => {
                let how = format!("partition {}: {error}", partition.number);
                findings.push(Finding::Filesystem(how));
                None
            }
            Err(error) => return Err(error),
        };
        let filesystem = recognized.as_ref().map(|found| found.summary().clone());
        volumes.push(Volume {
            extent: partition.extent,
            partition: Some(partition.clone()),
            contained_because: filesystem
                .as_ref()
                .and_then(|summary| container::whole_because(table, partition, summary, &beside)),
            filesystem,
            recognized,
        });
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests;
