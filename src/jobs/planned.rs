//! The volumes of a plan: its drive, found again, and the sources that it names.

use super::{BadSectors, Shrinks, Sources, VolumeJob};
use crate::error::{refused, usage};
use crate::guard::{self, Protected};
use crate::human;
use crate::messages::say;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::named::parent::Parent;
use crate::named::resolve::{find_identity, look_for};
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_partition::planner::{Plan, PlannedVolume, SourceRef};
use klon_partition::system::{Disk, System};
use klon_partition::table::Partition;
use klon_partition::text::quoted;
use klon_partition::{Geometry, Identity, ReadAt, Shown};

/// The volumes of a plan, all of them or those named in `only` by clone or group.
///
/// # Errors
/// [`usage`] for a name that the plan doesn't have; when a source or the drive can't be found or
/// opened.
pub fn of_plan(
    plan: &Plan,
    only: &[String],
    source: Option<Sources<'_>>,
    system: &System,
) -> Result<Vec<VolumeJob>> {
    let named = named(plan, only)?;
    let drive = find_drive(plan, system)?;
    let mut jobs = Vec::new();
    for volume in named {
        let target =
            planned_target(plan, volume, &drive, system).with_context(|| volume.name.clone())?;
        let source = match source {
            Some(how) => {
                let sector_bytes = plan.drive.logical_sector_bytes;
                let source = planned_source(volume, how, sector_bytes, system);
                Some(source.with_context(|| volume.name.clone())?)
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

/// The volumes of a plan that are named by clone or group; all for no name.
///
/// # Errors
/// [`usage`] for a name that the plan doesn't have.
pub fn named<'a>(plan: &'a Plan, only: &[String]) -> Result<Vec<&'a PlannedVolume>> {
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
    Ok(plan.volumes.iter().filter(is_meant).collect())
}

/// The drive of a plan, opened for reading.
///
/// # Errors
/// When no disk, or more than one, has the identity of the plan's drive; [`refused`] when it has another
/// size by now.
pub fn find_drive(plan: &Plan, system: &System) -> Result<OpenPlace> {
    let place = find_drive_place(plan, system)
        .with_context(|| format!("the plan's drive {}", plan.drive.identity))?;
    let open = place.into_raw().open()?;
    let found_bytes = open.device.geometry().size_bytes;
    if found_bytes != plan.drive.size_bytes {
        return Err(refused(format!(
            "{} has {}, and the plan was made for a drive of {}: it is another drive, or someone resized \
             it. Make a new plan",
            open.place.path.shown(),
            apart(found_bytes, plan.drive.size_bytes),
            apart(plan.drive.size_bytes, found_bytes)
        )));
    }
    Ok(open)
}

/// A size as people read it; in bytes where that looks the same as the `other`.
fn apart(size_bytes: u64, other_bytes: u64) -> String {
    let size = human::size(size_bytes);
    if size == human::size(other_bytes) {
        return human::count(size_bytes, "byte");
    }
    size
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
    if is_weak(identity)
        && let Ok(place) = find_identity(system, &by_table)
    {
        return Ok(place);
    }
    find_identity(system, identity)
}

/// Whether an identity may be another drive's by now, or lost with the old table.
fn is_weak(identity: &Identity) -> bool {
    match identity {
        Identity::Path(path) => path.starts_with("/dev/"),
        Identity::DiskGuid(_) => true,
        _ => false,
    }
}

/// The volume of a plan on its drive, to be written to.
fn planned_target(
    plan: &Plan,
    volume: &PlannedVolume,
    drive: &OpenPlace,
    system: &System,
) -> Result<TargetEnd> {
    let partition = planned_partition(volume, drive)?;
    let identity = plan.target(volume);
    let end = partition_target(&volume.name, &partition, drive, system)?;
    Ok(TargetEnd { identity, ..end })
}

/// The place of `partition` on a drive. A node of its own can be claimed while other partitions of the
/// drive are in use.
pub fn partition_place(
    given: &str,
    partition: &Partition,
    drive: &OpenPlace,
    disk: Option<&Disk>,
) -> Place {
    let node = disk.and_then(|disk| disk.partition_at(partition.extent));
    let (path, number) = match node {
        Some(node) => (node.path.clone(), None),
        None => (drive.place.path.clone(), Some(partition.number)),
    };
    Place {
        given: given.to_owned(),
        path,
        number,
        image: None,
        replay: None,
        shrink: None,
        sectors: None,
        skips: false,
        is_raw: true,
    }
}

/// A partition of a drive as a target with this name.
///
/// # Errors
/// When it is in use or can't be opened.
pub fn partition_target(
    name: &str,
    partition: &Partition,
    drive: &OpenPlace,
    system: &System,
) -> Result<TargetEnd> {
    let disk = system.disk_of(&drive.place.path)?;
    let place = partition_place(name, partition, drive, disk.as_ref());
    guard::unused(system, &place.path)?;
    let open = place.open()?;
    let open = match disk.filter(|disk| disk.path == drive.place.path) {
        // The drive was looked at a moment ago.
        Some(disk) if place.number.is_none() => {
            let parent = Parent {
                path: disk.path.clone(),
                layout: drive.layout.clone(),
                extent: partition.extent,
                partition: Some(partition.clone()),
            };
            open.on_drive(disk, parent)
        }
        _ => open,
    };
    TargetEnd::of(place, open, system)
}

/// The partition of the drive that is the planned one by number, place and GUID.
///
/// # Errors
/// [`refused`] when there is none.
pub fn planned_partition(volume: &PlannedVolume, drive: &OpenPlace) -> Result<Partition> {
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

/// Where a source of a plan is. Partitions that came back to a new disk have their PARTUUIDs there.
fn source_place(source: &SourceRef, name: &str, system: &System) -> Result<Place> {
    if let Some(mut place) = look_for(system, &source.identity)? {
        place.number = source.partition.or(place.number);
        return Ok(place);
    }
    let by_partuuid = source.partuuid.clone().map(Identity::PartUuid);
    let found = match by_partuuid.filter(|identity| *identity != source.identity) {
        Some(identity) => look_for(system, &identity)?,
        None => None,
    };
    let Some(place) = found else {
        return find_identity(system, &source.identity);
    };
    say(&format!(
        "klon: {name}: {} is not attached, and the partition {} of the plan is on {} now, so that is the \
         source",
        source.identity,
        place.given,
        place.path.shown()
    ));
    Ok(place)
}

fn planned_source(
    volume: &PlannedVolume,
    how: Sources<'_>,
    sector_bytes: u32,
    system: &System,
) -> Result<SourceEnd> {
    let SourceRef {
        partuuid, fs_uuid, ..
    } = &volume.source;
    let place = source_place(&volume.source, &volume.name, system)?.at_node(system)?;
    let place = how.place(place, Some(sector_bytes));
    let target = Geometry::new(volume.extent.len_bytes(), sector_bytes);
    let shrinks = match (how.shrinks, volume.is_shrunk) {
        (Shrinks::Nothing, true) => return Err(not_shrunk_here(how.bad)),
        (Shrinks::AsPlanned, true) => Shrinks::All,
        (shrinks, _) => shrinks,
    };
    let how = Sources { shrinks, ..how };
    let (partition, mut source) = how.volume(&place, system, target)?;
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
    if let Some(partition) = &partition {
        source.name = format!("{}, partition {}", source.name, partition.number);
    }
    Ok(source)
}

/// Why nothing can be done with a volume that the plan has shrunk.
fn not_shrunk_here(bad: BadSectors) -> anyhow::Error {
    refused(match bad {
        BadSectors::Around => {
            "the plan has its filesystem shrunk on its way, and a rescue copies blocks as they are. Rescue the source \
             to a disk of its size, and the plan's other volumes with --only"
        }
        BadSectors::Stop | BadSectors::AroundIfNeeded => {
            "its filesystem was shrunk on its way to the clone, so the two differ block by block. Without the source, \
             klon verify compares the clone with its record. --only names the volumes that can be compared with \
             their sources"
        }
    })
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

#[cfg(test)]
mod tests {
    use super::{apart, is_weak, not_shrunk_here, partition_place, same};
    use crate::error::{REFUSED, code, message};
    use crate::jobs::BadSectors;
    use crate::testing::{file, place, serial};
    use klon_partition::table::{Partition, PartitionType};
    use klon_partition::{Extent, Identity};

    #[test]
    fn sizes_that_look_the_same_are_told_in_bytes() {
        assert_eq!(apart(1 << 30, 2 << 30), "1 GiB");
        assert_eq!(apart(1 << 30, (1 << 30) + 512), "1073741824 bytes");
    }

    #[test]
    fn only_what_lasts_recognizes_a_drive_without_its_table() {
        let path = |path: &str| Identity::Path(path.to_owned());
        assert!(is_weak(&path("/dev/sdb")) && !is_weak(&path("/srv/drive.img")));
        assert!(is_weak(&Identity::DiskGuid("00c0ffee".to_owned())));
        assert!(!is_weak(&serial("A")));
    }

    #[test]
    fn a_source_must_be_the_volume_that_the_plan_was_made_for() {
        let check = |planned, found| same("PARTUUID", planned, found, "/dev/a1");
        assert!(check(None, None).is_ok() && check(None, Some("a")).is_ok());
        assert!(check(Some("AB"), Some("ab")).is_ok());
        let error = check(Some("AB"), None).unwrap_err();
        assert_eq!(code(&error), REFUSED);
        let said = message(&error);
        assert!(
            said.contains("PARTUUID of /dev/a1 is none, but the plan was made for AB"),
            "{said}"
        );
        assert!(check(Some("AB"), Some("cd")).is_err());
    }

    #[test]
    fn a_shrunken_volume_is_neither_rescued_nor_compared_with_its_source() {
        let said = |bad| message(&not_shrunk_here(bad));
        assert!(said(BadSectors::Around).contains("Rescue the source to a disk of its size"));
        assert!(said(BadSectors::Stop).contains("Without the source"));
    }

    #[test]
    fn a_partition_without_a_node_is_named_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "drive.img", &[0; 4096]);
        let drive = place(&path).open().unwrap();
        let partition = Partition {
            number: 3,
            extent: Extent::new(512, 512).unwrap(),
            partition_type: PartitionType::Mbr(0x83),
            guid: None,
            name: String::new(),
            attributes: 0,
            is_bootable: false,
        };
        let found = partition_place("Boot", &partition, &drive, None);
        assert_eq!(
            (&*found.given, &found.path, found.number),
            ("Boot", &path, Some(3))
        );
        assert!(found.is_raw);
    }
}
