//! How disks, partitions and files are recognized again.

use anyhow::{Context as _, Result};
use klon_partition::Identity;
use klon_partition::Shown;
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::table::{Partition, Scheme, Table};
use std::path::Path;

/// How a partition is recognized: as the kernel's PARTUUID. `None` for a disk without signature.
pub fn partition_identity(table: &Table, partition: &Partition) -> Option<Identity> {
    match (table.scheme, partition.guid) {
        (Scheme::Gpt, Some(guid)) => Some(Identity::PartUuid(guid.to_string())),
        (Scheme::Mbr, _) if table.disk_signature != 0 => Some(Identity::PartUuid(format!(
            "{:08x}-{:02x}",
            table.disk_signature, partition.number
        ))),
        _ => None,
    }
}

/// The names that plans give: `BootClone`, `BootClone-ESP`, `MasterClone-2026-11-21`.
pub fn is_clone_name(name: &str) -> bool {
    name.split('-')
        .next()
        .is_some_and(|first| first.len() > 5 && first.ends_with("Clone"))
}

/// How a whole disk or file is recognized.
///
/// # Errors
/// When the system can't be asked, or the path leads to nothing.
pub fn identity_of(system: &System, path: &Path, layout: &DiskLayout) -> Result<Identity> {
    if let Some(identity) = system.identity(path)? {
        return Ok(identity);
    }
    if let Some(identity) = layout.table.as_ref().and_then(disk_identity) {
        return Ok(identity);
    }
    let filesystem = layout
        .volumes
        .iter()
        .find(|volume| volume.partition.is_none());
    if let Some(uuid) = filesystem.and_then(|volume| volume.filesystem.as_ref()?.uuid.clone()) {
        return Ok(Identity::FsUuid(uuid));
    }
    identity_by_path(path)
}

/// How a disk is recognized by its table, if that has a GUID or a signature.
pub fn disk_identity(table: &Table) -> Option<Identity> {
    match table.disk_guid {
        Some(guid) => Some(Identity::DiskGuid(guid.to_string())),
        None if table.disk_signature != 0 => {
            Some(Identity::DiskGuid(format!("{:08x}", table.disk_signature)))
        }
        None => None,
    }
}

/// How something is recognized that has nothing but a place.
///
/// # Errors
/// When the path leads to nothing.
pub fn identity_by_path(path: &Path) -> Result<Identity> {
    let path = path.canonicalize().with_context(|| path.shown())?;
    Ok(Identity::Path(path.shown()))
}
