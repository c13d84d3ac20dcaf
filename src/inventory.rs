//! All disks with what is on them.

use anyhow::Result;
use klon_partition::Error;
use klon_partition::device::look_at;
use klon_partition::inspect::{DiskLayout, inspect, inspect_around};
use klon_partition::system::{Disk, System};

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

/// The same to find a disk by what is on it: around bad sectors, where there are any.
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
