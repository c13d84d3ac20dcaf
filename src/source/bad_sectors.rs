//! Sources with bad sectors: opened and looked at around them; and the files that are hit.

use crate::guard;
use crate::named::open::{OpenPlace, Place};
use crate::source::contained;
use crate::source::open::SourceEnd;
use anyhow::Result;
use klon_partition::device::{KnownBad, Window};
use klon_partition::filesystem::{self, Basis, Owners, probe, usage_or_whole};
use klon_partition::inspect::disk_usage;
use klon_partition::system::System;
use klon_partition::table::Table;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt};

/// Files that are named.
const FILES_MAX: usize = 1 << 16;

/// As [`SourceEnd::open`], for a source with bad sectors.
pub fn open(place: &Place, system: &System, target: Option<Geometry>) -> Result<SourceEnd> {
    guard::still(system, &place.path)?;
    let open = place.claim_around(system)?;
    let mut source = match open.is_disk() {
        true => disk(&open, system, target)?,
        false => volume(&open, system, target)?,
    };
    source.metadata = metadata(&source);
    Ok(source)
}

/// As [`SourceEnd::open`], and as [`open`] where that meets a bad sector.
pub fn open_if_needed(
    place: &Place,
    system: &System,
    target: Option<Geometry>,
) -> Result<SourceEnd> {
    match SourceEnd::open(place, system, target) {
        Err(error) if is_unread(&error) => open(place, system, target),
        source => source,
    }
}

/// Whether something could not be read.
pub fn is_unread(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref();
    cause.is_some_and(|cause| matches!(cause, Error::Io { .. }))
}

/// As [`SourceEnd::volume`]; all of it where its used blocks can't be read.
pub fn volume(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<SourceEnd> {
    let usage = usage_or_whole(&*open.device);
    let usage = contained::by_disk(usage, open, system)?;
    let mut source = SourceEnd::with_usage(open, system, usage, target)?;
    source.metadata = metadata(&source);
    Ok(source)
}

fn disk(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<SourceEnd> {
    match SourceEnd::disk(open, system, target) {
        Err(error) if is_unread(&error) => {
            let usage = usage_or_whole(&*open.device);
            let usage = filesystem::Usage {
                summary: usage.summary,
                basis: usage.basis,
                ..filesystem::Usage::mapped(ExtentMap::whole(open.device.geometry().size_bytes))
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
    let of_volume = |device: &dyn ReadAt| {
        let filesystem = probe(device).ok().flatten()?;
        filesystem.metadata(device).ok().flatten()
    };
    let device = &*source.device;
    if source.table.is_none() {
        let is_mapped = source.usage.basis == Basis::Map;
        return of_volume(device).filter(|_| is_mapped).unwrap_or_default();
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
        let found = window.ok().and_then(|window| of_volume(&window));
        all.union(
            &found
                .unwrap_or_default()
                .shifted(volume.extent.offset_bytes()),
        )
    })
}

/// The files with bytes in `bad`, by the filesystem on `clone`, which has zeroes there. Of a disk
/// with a `table`, the number of the partition and a colon stand before each path.
pub fn files(clone: &dyn ReadAt, table: Option<&Table>, bad: &ExtentMap) -> Owners {
    owners(clone, table, (bad, bad))
}

/// The same of those with bytes in `wanted`, where the clone does not have what is `bad`.
pub fn owners(
    clone: &dyn ReadAt,
    table: Option<&Table>,
    (wanted, bad): (&ExtentMap, &ExtentMap),
) -> Owners {
    let known = KnownBad::new(clone, bad.clone());
    let partitions = table.map(partitions);
    owners_in(&known, partitions.as_deref(), wanted)
}

/// The partitions of a table: number, and where each lies.
pub fn partitions(table: &Table) -> Vec<(u32, Extent)> {
    let partitions = table.partitions.iter();
    partitions
        .map(|partition| (partition.number, partition.extent))
        .collect()
}

/// What of a disk's extents lies in a partition, as extents of that.
pub fn within(extents: &ExtentMap, partition: Extent) -> ExtentMap {
    let start_bytes = partition.offset_bytes();
    extents
        .within(partition)
        .filter_map(|e| Extent::new(e.offset_bytes() - start_bytes, e.len_bytes()))
        .collect()
}

/// The files with bytes in `extents`. Of a disk with `partitions`, the number of the partition and
/// a colon stand before each path.
pub fn owners_in(
    device: &dyn ReadAt,
    partitions: Option<&[(u32, Extent)]>,
    extents: &ExtentMap,
) -> Owners {
    let Some(partitions) = partitions else {
        return filesystem::owners(device, extents, FILES_MAX);
    };
    let mut all = Owners::default();
    for &(number, partition) in partitions {
        let start_bytes = partition.offset_bytes();
        let within = within(extents, partition);
        let Ok(window) = Window::new(device, partition) else {
            continue;
        };
        if within.is_empty() {
            continue;
        }
        let found = filesystem::owners(&window, &within, FILES_MAX - all.files.len());
        for mut file in found.files {
            file.path = format!("{number}:{}", file.path);
            file.extent = file.extent.shifted(start_bytes).unwrap_or(file.extent);
            all.files.push(file);
        }
        let gaps = found
            .gaps
            .iter()
            .map(|gap| format!("partition {number}: {gap}"));
        all.gaps.extend(gaps);
    }
    all
}
