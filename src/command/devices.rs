//! `klon devices`: disks, what is on them, what is used, what is in the way.

mod lines;

use crate::cli::{Common, DevicesArgs};
use crate::description::content_of;
use crate::error;
use crate::foreign;
use crate::inventory::{Entry, scan};
use crate::named::Place;
use crate::named::identity::{identity_of, is_clone_name, partition_identity};
use crate::output;
use crate::records;
use anyhow::Result;
use klon_imaging::mark::Mark;
use klon_imaging::{Consistency, Manifest, Role};
use klon_partition::device::{Window, look_at};
use klon_partition::inspect::{DiskLayout, Volume, inspect};
use klon_partition::system::{Disk, MountPoint, System, Use};
use klon_partition::table::{Finding, Scheme};
use klon_partition::{Identity, ReadAt};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// A disk or a file: one line of `klon devices --json`.
#[derive(Serialize)]
struct Answer {
    #[serde(serialize_with = "klon_partition::text::path")]
    path: PathBuf,
    size_bytes: u64,
    logical_sector_bytes: u32,
    physical_sector_bytes: u32,
    identity: Option<Identity>,
    /// What the system says of a disk; null for a plain file.
    disk: Option<Disk>,
    /// What holds the disk, where that is a file of another program: "a qcow2 image".
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'static str>,
    table: Option<Scheme>,
    findings: Vec<Finding>,
    /// Why the content can't be told.
    error: Option<String>,
    /// "klon backup drive" when clones are on it.
    role: Option<&'static str>,
    /// The source that the whole disk is a clone of, by the record.
    clone_of: Option<Identity>,
    /// How that was at rest, by the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    clone_consistency: Option<Consistency>,
    /// The source of an unfinished clone to the whole disk.
    unfinished_clone_of: Option<String>,
    /// Whether `klon finish` completes the unfinished clone without its source.
    #[serde(skip_serializing_if = "is_false")]
    is_staged: bool,
    /// Everything that uses it.
    uses: Vec<Use>,
    volumes: Vec<VolumeAnswer>,
}

#[derive(Serialize)]
struct VolumeAnswer {
    #[serde(flatten)]
    volume: Volume,
    #[serde(serialize_with = "klon_partition::text::path_option")]
    path: Option<PathBuf>,
    identity: Option<Identity>,
    mounts: Vec<MountPoint>,
    /// The source that it is a clone of, by the record.
    clone_of: Option<Identity>,
    /// How that was at rest, by the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    clone_consistency: Option<Consistency>,
    /// The source of an unfinished clone to it.
    unfinished_clone_of: Option<String>,
    /// Whether `klon finish` completes the unfinished clone without its source.
    #[serde(skip_serializing_if = "is_false")]
    is_staged: bool,
    /// The identity in a few words.
    #[serde(skip)]
    content: String,
    /// How less than all of it could be copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// Shows all disks, or those that are named.
///
/// # Errors
/// When a place that was named can't be looked at.
pub fn run(args: &DevicesArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    // Records of another user can't be read; then nothing is said of clones.
    let manifests = records::store(common)?.manifests().unwrap_or_default();
    let mut answers = Vec::new();
    if args.paths.is_empty() {
        for entry in scan(&system) {
            answers.push(of_disk(entry, &system, &manifests));
        }
    }
    for path in &args.paths {
        let place = Place::resolve(path, &system)?;
        place
            .refuse_export("is no device of this machine. `klon map` shows what is in use on it")?;
        let (source, layout, container) = look(&place)?;
        let disk = system.disk_of(&place.path)?.filter(|disk| {
            system
                .locate(&disk.path)
                .is_ok_and(|at| system.locate(&place.path).ok() == Some(at))
        });
        let seen = Seen {
            disk: disk.as_ref(),
            source: &*source,
            manifests: &manifests,
        };
        let answer = answer(place.path, seen, layout, &system)?;
        answers.push(Answer {
            container,
            ..answer
        });
    }
    for one in &answers {
        if common.json {
            output::json(one)?
        } else {
            output::line(&lines::text(one))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Looked = (
    Arc<dyn ReadAt>,
    klon_partition::Result<DiskLayout>,
    Option<&'static str>,
);

/// What is on a device or in a file, also in one of another program.
fn look(place: &Place) -> Result<Looked> {
    let source = Arc::new(look_at(&place.path)?);
    let found = if place.is_raw || place.image.is_some() {
        Ok(None)
    } else {
        foreign::open(&place.given, &source)
    };
    Ok(match found {
        Ok(None) => (source.clone(), inspect(&*source), None),
        Ok(Some((disk, container))) => (disk.clone(), inspect(&*disk), Some(container.name)),
        Err(error) => {
            let why = klon_partition::Error::Invalid(crate::error::message(&error));
            (source, Err(why), None)
        }
    })
}

/// A disk of the list. One that can't be read, or goes away, must not end the list.
fn of_disk(entry: Entry, system: &System, manifests: &[Manifest]) -> Answer {
    let disk = entry.disk.clone();
    match looked_at(entry, system, manifests) {
        Ok(answer) => answer,
        Err(error) => unread(disk, error::plain_words(&error::message(&error)), system),
    }
}

fn looked_at(entry: Entry, system: &System, manifests: &[Manifest]) -> Result<Answer> {
    let path = entry.disk.path.clone();
    let source = match look_at(&path) {
        Ok(source) => source,
        Err(error) => return Ok(unread(entry.disk, told(&error), system)),
    };
    let size_bytes = source.geometry().size_bytes;
    if (entry.layout.iter()).any(|layout| layout.geometry.size_bytes != size_bytes) {
        let why = "its size changed while klon looked at it".to_owned();
        return Ok(unread(entry.disk, why, system));
    }
    let seen = Seen {
        disk: Some(&entry.disk),
        source: &source,
        manifests,
    };
    answer(path, seen, entry.layout, system)
}

/// A disk that can't be read, with the reason. klon tells what the system says of it, and leaves everything
/// else empty.
fn unread(disk: Disk, why: String, system: &System) -> Answer {
    let path = disk.path.clone();
    Answer {
        size_bytes: disk.size_bytes,
        logical_sector_bytes: disk.logical_sector_bytes,
        physical_sector_bytes: disk.physical_sector_bytes,
        identity: system.identity(&path).unwrap_or_default(),
        container: None,
        table: None,
        findings: Vec::new(),
        error: Some(why),
        role: None,
        clone_of: None,
        clone_consistency: None,
        unfinished_clone_of: None,
        is_staged: false,
        uses: system.uses(&path).unwrap_or_default(),
        volumes: Vec::new(),
        disk: Some(disk),
        path,
    }
}

/// A device or file as it is looked at, and the records that may know it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    /// The disk that it is, as the system knows it.
    disk: Option<&'a Disk>,
    source: &'a dyn ReadAt,
    manifests: &'a [Manifest],
}

fn answer(
    path: PathBuf,
    seen: Seen<'_>,
    layout: klon_partition::Result<DiskLayout>,
    system: &System,
) -> Result<Answer> {
    let Seen {
        disk,
        source,
        manifests,
    } = seen;
    let geometry = source.geometry();
    let (layout, error) = match layout {
        Ok(layout) => (Some(layout), None),
        Err(error) => (None, Some(told(&error))),
    };
    let identity = match &layout {
        Some(layout) => Some(identity_of(system, &path, layout)?),
        None => system.identity(&path)?,
    };
    let mut volumes = Vec::new();
    for volume in layout.iter().flat_map(|layout| &layout.volumes) {
        let table = layout.as_ref().and_then(|layout| layout.table.as_ref());
        let own = match (table, &volume.partition) {
            (Some(table), Some(partition)) => partition_identity(table, partition),
            _ => identity.clone(),
        };
        volumes.push(of_volume(volume, own, seen)?);
    }
    let (clone_of, clone_consistency) = clone_of(manifests, identity.as_ref()).unzip();
    let mark = Mark::read(source)?;
    let is_staged = is_staged(mark.as_ref());
    let unfinished_clone_of = mark.map(|mark| mark.source);
    let is_whole = clone_of.is_some() || unfinished_clone_of.is_some();
    let is_clone = |volume: &VolumeAnswer| {
        volume.clone_of.is_some()
            || volume.unfinished_clone_of.is_some()
            || volume
                .volume
                .partition
                .as_ref()
                .is_some_and(|part| is_clone_name(&part.name))
    };
    let is_backup = is_whole || volumes.iter().any(is_clone);
    Ok(Answer {
        uses: system.uses(&path)?,
        path,
        size_bytes: geometry.size_bytes,
        logical_sector_bytes: geometry.logical_sector_bytes,
        physical_sector_bytes: geometry.physical_sector_bytes,
        identity,
        disk: disk.cloned(),
        container: None,
        table: layout
            .as_ref()
            .and_then(|layout| Some(layout.table.as_ref()?.scheme)),
        findings: layout.map(|layout| layout.findings).unwrap_or_default(),
        error,
        role: is_backup.then_some("klon backup drive"),
        clone_of,
        clone_consistency,
        unfinished_clone_of,
        is_staged,
        volumes,
    })
}

fn told(error: &klon_partition::Error) -> String {
    let said = error::plain_words(&error.to_string());
    match error::as_root(error) {
        Some(advice) => format!("{said}. {advice}"),
        None => said,
    }
}

fn is_staged(mark: Option<&Mark>) -> bool {
    mark.is_some_and(|mark| mark.staged.is_some())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn of_volume(volume: &Volume, identity: Option<Identity>, seen: Seen<'_>) -> Result<VolumeAnswer> {
    let Seen {
        disk,
        source,
        manifests,
    } = seen;
    let mark = Mark::read(&Window::new(source, volume.extent)?)?;
    let node = disk.and_then(|disk| disk.partition_at(volume.extent));
    let mounts = match (node, disk) {
        (Some(node), _) => node.mounts.clone(),
        (None, Some(disk)) if volume.partition.is_none() => disk.mounts.clone(),
        _ => Vec::new(),
    };
    let (clone_of, clone_consistency) = clone_of(manifests, identity.as_ref()).unzip();
    Ok(VolumeAnswer {
        volume: volume.clone(),
        content: content_of(volume, source),
        path: node.map(|node| node.path.clone()),
        clone_of,
        clone_consistency,
        identity,
        mounts,
        is_staged: is_staged(mark.as_ref()),
        unfinished_clone_of: mark.map(|mark| mark.source),
        advice: volume
            .filesystem
            .as_ref()
            .and_then(|filesystem| filesystem.kind.advice()),
    })
}

/// The source of the clone that a record knows at `target`, and how it was at rest. What was brought back to
/// an original is the original again.
fn clone_of(manifests: &[Manifest], target: Option<&Identity>) -> Option<(Identity, Consistency)> {
    let record = manifests
        .iter()
        .find(|manifest| Some(&manifest.target) == target && manifest.role != Role::Restore);
    record.map(|manifest| (manifest.source.clone(), manifest.consistency))
}
