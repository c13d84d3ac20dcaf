//! What every plan must satisfy, whether klon made it or somebody edited its file.

use super::layout::{Plan, PlannedVolume};
use super::name::{NAME_UNITS_MAX, check_name};
use super::new_table::{name, new_slots, new_usable};
use super::original::{BOOT_CODE_BYTES, LOADER_BYTES_MAX, LOADER_END_BYTES, Loader, Original};
use super::slots::{NUMBER_MAX, is_extended};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::table::{Partition, PartitionType, Scheme};
use crate::text::quoted;
use std::collections::HashSet;

/// More partitions than this no table has that klon writes.
const PARTITIONS_MAX: usize = 4096;

impl Plan {
    /// Checks the plan against itself: sizes, names, types, places.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the partition, what was expected and what was found.
    pub fn check(&self) -> Result<()> {
        self.check_drive()?;
        for volume in &self.volumes {
            self.check_volume(volume)?;
        }
        let planned: Vec<Partition> = self.our_partitions().collect();
        for partition in &planned {
            self.check_place(partition)?;
        }
        self.check_beside_each_other(&planned)?;
        for original in &self.originals {
            self.check_original(original)?;
        }
        self.check_names()
    }

    fn check_drive(&self) -> Result<()> {
        let sector = self.drive.logical_sector_bytes;
        if !sector.is_power_of_two() || !(512..=65536).contains(&sector) {
            return Err(Error::Invalid(format!(
                "drive.logical_sector_bytes is {sector}: expected a power of two from 512 to 65536"
            )));
        }
        // TOML's integers are signed.
        if i64::try_from(self.drive.size_bytes).is_err() {
            return Err(Error::Invalid("drive.size_bytes is 8 EiB or more".into()));
        }
        let table = &self.table;
        let is_consistent = match table.scheme {
            Scheme::Gpt => {
                table.disk_guid.is_some() && table.disk_signature == 0 && table.extended.is_none()
            }
            Scheme::Mbr => table.disk_guid.is_none(),
        };
        if !is_consistent {
            return Err(Error::Invalid(
                "table: expected a disk_guid alone for gpt, a disk_signature and perhaps an \
                 extended partition for mbr"
                    .to_owned(),
            ));
        }
        if table.is_new && !self.kept.is_empty() {
            let why = "table.is_new is true, so nothing can be kept: remove the [[kept]] entries";
            return Err(Error::Invalid(why.to_owned()));
        }
        Ok(())
    }

    fn check_volume(&self, volume: &PlannedVolume) -> Result<()> {
        let invalid = |what: String| Err(Error::Invalid(format!("{}: {what}", volume.name)));
        check_name(&volume.name)?;
        check_name(&volume.group)?;
        let scheme = self.table.scheme;
        let is_typed = match volume.partition_type {
            PartitionType::Gpt(guid) => scheme == Scheme::Gpt && !guid.is_nil(),
            PartitionType::Mbr(byte) => scheme == Scheme::Mbr && byte != 0,
        };
        if !is_typed {
            return invalid(format!("its type is not one of a {} table", name(scheme)));
        }
        let is_container = is_extended(&Partition {
            name: String::new(),
            ..self.partition_of(volume)
        });
        if is_container {
            return invalid("a volume can't be an extended partition".to_owned());
        }
        if volume.guid.is_some_and(|guid| !guid.is_nil()) != (scheme == Scheme::Gpt) {
            return invalid("expected a guid for gpt and none for mbr".to_owned());
        }
        if scheme == Scheme::Mbr && volume.attributes != 0 {
            return invalid("an mbr has no attributes".to_owned());
        }
        let size_bytes = volume.extent.len_bytes();
        let (least_bytes, whose) = match volume.is_shrunk {
            true => (
                volume.minimum_bytes.unwrap_or(0),
                "what the source's filesystem can be shrunk to,",
            ),
            false => (
                volume.least_bytes.unwrap_or(volume.source_bytes),
                "the source's",
            ),
        };
        if size_bytes < least_bytes {
            return invalid(format!(
                "size_bytes is {size_bytes}, less than {whose} {least_bytes}"
            ));
        }
        if volume.is_shrunk && size_bytes >= volume.source_bytes {
            return invalid(format!(
                "is_shrunk is true, and size_bytes {size_bytes} is not less than the source's {}",
                volume.source_bytes
            ));
        }
        Ok(())
    }

    fn partition_of(&self, volume: &PlannedVolume) -> Partition {
        Partition {
            number: volume.number,
            extent: volume.extent,
            partition_type: volume.partition_type,
            guid: volume.guid,
            name: volume.name.clone(),
            attributes: volume.attributes,
            is_bootable: volume.is_bootable,
        }
    }

    /// Where partitions may lie at most; a table that is kept says more when the plan meets it.
    fn bounds(&self) -> Option<Extent> {
        let drive = &self.drive;
        let sector = u64::from(drive.logical_sector_bytes);
        if self.table.is_new {
            return new_usable(
                self.table.scheme,
                drive.size_bytes,
                drive.logical_sector_bytes,
            );
        }
        match self.table.scheme {
            // Protective MBR, header, at least one sector of entries; the latter two again.
            Scheme::Gpt => {
                let tail = sector.saturating_mul(2);
                let first = sector.saturating_mul(3);
                Extent::between(first, drive.size_bytes.saturating_sub(tail))
            }
            Scheme::Mbr => new_usable(Scheme::Mbr, drive.size_bytes, drive.logical_sector_bytes),
        }
    }

    fn check_place(&self, partition: &Partition) -> Result<()> {
        let invalid = |what: String| {
            Err(Error::Invalid(format!(
                "partition {} of the plan: {what}",
                partition.number
            )))
        };
        let sector = u64::from(self.drive.logical_sector_bytes);
        let extent = partition.extent;
        let is_aligned = extent.offset_bytes().is_multiple_of(sector)
            && extent.len_bytes().is_multiple_of(sector);
        if !is_aligned {
            return invalid(format!(
                "start_bytes {} and size_bytes {}: expected multiples of the sector of {sector}",
                extent.offset_bytes(),
                extent.len_bytes()
            ));
        }
        let bounds = self.bounds();
        if !bounds.is_some_and(|bounds| bounds.contains(extent)) {
            let within = bounds.map_or_else(|| "nothing".to_owned(), |b| b.to_string());
            return invalid(format!("lies at {extent}: expected inside of {within}"));
        }
        let number_max = match (self.table.is_new, self.table.scheme) {
            (true, Scheme::Gpt) => new_slots(Scheme::Gpt),
            _ => NUMBER_MAX,
        };
        if !(1..=number_max).contains(&partition.number) {
            return invalid(format!("expected a number from 1 to {number_max}"));
        }
        Ok(())
    }

    fn check_beside_each_other(&self, planned: &[Partition]) -> Result<()> {
        let all: Vec<&Partition> = self.kept.iter().chain(planned).collect();
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                let clash = if one.number == other.number {
                    "have the same number"
                } else if one.guid.is_some() && one.guid == other.guid {
                    "have the same guid"
                } else if self.is_clash(one, other) {
                    "overlap, or one lies on the wrong side of the extended partition"
                } else {
                    continue;
                };
                return Err(Error::Invalid(format!(
                    "partitions {} ({}) and {} ({}) of the plan {clash}",
                    other.number, other.extent, one.number, one.extent
                )));
            }
        }
        let is_logical = |partition: &&&Partition| partition.number > 4;
        let has_extended = all.iter().any(|partition| is_extended(partition));
        let lacks_extended = self.table.scheme == Scheme::Mbr && !has_extended;
        match all.iter().find(is_logical).filter(|_| lacks_extended) {
            Some(logical) => Err(Error::Invalid(format!(
                "partition {} of the plan is logical, and there is no extended partition",
                logical.number
            ))),
            None => Ok(()),
        }
    }

    /// Whether two partitions are in each other's way: a logical one must lie in the extended one
    /// (behind its first boot record), all others beside each other.
    fn is_clash(&self, one: &Partition, other: &Partition) -> bool {
        let is_logical = |p: &Partition| self.table.scheme == Scheme::Mbr && p.number > 4;
        let is_container =
            |p: &Partition| self.table.scheme == Scheme::Mbr && !is_logical(p) && is_extended(p);
        match (is_container(one), is_container(other)) {
            (true, false) if is_logical(other) => !is_inside(one, other),
            (false, true) if is_logical(one) => !is_inside(other, one),
            _ => one.extent.overlaps(other.extent),
        }
    }

    /// Checks an original against itself, so that it can be laid out; whether it fits a disk is seen there.
    fn check_original(&self, original: &Original) -> Result<()> {
        let invalid = |what: String| {
            let identity = quoted(&original.identity.to_string());
            Err(Error::Invalid(format!("original {identity}: {what}")))
        };
        for group in &original.groups {
            if !self.volumes.iter().any(|volume| volume.group == *group) {
                return invalid(format!("no volume has the group {}", quoted(group)));
            }
        }
        let sector = original.logical_sector_bytes;
        if !sector.is_power_of_two() || !(512..=65536).contains(&sector) {
            return invalid(format!(
                "logical_sector_bytes is {sector}: expected a power of two from 512 to 65536"
            ));
        }
        if original.boot_code.len() > BOOT_CODE_BYTES {
            return invalid(format!("boot_code has more than {BOOT_CODE_BYTES} bytes"));
        }
        if let Some(loader) = &original.loader
            && let Some(wrong) = wrong_loader(loader, original)
        {
            return invalid(wrong);
        }
        if (original.scheme == Scheme::Gpt) != original.disk_guid.is_some() {
            return invalid("expected a disk_guid for gpt, and none for mbr".to_owned());
        }
        if original.partitions.len() > PARTITIONS_MAX {
            return invalid(format!("more than {PARTITIONS_MAX} partitions"));
        }
        let mut seen = HashSet::new();
        for partition in &original.partitions {
            let number = partition.number;
            if !seen.insert(number) {
                return invalid(format!("partition {number} is there twice"));
            }
            if (original.scheme == Scheme::Gpt) != partition.guid.is_some() {
                return invalid(format!(
                    "partition {number}: expected a guid for gpt and none for mbr"
                ));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        for (index, volume) in self.volumes.iter().enumerate() {
            let name = &volume.name;
            if name.encode_utf16().count() > NAME_UNITS_MAX {
                return Err(Error::Invalid(format!(
                    "{} is longer than the {NAME_UNITS_MAX} characters of a partition name",
                    quoted(name)
                )));
            }
            let mut others = self.volumes[..index].iter();
            if others.any(|other| other.name == *name) {
                return Err(Error::Invalid(format!(
                    "two volumes are called {}",
                    quoted(name)
                )));
            }
        }
        Ok(())
    }
}

/// What is wrong with a loader: it would go over a table or a partition, or is no whole sectors.
fn wrong_loader(loader: &Loader, original: &Original) -> Option<String> {
    let sector_bytes = u64::from(original.logical_sector_bytes);
    let len = loader.bytes.len();
    if len > LOADER_BYTES_MAX {
        return Some(format!("loader has more than {LOADER_BYTES_MAX} bytes"));
    }
    let is_placed = |extent: &Extent| {
        extent.offset_bytes() >= sector_bytes
            && extent.end_bytes() <= LOADER_END_BYTES
            && extent.offset_bytes().is_multiple_of(sector_bytes)
            && extent.len_bytes().is_multiple_of(sector_bytes)
            && !(original.partitions.iter()).any(|one| one.extent.overlaps(*extent))
    };
    match loader.extent().filter(is_placed) {
        Some(_) => None,
        None => Some(format!(
            "loader has {len} bytes from {} on: expected whole sectors between the first one and the first \
             partition, in the first MiB",
            loader.start_bytes
        )),
    }
}

fn is_inside(container: &Partition, logical: &Partition) -> bool {
    container.extent.contains(logical.extent)
        && container.extent.offset_bytes() < logical.extent.offset_bytes()
}
