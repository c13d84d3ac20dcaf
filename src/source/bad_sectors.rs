//! Sources with bad sectors, opened and looked at around them.

use crate::guard;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::source::SourceEnd;
use crate::source::contained;
use anyhow::Result;
use klon_partition::device::Window;
use klon_partition::filesystem::{Basis, Usage, usage_or_whole};
use klon_partition::inspect::disk_usage;
use klon_partition::system::System;
use klon_partition::{Error, ExtentMap, Geometry, ReadAt};

/// As [`SourceEnd::open`], for a source with bad sectors.
///
/// # Errors
/// When the place is in use or gone, or does not fit the target.
pub fn open(place: &Place, system: &System, target: Option<Geometry>) -> Result<SourceEnd> {
    place.refuse_export("can't be read around bad sectors. Run klon where the disk is")?;
    guard::still(system, &place.path)?;
    let open = place.claim_around(system)?;
    let mut source = if open.is_disk() {
        disk(&open, system, target)?
    } else {
        volume(&open, system, target)?
    };
    source.metadata = metadata(&source);
    Ok(source)
}

/// Whether something could not be read.
pub fn is_unread(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref();
    cause.is_some_and(|cause| matches!(cause, Error::Io { .. }))
}

/// As [`SourceEnd::volume`]; all of it where its used blocks can't be read.
///
/// # Errors
/// When the volume does not fit the target, or is no source.
pub fn volume(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<SourceEnd> {
    let usage = usage_or_whole(&*open.device, None);
    let usage = contained::by_disk(usage, open, system)?;
    let mut source = SourceEnd::with_usage(open, system, usage, target)?;
    source.metadata = metadata(&source);
    Ok(source)
}

fn disk(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<SourceEnd> {
    match SourceEnd::disk(open, system, target) {
        Err(error) if is_unread(&error) => {
            let usage = usage_or_whole(&*open.device, None);
            let usage = Usage {
                summary: usage.summary,
                basis: usage.basis,
                ..Usage::mapped(ExtentMap::whole(open.device.geometry().size_bytes))
            };
            let mut source = SourceEnd::with_usage(open, system, usage, target)?;
            source.table.clone_from(&open.layout.table);
            source.warnings.push(format!(
                "{}: klon can't read what is in use, so it copies all of it: {error:#}",
                source.name
            ));
            Ok(source)
        }
        source => source,
    }
}

/// What holds the filesystem's own structures, as far as that can be told.
fn metadata(source: &SourceEnd) -> ExtentMap {
    let device = &*source.device;
    if source.table.is_none() {
        return match source.usage.basis {
            Basis::Map => of_volume(&source.usage, device),
            _ => ExtentMap::new(),
        };
    }
    let Ok(disk) = disk_usage(device) else {
        return ExtentMap::new();
    };
    // In the midst of room that no one proved free there are no structures that are known.
    let structures = disk
        .outside
        .difference(&disk.unproven.difference(&disk.edges));
    disk.volumes.iter().fold(structures, |all, volume| {
        let window = Window::new(device, volume.extent);
        let found = window.map_or_else(
            |_| ExtentMap::new(),
            |window| of_volume(&volume.usage, &window),
        );
        all.union(&found.shifted(volume.extent.offset_bytes()))
    })
}

/// The structures of one filesystem.
fn of_volume(usage: &Usage, device: &dyn ReadAt) -> ExtentMap {
    let filesystem = usage.filesystem();
    let metadata = filesystem.and_then(|filesystem| filesystem.metadata(device).ok().flatten());
    metadata.unwrap_or_default()
}
