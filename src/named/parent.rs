//! The disk around a partition that has a node of its own.

use super::identity::partition_identity;
use anyhow::Result;
use klon_partition::Identity;
use klon_partition::device::look_at;
use klon_partition::inspect::{DiskLayout, inspect};
use klon_partition::system::System;
use klon_partition::table::Partition;
use std::path::{Path, PathBuf};

/// The disk that a partition node (/dev/sda2) is a part of.
pub struct Parent {
    /// The disk's node.
    pub path: PathBuf,
    /// What is on the disk.
    pub layout: DiskLayout,
    /// The partition in its table; `None` when the table and the kernel differ.
    pub partition: Option<Partition>,
}

impl Parent {
    /// The disk beneath the partition node `path`; `None` when it is no such node, or the disk
    /// can't be read.
    ///
    /// # Errors
    /// When the system doesn't say which disk the node is of.
    pub fn of(path: &Path, system: &System) -> Result<Option<Self>> {
        let Some(disk) = system.disk_of(path)? else {
            return Ok(None);
        };
        let own = system.locate(path)?;
        for node in &disk.partitions {
            if system.locate(&node.path)? != own {
                continue;
            }
            let Ok(layout) = look_at(&disk.path).and_then(|source| inspect(&source)) else {
                return Ok(None);
            };
            let mut partitions = layout.table.iter().flat_map(|table| &table.partitions);
            let partition = partitions
                .find(|found| found.extent == node.extent)
                .cloned();
            return Ok(Some(Self {
                path: disk.path,
                layout,
                partition,
            }));
        }
        Ok(None)
    }

    /// How the partition is recognized.
    pub fn identity(&self) -> Option<Identity> {
        partition_identity(self.layout.table.as_ref()?, self.partition.as_ref()?)
    }
}
