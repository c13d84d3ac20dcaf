//! Which bytes of a whole disk must be copied: its table, the room in no partition, and of each
//! partition what its filesystem does not prove free.

use super::container;
use super::{Volume, data_partitions, reading};
use crate::bytes::is_zero;
use crate::device::{ReadAt, Window, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{self, Basis, Usage};
use crate::outside;
use crate::table::{self, Partition, Scheme, Table};

/// The bytes of a whole disk that must be copied.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// The table, if there is one.
    pub table: Option<Table>,
    /// What must be copied of the disk, `unproven` included.
    pub extents: ExtentMap,
    /// The part of `extents` that belongs to no partition: table structures, all other room, and
    /// an ISO 9660 that shares the disk with the table.
    pub outside: ExtentMap,
    /// The part of `extents` that must be copied only because no one proved it free: room in no
    /// partition, and what lies behind the filesystems' own ends.
    pub unproven: ExtentMap,
    /// The part of `unproven` that [`crate::Outside::Edges`] copies.
    pub edges: ExtentMap,
    /// Where `extents` comes from: [`Basis::Whole`] when the disk as a whole can't be told apart.
    pub basis: Basis,
    /// What each partition, or the disk as one volume, adds to it.
    pub volumes: Vec<VolumeUsage>,
}

impl DiskUsage {
    /// What is in use of the disk as one thing, whichever volume has it.
    #[must_use]
    pub fn into_usage(self) -> Usage {
        Usage {
            unproven: self.unproven,
            edges: self.edges,
            basis: self.basis,
            ..Usage::mapped(self.extents)
        }
    }
}

/// The bytes of one volume of a disk that must be copied.
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
/// [`crate::Error::Io`] when the device fails.
pub fn disk_usage(disk: &dyn ReadAt) -> Result<DiskUsage> {
    disk_usage_by(disk, &[])
}

/// As [`disk_usage()`], by the filesystems that were recognized in the `known` volumes of the same disk.
///
/// # Errors
/// As [`disk_usage()`].
pub fn disk_usage_by(disk: &dyn ReadAt, known: &[Volume]) -> Result<DiskUsage> {
    let reading = reading::read(disk)?;
    if let Some(why) = reading.doubt() {
        return doubtful(disk, reading.table.as_ref(), why, known);
    }
    let Some(table) = reading.table else {
        return unpartitioned(disk, known);
    };
    if is_unknown_label(disk, &table)? {
        return Ok(unknown_label(disk, table));
    }
    let Unpartitioned { used, room } = outside_of(disk, &table)?;
    let partitions: ExtentMap = data_partitions(&table).map(|it| it.extent).collect();
    let mut usage = DiskUsage {
        extents: used.union(&room),
        outside: used.difference(&partitions).union(&room),
        edges: outside::edges(&room).union(&outside::disk_start(&room)),
        unproven: room,
        basis: Basis::Map,
        table: None,
        volumes: Vec::new(),
    };
    let beside = container::Beside::read(disk, &table)?;
    let mut in_use = used;
    for partition in data_partitions(&table) {
        let mut volume = volume_usage(disk, partition.extent, known)?;
        let because = volume
            .summary
            .as_ref()
            .and_then(|summary| container::whole_because(&table, partition, summary, &beside));
        if let Some(reason) = because.filter(|_| volume.basis == Basis::Map) {
            let size_bytes = partition.extent.len_bytes();
            volume = volume.contained(size_bytes, reason);
        }
        in_use = in_use.union(&volume.used().shifted(partition.extent.offset_bytes()));
        usage.add(volume, partition);
    }
    // Partitions may overlap: what is free to one may be another's.
    usage.unproven = usage.unproven.difference(&in_use);
    usage.table = Some(table);
    Ok(usage)
}

/// The bytes of the volume at `extent` that must be copied.
fn volume_usage(disk: &dyn ReadAt, extent: Extent, known: &[Volume]) -> Result<Usage> {
    match known.iter().find(|volume| volume.extent == extent) {
        Some(volume) => volume.usage(disk),
        None => filesystem::usage(&Window::new(disk, extent)?),
    }
}

/// The bytes of a disk that are not what its partitions say.
pub(super) struct Unpartitioned {
    /// What is in use whatever the partitions say: the table's structures, an ISO 9660.
    pub(super) used: ExtentMap,
    /// The room that no partition has beside that.
    pub(super) room: ExtentMap,
}

pub(super) fn outside_of(disk: &dyn ReadAt, table: &Table) -> Result<Unpartitioned> {
    // The partitions of an installation medium are files or parts of its ISO 9660, and what is
    // free in them belongs to it too.
    let used = table::raw_extents(disk, table)?.union(&filesystem::beside_table(disk)?);
    let partitions: ExtentMap = data_partitions(table).map(|it| it.extent).collect();
    let room = partitions.complement(disk.geometry().size_bytes);
    let room = room.difference(&used);
    Ok(Unpartitioned { used, room })
}

impl DiskUsage {
    /// Adds what a partition must have copied.
    fn add(&mut self, usage: Usage, partition: &Partition) {
        let shifted = |map: &ExtentMap| map.shifted(partition.extent.offset_bytes());
        self.extents = self.extents.union(&shifted(&usage.extents));
        self.unproven = self.unproven.union(&shifted(&usage.unproven));
        self.edges = self.edges.union(&shifted(&usage.edges));
        self.volumes.push(VolumeUsage {
            extent: partition.extent,
            partition: Some(partition.clone()),
            usage,
        });
    }
}

/// All of a disk whose table can't be relied on: there may be data where it says there is none.
fn doubtful(
    disk: &dyn ReadAt,
    table: Option<&Table>,
    why: &str,
    known: &[Volume],
) -> Result<DiskUsage> {
    let extents = ExtentMap::whole(disk.geometry().size_bytes);
    let mut volumes = Vec::new();
    for partition in table.into_iter().flat_map(data_partitions) {
        volumes.push(VolumeUsage {
            extent: partition.extent,
            partition: Some(partition.clone()),
            usage: volume_usage(disk, partition.extent, known)?,
        });
    }
    let partitions = volumes.iter().map(|volume| volume.extent).collect();
    Ok(DiskUsage {
        table: table.cloned(),
        outside: extents.difference(&partitions),
        extents,
        unproven: ExtentMap::new(),
        edges: ExtentMap::new(),
        basis: Basis::Whole {
            reason: format!("its partition table can't be relied on: {why}"),
            is_warning: true,
        },
        volumes,
    })
}

impl DiskUsage {
    /// The bytes that the filesystems of `disk` list as bad, which are not in use.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub fn known_bad(&self, disk: &dyn ReadAt) -> Result<ExtentMap> {
        self.of_volumes(disk, Usage::known_bad)
    }

    /// The bytes that the filesystems of `disk` have in use and need nothing of.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub fn blank(&self, disk: &dyn ReadAt) -> Result<ExtentMap> {
        self.of_volumes(disk, Usage::blank)
    }

    /// What `find` finds on the volumes, as bytes of the disk.
    fn of_volumes(
        &self,
        disk: &dyn ReadAt,
        find: fn(&Usage, &dyn ReadAt) -> ExtentMap,
    ) -> Result<ExtentMap> {
        let mut all = ExtentMap::new();
        for volume in &self.volumes {
            let window = Window::new(disk, volume.extent)?;
            let found = find(&volume.usage, &window);
            all = all.union(&found.shifted(volume.extent.offset_bytes()));
        }
        Ok(all)
    }
}

fn unpartitioned(disk: &dyn ReadAt, known: &[Volume]) -> Result<DiskUsage> {
    let usage = match disk.geometry().extent() {
        Some(whole) => volume_usage(disk, whole, known)?,
        None => filesystem::usage(disk)?,
    };
    let (extents, basis) = (usage.extents.clone(), usage.basis.clone());
    let (unproven, edges) = (usage.unproven.clone(), usage.edges.clone());
    let volume = disk.geometry().extent().map(|extent| VolumeUsage {
        extent,
        partition: None,
        usage,
    });
    Ok(DiskUsage {
        table: None,
        extents,
        outside: ExtentMap::new(),
        unproven,
        edges,
        basis,
        volumes: volume.into_iter().collect(),
    })
}

/// Whether there is a boot sector with code in it and no partition: whoever put the code there
/// knows what the disk holds (Minix, BSD, the loaders of boards).
fn is_unknown_label(disk: &dyn ReadAt, table: &Table) -> Result<bool> {
    /// Where the disk signature and the entries of a boot sector begin.
    const CODE_BYTES: usize = 440;
    if table.scheme != Scheme::Mbr || !table.partitions.is_empty() {
        return Ok(false);
    }
    Ok(!is_zero(&read_vec(disk, 0, CODE_BYTES)?))
}

fn unknown_label(disk: &dyn ReadAt, table: Table) -> DiskUsage {
    let extents = ExtentMap::whole(disk.geometry().size_bytes);
    DiskUsage {
        table: Some(table),
        outside: extents.clone(),
        extents,
        unproven: ExtentMap::new(),
        edges: ExtentMap::new(),
        basis: Basis::Whole {
            reason:
                "its boot sector has code and no partition, so nothing shows what the disk holds"
                    .to_owned(),
            is_warning: false,
        },
        volumes: Vec::new(),
    }
}
