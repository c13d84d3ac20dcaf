//! What a source is, as the planner wants to know it.

use crate::error::refused;
use crate::named::identity::identity_of;
use crate::named::open::OpenPlace;
use crate::source::contained;
use crate::source::fit;
use anyhow::Result;
use klon_partition::device::{Window, read_vec};
use klon_partition::filesystem::{Basis, Usage, usage};
use klon_partition::inspect::{Unassigned, Volume, unassigned};
use klon_partition::planner::{Source, SourceVolume};
use klon_partition::system::System;
use klon_partition::table::{Partition, Table};
use klon_partition::{Extent, Identity};
use std::path::Path;

/// Boot code in an MBR: what is before the disk signature.
const BOOT_CODE_LEN: usize = 440;

/// Describes a disk, a partition, or a file.
pub fn describe(open: &OpenPlace, system: &System) -> Result<Source> {
    if let (Some(why), None) = (open.layout.doubt(), &open.partition) {
        return Err(refused(format!(
            "its partition table can't be relied on ({why}), so klon can't say what is on it. Plan \
             for the partitions that you want to clone (NAME={0}:1), or copy all of it with klon \
             clone {0} TARGET",
            open.place.given
        )));
    }
    let parent = open.parent(system)?;
    // The disk that the source is or lies on.
    let (path, layout): (&Path, _) = match parent {
        Some(parent) => (&parent.path, &parent.layout),
        None => (&open.place.path, &open.layout),
    };
    let partition = parent.map_or(&open.partition, |parent| &parent.partition);
    let table = layout.table.as_ref();
    // What is known of disks is not known of files: a PARTUUID in one is not found again.
    let in_file = match system.disk_of(&open.place.path)? {
        None => open.partition.as_ref().map(|partition| partition.number),
        Some(_) => None,
    };
    Ok(Source {
        identity: match in_file {
            Some(_) => identity_of(system, path, layout)?,
            None => open.identity(system)?,
        },
        disk: table
            .map(|_| identity_of(system, path, layout))
            .transpose()?,
        logical_sector_bytes: table.map_or(layout.geometry.logical_sector_bytes, |table| {
            table.logical_sector_bytes
        }),
        disk_has_esp: table.is_some_and(has_esp),
        has_boot_code: has_boot_code(open)?,
        unassigned: data_outside(open)?,
        volumes: if open.is_disk() {
            partitions(open)?
        } else {
            vec![SourceVolume {
                number: in_file,
                ..single(open, partition.as_ref(), system)?
            }]
        },
    })
}

fn has_esp(table: &Table) -> bool {
    table
        .partitions
        .iter()
        .any(|partition| partition.partition_type.is_efi_system())
}

fn has_boot_code(open: &OpenPlace) -> Result<bool> {
    if !open.is_disk() {
        return Ok(false);
    }
    let code = read_vec(&*open.device, 0, BOOT_CODE_LEN)?;
    Ok(!klon_partition::bytes::is_zero(&code))
}

/// Data of a disk in no partition; boot code at its start is told by itself.
fn data_outside(open: &OpenPlace) -> Result<Option<Unassigned>> {
    /// Where partitions begin at the earliest: before that there are boot loaders.
    const BOOT_BYTES: u64 = 1 << 20;
    let from_bytes = if has_boot_code(open)? { BOOT_BYTES } else { 0 };
    match open.layout.table.as_ref().filter(|_| open.is_disk()) {
        Some(table) => Ok(unassigned(&*open.device, table, from_bytes)?),
        None => Ok(None),
    }
}

fn partitions(open: &OpenPlace) -> Result<Vec<SourceVolume>> {
    let mut volumes = Vec::new();
    for volume in &open.layout.volumes {
        let mut used = usage(&Window::new(&*open.device, volume.extent)?)?;
        if let Some(reason) = volume
            .contained_because
            .clone()
            .filter(|_| used.basis == Basis::Map)
        {
            used = Usage::contained(volume.extent.len_bytes(), used.summary, reason);
        }
        let table = open.layout.table.as_ref();
        let mut described = SourceVolume::new(volume, table, used_bytes(&used));
        described.end_bytes = fit::end_bytes(&used, volume.extent.len_bytes());
        volumes.push(described);
    }
    if volumes.is_empty() {
        return Err(refused("the disk has a table but no partitions to clone"));
    }
    Ok(volumes)
}

/// A partition, or a file or disk that is one volume.
fn single(
    open: &OpenPlace,
    partition: Option<&Partition>,
    system: &System,
) -> Result<SourceVolume> {
    let used = contained::by_disk(usage(&*open.device)?, open, system)?;
    let size_bytes = open.device.geometry().size_bytes;
    let volume = Volume {
        extent: Extent::new(0, size_bytes).ok_or_else(|| refused("it has no bytes"))?,
        partition: partition.cloned(),
        filesystem: used.summary.clone(),
        contained_because: None,
    };
    let mut single = SourceVolume::new(&volume, None, used_bytes(&used));
    single.end_bytes = fit::end_bytes(&used, size_bytes);
    if let Identity::PartUuid(partuuid) = open.identity(system)? {
        single.partuuid = Some(partuuid);
    }
    Ok(single)
}

fn used_bytes(usage: &Usage) -> Option<u64> {
    (usage.basis == Basis::Map).then(|| usage.used_bytes())
}
