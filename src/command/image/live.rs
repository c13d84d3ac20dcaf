//! Images of volumes that are mounted for writing, and of disks of which partitions are: brought to rest for moments,
//! and imaged in passes.

use super::{Asked, Taking, What, in_image};
use crate::image::OpenForAppend;
use crate::run::live::{Sources, refused};
use crate::source::live::Live;
use crate::still::Role;
use anyhow::Result;
use klon_imaging::image::{CaptureSummary, LiveCapture, LookedAt, PartitionId, capture_live};
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
    let look = |since| at_rest(live, what, (usage, &known), since).map_err(refused);
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

/// The source as it is now, at rest `since` then. It lacks what `limited` leaves out by choice. `known` are a disk's
/// partitions as an earlier look found them.
fn at_rest(
    live: &Live,
    what: &What<'_>,
    (limited, known): (&Usage, &[PartitionId]),
    since: SystemTime,
) -> Result<LookedAt> {
    let (mut source, layout) = match what.source.table {
        Some(_) => {
            let (source, layout) = live.look_at_disk(since)?;
            (source, Some(layout))
        }
        None => (live.look(what.source, &System::current()?, since)?, None),
    };
    source.usage.limit(limited.choice);
    source.source = in_image(&source.source, &what.source.lost_before);
    let partitions = layout.map(|layout| partitions(live, &layout, &source.usage, known));
    Ok(LookedAt {
        source,
        partitions: partitions.unwrap_or_default(),
    })
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
