//! Images of volumes that are mounted for writing, and of disks of which partitions are: brought to rest for moments,
//! and imaged in passes.

use super::{Asked, Taking, What, in_image};
use crate::image::OpenForAppend;
use crate::run::live::Sources;
use crate::source::live::Live;
use crate::still::Role;
use anyhow::Result;
use klon_imaging::Error as ImagingError;
use klon_imaging::change::Rested;
use klon_imaging::clone::live::Found;
use klon_imaging::image::{
    CaptureSummary, LiveCapture, LiveSource, LiveVolume, PartitionId, capture_live,
};
use klon_partition::filesystem::Usage;
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap};
use std::time::SystemTime;

/// Takes a snapshot of a source that is mounted for writing.
///
/// # Errors
/// When it can't be brought to rest, the image lies on it, or no snapshot could be added.
pub(super) fn capture(
    live: &Live,
    taking: Taking<'_>,
    image: &mut OpenForAppend,
    asked: Asked<'_>,
) -> Result<CaptureSummary> {
    let Taking {
        what,
        job,
        usage,
        options,
        progress,
    } = taking;
    let name = asked.name;
    let system = System::current()?;
    // As the system names what is open.
    let path = name.path.canonicalize();
    let written = [(Role::Image, path.unwrap_or_else(|_| name.path.clone()))];
    let written = match super::is_stream(name) {
        true => &[][..],
        false => &written,
    };
    let hooks = Some(&asked.args.still.hooks);
    let mut sources = Sources::begin(&live.held(), live.longest, written, hooks)?;
    let known = job.partitions.clone();
    let look = |since| {
        let found = match what.source.table {
            Some(_) => disk_at_rest(live, what, usage, &known, since),
            None => {
                let found = live.look(what.source, &system, since);
                found.map(|found| at_rest(found, what, usage, since))
            }
        };
        found.map_err(|error| ImagingError::Refused(format!("{error:#}")))
    };
    let live = LiveCapture {
        mounted: mounted(live, what),
        job,
        look: &look,
    };
    Ok(capture_live(
        &live,
        &mut sources,
        image.writer(),
        options,
        progress,
    )?)
}

/// Where the volumes lie that are mounted for writing.
fn mounted(live: &Live, what: &What<'_>) -> ExtentMap {
    let whole = what.device.geometry().extent();
    let parts = live.in_use.mounted.iter();
    parts.filter_map(|it| it.part.or(whole)).collect()
}

/// The source as it was found now, at rest since then. It lacks what `limited` leaves out by choice.
fn at_rest(found: Found, what: &What<'_>, limited: &Usage, since: SystemTime) -> LiveSource {
    let mut usage = found.usage.clone();
    usage.limit(limited.choice);
    let part = found.source.geometry().extent();
    let rested = Rested {
        since,
        consistency: found.consistency,
        session: found.session,
    };
    let volume = |part| LiveVolume {
        number: 0,
        part,
        usage: found.usage,
        rested: Some(rested),
    };
    LiveSource {
        source: in_image(&found.source, &what.source.lost_before),
        usage,
        partitions: Vec::new(),
        volumes: part.map(volume).into_iter().collect(),
        consistency: found.consistency,
        written_past: None,
    }
}

/// As [`at_rest`], of a whole disk. `known` are its partitions as an earlier look found them.
fn disk_at_rest(
    live: &Live,
    what: &What<'_>,
    limited: &Usage,
    known: &[PartitionId],
    since: SystemTime,
) -> Result<LiveSource> {
    let (mut found, layout) = live.look_at_disk(since)?;
    found.usage.limit(limited.choice);
    found.source = in_image(&found.source, &what.source.lost_before);
    found.partitions = partitions(live, &layout, &found.usage, known);
    Ok(found)
}

/// The partitions of the disk, each with how it is at rest.
fn partitions(
    live: &Live,
    layout: &DiskLayout,
    usage: &Usage,
    known: &[PartitionId],
) -> Vec<PartitionId> {
    let mut all = super::partitions(layout, &usage.used());
    for partition in &mut all {
        let before = known.iter().find(|it| it.number == partition.number);
        // Records tell where clones end. They may lie on what is at rest.
        partition.clone_bytes = before.and_then(|before| before.clone_bytes);
        partition.consistency = consistency(live, partition.extent);
    }
    all
}

fn consistency(live: &Live, part: Extent) -> klon_imaging::Consistency {
    let mounted = live.mounted_at(part);
    mounted.map_or_else(Default::default, |mounted| mounted.consistency())
}
