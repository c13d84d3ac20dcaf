//! The volumes of a plan: its drive, found again, and the sources that it names.

use super::{BadSectors, VolumeJob};
use crate::error::{refused, usage};
use crate::guard::{self, Protected};
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::named::parent::Parent;
use crate::named::resolve::find_identity;
use crate::source::{SourceEnd, bad_sectors};
use crate::target::{TargetEnd, TargetNow};
use anyhow::{Context as _, Result};
use klon_partition::planner::{Plan, PlannedVolume, SourceRef};
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::text::quoted;
use klon_partition::{Geometry, Identity, ReadAt, Shown};

/// The volumes of a plan, all of them or those named in `only` by clone or group.
pub fn of_plan(
    plan: &Plan,
    only: &[String],
    source: Option<BadSectors>,
    system: &System,
) -> Result<Vec<VolumeJob>> {
    let is_meant = |volume: &&PlannedVolume| {
        only.is_empty()
            || only
                .iter()
                .any(|name| *name == volume.name || *name == volume.group)
    };
    for name in only {
        if !plan
            .volumes
            .iter()
            .any(|volume| volume.name == *name || volume.group == *name)
        {
            let names: Vec<&str> = plan.volumes.iter().map(|v| v.name.as_str()).collect();
            return Err(usage(format!(
                "the plan has no clone {}; it has {}",
                quoted(name),
                names.join(", ")
            )));
        }
    }
    let drive = find_drive(plan, system)?;
    let mut jobs = Vec::new();
    for volume in plan.volumes.iter().filter(is_meant) {
        let target =
            planned_target(plan, volume, &drive, system).with_context(|| volume.name.clone())?;
        let source = match source {
            Some(bad) => {
                Some(planned_source(volume, bad, system).with_context(|| volume.name.clone())?)
            }
            None => None,
        };
        if let (Some(source), Some(now)) = (&source, &target.now) {
            let protected = Protected {
                name: &source.name,
                location: &source.location,
            };
            guard::apart(&volume.name, &now.location, &protected)?;
        }
        let (name, consent_identity) = (volume.name.clone(), plan.drive.identity.clone());
        jobs.push(VolumeJob {
            is_planned: true,
            is_drive_given_up: plan.table.is_new,
            group: Some(volume.group.clone()),
            ..VolumeJob::new(name, source, target, consent_identity)
        });
    }
    Ok(jobs)
}

/// The drive of a plan, opened for reading.
pub fn find_drive(plan: &Plan, system: &System) -> Result<OpenPlace> {
    let place = find_drive_place(plan, system)
        .with_context(|| format!("the plan's drive {}", plan.drive.identity))?;
    let open = place.into_raw().open()?;
    let found_bytes = open.device.geometry().size_bytes;
    if found_bytes != plan.drive.size_bytes {
        return Err(refused(format!(
            "{} has {found_bytes} bytes, but the plan was made for a drive of {} bytes: it is \
             another drive, or someone resized it. Make a new plan",
            open.place.path.shown(),
            plan.drive.size_bytes
        )));
    }
    Ok(open)
}

/// A drive without a serial number was recognized by its path or by its old table; once the
/// plan's own table is on it, that is what recognizes it.
fn find_drive_place(plan: &Plan, system: &System) -> Result<Place> {
    let table = &plan.table;
    let by_table = match table.disk_guid {
        Some(guid) => Identity::DiskGuid(guid.to_string()),
        None => Identity::DiskGuid(format!("{:08x}", table.disk_signature)),
    };
    let identity = &plan.drive.identity;
    let is_weak = match identity {
        Identity::Path(path) => path.starts_with("/dev/"),
        Identity::DiskGuid(_) => true,
        _ => false,
    };
    if is_weak && let Ok(place) = find_identity(system, &by_table) {
        return Ok(place);
    }
    find_identity(system, identity)
}

fn planned_target(
    plan: &Plan,
    volume: &PlannedVolume,
    drive: &OpenPlace,
    system: &System,
) -> Result<TargetEnd> {
    let identity = plan.target(volume);
    let partition = planned_partition(volume, drive)?;
    let disk = system.disk_of(&drive.place.path)?;
    let node = disk.as_ref().and_then(|disk| {
        disk.partitions
            .iter()
            .find(|node| node.extent == partition.extent)
    });
    // A node of its own can be claimed while other partitions of the drive are in use.
    let place = match node {
        Some(node) => Place {
            given: volume.name.clone(),
            path: node.path.clone(),
            number: None,
            image: None,
            is_raw: true,
        },
        None => Place {
            given: volume.name.clone(),
            path: drive.place.path.clone(),
            number: Some(partition.number),
            image: None,
            is_raw: true,
        },
    };
    guard::unused(system, &place.path)?;
    let open = place.open()?;
    let open = match disk.filter(|disk| disk.path == drive.place.path) {
        // The drive was looked at a moment ago.
        Some(disk) if place.number.is_none() => open.on_drive(Parent {
            path: disk.path,
            layout: drive.layout.clone(),
            partition: Some(partition),
        }),
        _ => open,
    };
    let location = open.location(system)?;
    let clone_name = open.clone_name(system)?;
    Ok(TargetEnd {
        place,
        now: Some(TargetNow { open, location }),
        identity,
        clone_name,
    })
}

/// The partition of the drive that is the planned one by number, place and GUID.
fn planned_partition(volume: &PlannedVolume, drive: &OpenPlace) -> Result<Partition> {
    let table = drive.layout.table.as_ref();
    let found = table
        .and_then(|table| {
            table
                .partitions
                .iter()
                .find(|part| part.number == volume.number)
        })
        .filter(|part| part.extent == volume.extent && part.guid == volume.guid);
    found.cloned().ok_or_else(|| {
        refused(format!(
            "partition {} of {} is not the one in the plan. Run `klon prepare` with this plan \
             first, or make a new plan if someone changed the drive",
            volume.number,
            drive.place.path.shown()
        ))
    })
}

fn planned_source(volume: &PlannedVolume, bad: BadSectors, system: &System) -> Result<SourceEnd> {
    let SourceRef {
        identity,
        partition,
        partuuid,
        fs_uuid,
    } = &volume.source;
    let mut place = find_identity(system, identity)?;
    if partition.is_some() {
        place.number = *partition;
    }
    guard::still(system, &place.path)?;
    let target = Geometry::new(volume.extent.len_bytes(), 512);
    let sound = || -> Result<_> {
        let open = place.claim()?;
        let source = SourceEnd::volume(&open, system, Some(target))?;
        Ok((open, source))
    };
    let around = || -> Result<_> {
        let open = place.claim_around(system)?;
        let source = bad_sectors::volume(&open, system, Some(target))?;
        Ok((open, source))
    };
    let (open, mut source) = match bad {
        BadSectors::Stop => sound(),
        BadSectors::Around => around(),
        BadSectors::AroundIfNeeded => match sound() {
            Err(error) if bad_sectors::is_unread(&error) => around(),
            found => found,
        },
    }?;
    let found = match &source.identity {
        Identity::PartUuid(found) => Some(found.clone()),
        _ => None,
    };
    same(
        "PARTUUID",
        partuuid.as_deref(),
        found.as_deref(),
        &source.name,
    )?;
    let found = source
        .usage
        .summary
        .as_ref()
        .and_then(|summary| summary.uuid.clone());
    same(
        "filesystem UUID",
        fs_uuid.as_deref(),
        found.as_deref(),
        &source.name,
    )?;
    if let Some(partition) = &open.partition {
        source.name = format!("{}, partition {}", source.name, partition.number);
    }
    Ok(source)
}

fn same(what: &str, planned: Option<&str>, found: Option<&str>, name: &str) -> Result<()> {
    match planned {
        Some(planned) if !found.is_some_and(|found| found.eq_ignore_ascii_case(planned)) => {
            Err(refused(format!(
                "the {what} of {name} is {}, but the plan was made for {planned}: it is another \
                 volume, or someone formatted it. If that is right, make a new plan",
                found.unwrap_or("none")
            )))
        }
        _ => Ok(()),
    }
}
