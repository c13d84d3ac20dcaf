//! Which bytes of a whole disk must be copied: its table, what boot loaders keep between
//! partitions, and of each partition what its filesystem uses.

use super::{MEBIBYTE, data_partitions, read_table};
use crate::device::{ReadAt, Window};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{self, Usage};
use crate::table::{self, Partition, Table};

/// A gap up to this size is copied whole, and so is this much before the first partition: boot
/// loaders embed themselves there.
const GAP_WHOLE_BYTES: u64 = 16 * MEBIBYTE;

/// Of a larger gap, its first and last mebibyte: extended boot records, RAID superblocks.
const GAP_EDGE_BYTES: u64 = MEBIBYTE;

/// What of a whole disk must be copied.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// The table, if there is one.
    pub table: Option<Table>,
    /// What must be copied of the disk.
    pub extents: ExtentMap,
    /// The part of `extents` that belongs to no partition: table structures, gaps, and an ISO 9660
    /// that shares the disk with the table.
    pub outside: ExtentMap,
    /// What each partition, or the disk as one volume, adds to it.
    pub volumes: Vec<VolumeUsage>,
}

/// What of one volume of a disk must be copied.
#[derive(Clone, Debug)]
pub struct VolumeUsage {
    /// Where it lies on the disk.
    pub extent: Extent,
    /// The partition; `None` for a disk without a table.
    pub partition: Option<Partition>,
    /// What must be copied of it, at offsets from its own start.
    pub usage: Usage,
}

/// Finds what of `disk` must be copied.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails; [`crate::Error::Corrupt`] or
/// [`crate::Error::Unsupported`] when its table can't be read.
pub fn disk_usage(disk: &dyn ReadAt) -> Result<DiskUsage> {
    let (Some(table), _) = read_table(disk)? else {
        return unpartitioned(disk);
    };
    let structures = table::raw_extents(disk, &table)?.union(&gap_extents(disk, &table));
    // The partitions of an installation medium are files or parts of its ISO 9660, and what is
    // free in them belongs to it too.
    let beside = filesystem::beside_table(disk)?;
    let partitions = data_partitions(&table).map(|partition| partition.extent);
    let outside = structures.union(&beside.difference(&partitions.collect()));
    let mut extents = structures.union(&beside);
    let mut volumes = Vec::new();
    for partition in data_partitions(&table) {
        let usage = filesystem::usage(&Window::new(disk, partition.extent)?)?;
        let shifted = usage.extents.shifted(partition.extent.offset_bytes());
        extents = extents.union(&shifted);
        volumes.push(VolumeUsage {
            extent: partition.extent,
            partition: Some(partition.clone()),
            usage,
        });
    }
    Ok(DiskUsage {
        table: Some(table),
        extents,
        outside,
        volumes,
    })
}

impl DiskUsage {
    /// The bytes that the filesystems of `disk` list as bad, which are not in use.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub fn known_bad(&self, disk: &dyn ReadAt) -> Result<ExtentMap> {
        let mut known = ExtentMap::new();
        for volume in &self.volumes {
            let window = Window::new(disk, volume.extent)?;
            let bad = filesystem::known_bad(&window)?;
            known = known.union(&bad.shifted(volume.extent.offset_bytes()));
        }
        Ok(known)
    }
}

fn unpartitioned(disk: &dyn ReadAt) -> Result<DiskUsage> {
    let usage = filesystem::usage(disk)?;
    let extents = usage.extents.clone();
    let volume = disk.geometry().extent().map(|extent| VolumeUsage {
        extent,
        partition: None,
        usage,
    });
    Ok(DiskUsage {
        table: None,
        extents,
        outside: ExtentMap::new(),
        volumes: volume.into_iter().collect(),
    })
}

/// What is copied of the space that no partition has.
pub(super) fn gap_extents(disk: &dyn ReadAt, table: &Table) -> ExtentMap {
    let partitions: ExtentMap = data_partitions(table)
        .map(|partition| partition.extent)
        .collect();
    let gaps = partitions.complement(disk.geometry().size_bytes);
    gaps.iter().flat_map(gap_edges).flatten().collect()
}

fn gap_edges(gap: Extent) -> [Option<Extent>; 2] {
    if gap.len_bytes() <= GAP_WHOLE_BYTES {
        return [Some(gap), None];
    }
    let first_bytes = if gap.offset_bytes() == 0 {
        GAP_WHOLE_BYTES
    } else {
        GAP_EDGE_BYTES
    };
    let last_start_bytes = gap.end_bytes().saturating_sub(GAP_EDGE_BYTES);
    [
        Extent::new(gap.offset_bytes(), first_bytes),
        Extent::between(last_start_bytes, gap.end_bytes()),
    ]
}
