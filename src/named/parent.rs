//! The disk around a partition that has a node of its own.

use super::identity::partition_identity;
use anyhow::Result;
use klon_partition::device::look_at;
use klon_partition::inspect::{DiskLayout, inspect};
use klon_partition::system::{Disk, Location, System};
use klon_partition::table::Partition;
use klon_partition::{Extent, Identity, ReadAt};
use std::path::{Path, PathBuf};

/// The disk that a partition node (/dev/sda2) is a part of.
pub struct Parent {
    /// The disk's node.
    pub path: PathBuf,
    /// What is on the disk.
    pub layout: DiskLayout,
    /// Where the kernel has the partition.
    pub extent: Extent,
    /// The partition in its table; `None` when the table and the kernel differ.
    pub partition: Option<Partition>,
}

impl Parent {
    /// The disk, for the partition node on it that lies at `own`; `None` when no node does, or the disk can't
    /// be read.
    ///
    /// # Errors
    /// When the system doesn't say where a node of the disk lies.
    pub(super) fn find(disk: &Disk, own: &Location, system: &System) -> Result<Option<Self>> {
        for node in &disk.partitions {
            if system.locate(&node.path)? == *own {
                let found = look_at(&disk.path).and_then(|source| inspect(&source));
                let found = found.ok();
                return Ok(found.map(|layout| Self::in_layout(&disk.path, node.extent, layout)));
            }
        }
        Ok(None)
    }

    /// The same disk as it is now, read through `opened`.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn again(&self, opened: &dyn ReadAt) -> klon_partition::Result<Self> {
        Ok(Self::in_layout(&self.path, self.extent, inspect(opened)?))
    }

    fn in_layout(path: &Path, extent: Extent, layout: DiskLayout) -> Self {
        let mut partitions = layout.table.iter().flat_map(|table| &table.partitions);
        let partition = partitions.find(|found| found.extent == extent).cloned();
        Self {
            path: path.to_owned(),
            layout,
            extent,
            partition,
        }
    }

    /// How the partition is recognized.
    pub fn identity(&self) -> Option<Identity> {
        partition_identity(self.layout.table.as_ref()?, self.partition.as_ref()?)
    }
}
