//! The volumes that a command is about: of a plan, or one pair.

use crate::error::{refused, usage};
use crate::guard::{self, Protected};
use crate::named::open::{OpenPlace, Place, disk_identity, identity_by_path};
use crate::named::resolve::find_identity;
use crate::source::bad_sectors;
use crate::source::open::{SourceEnd, TargetEnd, TargetNow};
use anyhow::{Context as _, Result};
use klon_imaging::Role;
use klon_imaging::change::Rung;
use klon_partition::Shown;
use klon_partition::filesystem::Basis;
use klon_partition::planner::{Plan, PlannedVolume, SourceRef, sector_mismatch};
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::text::quoted;
use klon_partition::{Geometry, Identity, ReadAt};
use std::path::Path;

/// One volume to be cloned or verified.
pub struct VolumeJob {
    /// The name of the clone.
    pub name: String,
    /// What is cloned; `None` when only the target is needed.
    pub source: Option<SourceEnd>,
    /// Where it goes.
    pub target: TargetEnd,
    /// What must be named to consent to overwriting it: the target, or the drive of a plan.
    pub consent_identity: Identity,
    /// Whether source and target, both devices, bear the same identity, as partitions of a disk and
    /// of its clone do: records can't tell then which of the two they are of.
    pub is_ambiguous: bool,
    /// Whether a plan says that the target is there to be a clone of the source.
    pub is_planned: bool,
    /// Whether the plan gives up all that was on the drive, also where it has no partition.
    pub is_drive_given_up: bool,
    /// The volumes of a plan that are updated as one with it have the same.
    pub group: Option<String>,
    /// What the clone is for.
    pub role: Role,
    /// What must be consented to when the target is the original and the user insists.
    pub reversal: Option<String>,
    /// Whether what stands on the target was shown, and consented to.
    pub is_asked: bool,
    /// The rung where no record is of use, and why; else what the library finds best.
    pub otherwise: Option<(Rung, &'static str)>,
}

/// What is done about sources with bad sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSectors {
    /// The first is an error.
    Stop,
    /// They are read around.
    Around,
    /// They are read around where what is in use can't be told otherwise.
    AroundIfNeeded,
}

/// The pair of `klon clone SOURCE TARGET`.
pub fn pair(source: &Path, target: &Path, bad: BadSectors, system: &System) -> Result<VolumeJob> {
    let open = match bad {
        BadSectors::Stop => SourceEnd::open,
        BadSectors::Around => bad_sectors::open,
        BadSectors::AroundIfNeeded => bad_sectors::open_if_needed,
    };
    let open = |place: &Place, target: &TargetEnd| open(place, system, target.geometry());
    pair_with(source, target, open, system)
}

/// The same, with the source opened in this way.
pub fn pair_with(
    source: &Path,
    target: &Path,
    open: impl FnOnce(&Place, &TargetEnd) -> Result<SourceEnd>,
    system: &System,
) -> Result<VolumeJob> {
    let source_place = Place::resolve(source, system)?;
    let mut target = TargetEnd::look(target, system)?;
    check_apart(&source_place, &target, system)?;
    let mut source = open(&source_place, &target)?;
    check_sectors(&mut source, &target, system)?;
    let shown = target.identity.clone();
    if let Some(identity) = identity_with(&source, &target, system)? {
        target.identity = identity;
    }
    let is_ambiguous = [&shown, &target.identity].contains(&&source.identity);
    let is_ambiguous = is_ambiguous && source_place.image.is_none();
    let consent_identity = match is_ambiguous {
        true => whereabouts(&target.place)?,
        false => shown,
    };
    Ok(VolumeJob {
        name: target.place.given.clone(),
        source: Some(source),
        target,
        consent_identity,
        is_ambiguous,
        is_planned: false,
        is_drive_given_up: false,
        group: None,
        role: Role::Backup,
        reversal: None,
        is_asked: false,
        otherwise: None,
    })
}

/// How a target that only its content recognizes is recognized once it has that of the source: its
/// record is kept by that. `None` where something lasts, or nothing is there yet.
fn identity_with(
    source: &SourceEnd,
    target: &TargetEnd,
    system: &System,
) -> Result<Option<Identity>> {
    let path = &target.place.path;
    let is_part = |identity: &Identity| matches!(identity, Identity::PartUuid(_));
    if target.now.is_none() || is_part(&target.identity) || system.identity(path)?.is_some() {
        return Ok(None);
    }
    let uuid = || source.usage.summary.as_ref()?.uuid.clone();
    let by_content = match &source.table {
        Some(table) => disk_identity(table),
        None => uuid().map(Identity::FsUuid),
    };
    match by_content {
        Some(identity) => Ok(Some(identity)),
        None => Ok(Some(identity_by_path(path)?)),
    }
}

/// What tells a target from a source that bears the same identity: only the place where it is.
fn whereabouts(place: &Place) -> Result<Identity> {
    let path = place.path.canonicalize();
    let path = path.with_context(|| place.given.clone())?;
    let number = place.number.map(|number| format!(":{number}"));
    let text = format!("{}{}", path.shown(), number.unwrap_or_default());
    Ok(Identity::Path(text))
}

/// Before the source is opened: a loop device over the target would be told as the wrong problem.
fn check_apart(source: &Place, target: &TargetEnd, system: &System) -> Result<()> {
    let Some(now) = &target.now else {
        return Ok(());
    };
    let location = match source.number.filter(|_| source.image.is_none()) {
        Some(_) => source.open()?.location(system)?,
        None => system.locate(&source.path)?,
    };
    let protected = Protected {
        name: &source.given,
        location: &location,
    };
    guard::apart(&target.place.given, &now.location, &protected)
}

/// Tables, and some filesystems, count in the sectors of the device that they were made on.
fn check_sectors(source: &mut SourceEnd, target: &TargetEnd, system: &System) -> Result<()> {
    if target.now.is_none() {
        return Ok(());
    }
    let Some(disk) = system.disk_of(&target.place.path)? else {
        return Ok(());
    };
    // One that can't be relied on is copied as it is.
    let is_believed = matches!(source.usage.basis, Basis::Map);
    let table = source.table.as_ref().filter(|_| is_believed);
    let table_sector_bytes = table.map(|table| table.logical_sector_bytes);
    guard::same_sectors(&target.place.given, &disk, table_sector_bytes)?;
    let source_bytes = source.device.geometry().logical_sector_bytes;
    let summary = source.usage.summary.as_ref();
    let mismatch = sector_mismatch(summary, source_bytes, disk.logical_sector_bytes);
    source.warnings.extend(mismatch);
    Ok(())
}

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
            name,
            source,
            target,
            consent_identity,
            is_ambiguous: false,
            is_planned: true,
            is_drive_given_up: plan.table.is_new,
            group: Some(volume.group.clone()),
            role: Role::Backup,
            reversal: None,
            is_asked: false,
            otherwise: None,
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
