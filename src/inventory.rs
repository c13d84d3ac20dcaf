//! All disks with what is on them.

use anyhow::Result;
use klon_partition::device::look_at;
use klon_partition::filesystem::Summary;
use klon_partition::inspect::{DiskLayout, Volume, inspect, inspect_around};
use klon_partition::system::{Disk, Location, Relation, System, relation};
use klon_partition::{Error, Shown};

/// A disk and what is on it, or why that can't be told.
pub struct Entry {
    /// What the system says of it.
    pub disk: Disk,
    /// What is on it.
    pub layout: Result<DiskLayout, Error>,
}

/// Looks at every disk.
pub fn scan(system: &System) -> Vec<Entry> {
    let look = |disk: Disk| {
        let layout = look_at(&disk.path).and_then(|source| inspect(&source));
        Entry { disk, layout }
    };
    system.disks().into_iter().map(look).collect()
}

/// The disk that has a volume with the kind and UUID of `summary`, elsewhere than `own`.
///
/// # Errors
/// When the system can't be asked where a disk lies.
pub fn twin(own: &Location, summary: &Summary, system: &System) -> Result<Option<String>> {
    for entry in scan(system) {
        let Ok(layout) = &entry.layout else { continue };
        let is_twin = |volume: &&Volume| {
            let other = volume.filesystem.as_ref();
            other.is_some_and(|other| other.kind == summary.kind && other.uuid == summary.uuid)
        };
        for volume in layout.volumes.iter().filter(is_twin) {
            let there = system.locate(&entry.disk.path)?.part(volume.extent);
            if relation(own, &there) == Relation::Unrelated {
                return Ok(Some(entry.disk.path.shown()));
            }
        }
    }
    Ok(None)
}

/// All disks, to find one by what is on it. Reads around bad sectors.
pub fn scan_around(system: &System) -> Vec<Entry> {
    let look = |entry: Entry| match entry.layout {
        Err(Error::Io { .. }) => {
            let around = look_at(&entry.disk.path).and_then(|source| inspect_around(&source));
            Entry {
                layout: around.map(|(layout, _)| layout),
                ..entry
            }
        }
        _ => entry,
    };
    scan(system).into_iter().map(look).collect()
}
