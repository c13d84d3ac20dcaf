//! Volumes whose boot sectors name another place than the place of the partition that they go to.

use crate::jobs::VolumeJob;
use crate::messages::say;
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_partition::device::Overlay;
use klon_partition::filesystem::boot_fields::{fit, misfit};
use klon_partition::filesystem::{Kind, probe};
use klon_partition::system::System;
use klon_partition::table::Partition;
use std::sync::Arc;

/// Boot sectors and their copies; this is far more.
const OVERLAY_BYTES_MAX: usize = 4 << 20;

/// Warns of volumes whose boot sector will name a wrong place on their targets, or puts that right. klon
/// changes what it reads of the source, so digests and records know of it.
///
/// # Errors
/// When the disk around a target can't be told, or the field can't be changed in what is read.
pub fn check(jobs: &mut [VolumeJob], is_fixed: bool, system: &System) -> Result<()> {
    for job in jobs {
        let Some(source) = job.source.as_mut().filter(|source| source.table.is_none()) else {
            continue;
        };
        let Some(partition) = partition(&job.target, system)? else {
            continue;
        };
        // A volume that can't be recognized has no field that could be told.
        let Some(kind) = kind(source) else {
            continue;
        };
        let start_bytes = partition.extent.offset_bytes();
        let Ok(Some(found)) = misfit(&*source.device, kind, start_bytes) else {
            continue;
        };
        if is_fixed {
            let overlay = Overlay::new(source.device.clone(), OVERLAY_BYTES_MAX);
            fit(&overlay, &found).with_context(|| source.name.clone())?;
            let fields = overlay.dirty_map();
            if let Some(salvaged) = &mut source.salvaged {
                salvaged.replace(&fields);
            }
            let extents = source.usage.extents.union(&fields);
            source.usage.extents = extents;
            source.device = Arc::new(overlay);
            continue;
        }
        // Firmware finds what it starts by the files of an ESP; 0 is what was made without a disk.
        if found.found_sectors == 0 || partition.partition_type.is_efi_system() {
            continue;
        }
        say(&format!(
            "klon: warning: {}: the {} says that its partition begins at sector {}, but {} begins \
             at {}. If a system starts from it, add --fix-boot-fields",
            source.name, found.kind, found.found_sectors, job.name, found.expected_sectors
        ));
    }
    Ok(())
}

/// What a source is. Nobody asked that yet of a volume that is packed in a file.
fn kind(source: &SourceEnd) -> Option<Kind> {
    match &source.usage.summary {
        Some(summary) => Some(summary.kind),
        None => Some(probe(&*source.device).ok()??.summary().kind),
    }
}

/// The partition that a target is.
fn partition(target: &TargetEnd, system: &System) -> Result<Option<Partition>> {
    let Some(now) = &target.now else {
        return Ok(None);
    };
    if let Some(partition) = &now.open.partition {
        return Ok(Some(partition.clone()));
    }
    let parent = now.open.parent(system)?;
    Ok(parent.and_then(|parent| parent.partition.clone()))
}
