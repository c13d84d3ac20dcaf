//! Partitions that hold more than the filesystem at their start. Their disk's table or its hash trees say so,
//! even if the user names the partition alone.

use crate::named::open::OpenPlace;
use anyhow::Result;
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::table::Partition;

/// What must be copied of a volume, by its own filesystem and by what its disk says of it.
///
/// # Errors
/// When the disk around a partition node can't be told.
pub fn by_disk(usage: Usage, open: &OpenPlace, system: &System) -> Result<Usage> {
    if usage.basis != Basis::Map {
        return Ok(usage);
    }
    let reason = match &open.partition {
        Some(partition) => reason_in(&open.layout, partition),
        None if open.snapshot.is_some() => None,
        None => open.parent(system)?.and_then(|parent| {
            let partition = parent.partition.as_ref()?;
            reason_in(&parent.layout, partition)
        }),
    };
    let size_bytes = open.device.geometry().size_bytes;
    Ok(match reason {
        Some(reason) => usage.contained(size_bytes, reason),
        None => usage,
    })
}

fn reason_in(layout: &DiskLayout, partition: &Partition) -> Option<String> {
    let mut volumes = layout.volumes.iter();
    let volume = volumes.find(|volume| volume.extent == partition.extent)?;
    volume.contained_because.clone()
}
