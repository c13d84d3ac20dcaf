//! Whether the drive of a plan can boot by BIOS as the disk does that is cloned to it.

use super::layout::Plan;
use super::original::Original;
use crate::table::types::BIOS_BOOT;
use crate::table::{PartitionType, Table};

impl Plan {
    /// The disk whose boot code a drive with the new `table` gets, so that it boots as that disk does; `None` where
    /// that is not certain. The code refers to its loader by the sector, and the loader to its system by the number
    /// of a partition, so both must be what they are on the disk.
    #[must_use]
    pub fn boots_as(&self, table: &Table) -> Option<&Original> {
        let mut with_code = self.originals.iter().filter(|it| !it.boot_code.is_empty());
        let original = with_code.next()?;
        let is_only = with_code.next().is_none();
        let is_alike = self.table.is_new
            && table.scheme == original.scheme
            && table.logical_sector_bytes == original.logical_sector_bytes;
        let has_loader = !original.has_loader_in_gap || original.loader_for(table).is_some();
        let is_there = is_only && is_alike && has_loader;
        (is_there && self.has_places(original)).then_some(original)
    }

    /// Whether all partitions of a disk have clones with their numbers, and its loader's lies where it did.
    fn has_places(&self, original: &Original) -> bool {
        let mut partitions = original.partitions.iter();
        partitions.all(|partition| {
            let number = partition.number;
            let is_it = |volume: &&super::PlannedVolume| {
                let source = &volume.source;
                original.groups.contains(&volume.group)
                    && volume.number == number
                    && original.number_of(source.partuuid.as_deref(), source.partition)
                        == Some(number)
            };
            let volume = self.volumes.iter().find(is_it);
            let is_loader = partition.partition_type == PartitionType::Gpt(BIOS_BOOT);
            let is_in_place = |volume: &super::PlannedVolume| {
                !is_loader || volume.extent.offset_bytes() == partition.extent.offset_bytes()
            };
            partition.partition_type.is_extended() || volume.is_some_and(is_in_place)
        })
    }
}
