//! The node of a partition, for a partition that was named by its number on a disk.

use super::Place;
use super::open::find_partition;
use anyhow::Result;
use klon_partition::Shown as _;
use klon_partition::device::look_at;
use klon_partition::inspect::inspect;
use klon_partition::system::{System, Use};

impl Place {
    /// The node of this partition, if something on its disk is in use: then uses of the other partitions do not matter.
    /// Without such a node, the same place.
    ///
    /// # Errors
    /// When the system can't be asked, or the disk can't be read.
    pub fn at_node(self, system: &System) -> Result<Self> {
        // What is in an image or on a server has no node here.
        let is_here = self.image.is_none() && !self.is_export();
        let Some(number) = self.number.filter(|_| is_here) else {
            return Ok(self);
        };
        let Some(disk) = system.disk_of(&self.path)? else {
            return Ok(self);
        };
        let is_in_use = || -> Result<bool> {
            let uses = system.uses(&disk.path)?;
            Ok(uses.iter().any(Use::changes_source))
        };
        let is_disk = system.locate(&self.path)? == system.locate(&disk.path)?;
        if disk.partitions.is_empty() || !is_disk || !is_in_use()? {
            return Ok(self);
        }
        let layout = inspect(&look_at(&disk.path)?)?;
        let partition = find_partition(&layout, number)?;
        let Some(node) = disk.partition_at(partition.extent) else {
            return Ok(self);
        };
        Ok(Self {
            given: node.path.shown(),
            path: node.path.clone(),
            number: None,
            ..self
        })
    }
}
