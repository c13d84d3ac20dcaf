//! `klon devices`: disks, what is on them, what is used, what is in the way.

use crate::cli::{Common, DevicesArgs};
use crate::description::content_of;
use crate::error;
use crate::foreign;
use crate::human;
use crate::inventory::{Entry, scan};
use crate::named::Place;
use crate::named::identity::{identity_of, is_clone_name, partition_identity};
use crate::output;
use crate::records;
use anyhow::Result;
use klon_imaging::Manifest;
use klon_imaging::mark::Mark;
use klon_partition::Shown;
use klon_partition::device::{Window, look_at};
use klon_partition::inspect::{DiskLayout, Volume, inspect};
use klon_partition::system::{Disk, MountPoint, System, Use};
use klon_partition::table::{Finding, Scheme};
use klon_partition::text::printable;
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
    /// What it is as a whole a clone of, by its record.
    clone_of: Option<Identity>,
    /// What a clone to it as a whole that did not finish is of.
    unfinished_clone_of: Option<String>,
    /// Whether `klon finish` completes that without the source.
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
    /// What it is a clone of, by its record.
    clone_of: Option<Identity>,
    /// What a clone that did not finish is of.
    unfinished_clone_of: Option<String>,
    /// Whether `klon finish` completes that without the source.
    #[serde(skip_serializing_if = "is_false")]
    is_staged: bool,
    /// The same in a few words.
    #[serde(skip)]
    content: String,
    /// How less than all of it could be copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// Shows all disks, or those that are named.
pub fn run(args: &DevicesArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    // Records of another user can't be read; then nothing is said of clones.
    let manifests = records::store(common)?.manifests().unwrap_or_default();
    let mut answers = Vec::new();
    if args.paths.is_empty() {
        for entry in scan(&system) {
            answers.push(of_disk(entry, &system, &manifests)?);
        }
    }
    for path in &args.paths {
        let place = Place::resolve(path, &system)?;
        let (source, layout, container) = look(&place)?;
        let disk = system.disk_of(&place.path)?.filter(|disk| {
            system
                .locate(&disk.path)
                .is_ok_and(|at| system.locate(&place.path).ok() == Some(at))
        });
        let answer = answer(place.path, disk, &*source, layout, &system, &manifests)?;
        answers.push(Answer {
            container,
            ..answer
        });
    }
    for one in &answers {
        if common.json {
            output::json(one)?
        } else {
            output::line(&text(one))?
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

fn of_disk(entry: Entry, system: &System, manifests: &[Manifest]) -> Result<Answer> {
    let path = entry.disk.path.clone();
    let source = match look_at(&path) {
        Ok(source) => source,
        Err(error) => return unread(entry.disk, told(&error), system),
    };
    let size_bytes = source.geometry().size_bytes;
    // One device that goes away must not end the whole list.
    if (entry.layout.iter()).any(|layout| layout.geometry.size_bytes != size_bytes) {
        let why = "its size changed while klon looked at it".to_owned();
        return unread(entry.disk, why, system);
    }
    answer(
        path,
        Some(entry.disk),
        &source,
        entry.layout,
        system,
        manifests,
    )
}

/// A disk of which nothing but what the system says is known, and why.
fn unread(disk: Disk, why: String, system: &System) -> Result<Answer> {
    let path = disk.path.clone();
    Ok(Answer {
        size_bytes: disk.size_bytes,
        logical_sector_bytes: disk.logical_sector_bytes,
        physical_sector_bytes: disk.physical_sector_bytes,
        identity: system.identity(&path)?,
        container: None,
        table: None,
        findings: Vec::new(),
        error: Some(why),
        role: None,
        clone_of: None,
        unfinished_clone_of: None,
        is_staged: false,
        uses: system.uses(&path)?,
        volumes: Vec::new(),
        disk: Some(disk),
        path,
    })
}

fn answer(
    path: PathBuf,
    disk: Option<Disk>,
    source: &dyn ReadAt,
    layout: klon_partition::Result<DiskLayout>,
    system: &System,
    manifests: &[Manifest],
) -> Result<Answer> {
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
        volumes.push(of_volume(volume, own, disk.as_ref(), source, manifests)?);
    }
    let clone_of = clone_of(manifests, identity.as_ref());
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
        disk,
        container: None,
        table: layout
            .as_ref()
            .and_then(|layout| Some(layout.table.as_ref()?.scheme)),
        findings: layout.map(|layout| layout.findings).unwrap_or_default(),
        error,
        role: is_backup.then_some("klon backup drive"),
        clone_of,
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

fn unfinished(source: &str, is_staged: bool) -> String {
    let finish = if is_staged {
        "; klon finish completes it"
    } else {
        ""
    };
    format!("UNFINISHED clone of {source}{finish}")
}

fn of_volume(
    volume: &Volume,
    identity: Option<Identity>,
    disk: Option<&Disk>,
    source: &dyn ReadAt,
    manifests: &[Manifest],
) -> Result<VolumeAnswer> {
    let mark = Mark::read(&Window::new(source, volume.extent)?)?;
    let node = disk.and_then(|disk| {
        disk.partitions
            .iter()
            .find(|node| node.extent == volume.extent)
    });
    let mounts = match (node, disk) {
        (Some(node), _) => node.mounts.clone(),
        (None, Some(disk)) if volume.partition.is_none() => disk.mounts.clone(),
        _ => Vec::new(),
    };
    Ok(VolumeAnswer {
        volume: volume.clone(),
        content: content_of(volume, source),
        path: node.map(|node| node.path.clone()),
        clone_of: clone_of(manifests, identity.as_ref()),
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

/// The source of the clone that a record knows at `target`.
fn clone_of(manifests: &[Manifest], target: Option<&Identity>) -> Option<Identity> {
    let record = manifests
        .iter()
        .find(|manifest| Some(&manifest.target) == target);
    record.map(|manifest| manifest.source.clone())
}

fn text(answer: &Answer) -> String {
    let mut parts = vec![human::size(answer.size_bytes)];
    if let Some(disk) = &answer.disk {
        parts.extend(disk.model.clone());
        parts.extend(
            disk.serial
                .as_ref()
                .map(|serial| format!("serial {serial}")),
        );
        parts.push(disk.transport.to_string());
        let traits = [
            (disk.is_rotational, "rotational"),
            (disk.is_removable, "removable"),
        ];
        parts.extend(
            traits
                .iter()
                .filter(|(is_so, _)| *is_so)
                .map(|(_, name)| (*name).to_owned()),
        );
    }
    parts.extend(answer.container.map(|container| format!("in {container}")));
    parts.extend(match (answer.table, &answer.error) {
        (Some(Scheme::Gpt), _) => Some("GPT".to_owned()),
        (Some(Scheme::Mbr), _) => Some("MBR".to_owned()),
        (None, None) => Some("no partition table".to_owned()),
        // What is on it was not seen.
        (None, Some(_)) => None,
    });
    parts.extend(answer.role.map(str::to_owned));
    let mut text = format!("{}  {}\n", answer.path.shown(), parts.join(", "));
    for volume in &answer.volumes {
        text.push_str(&volume_line(volume));
    }
    if answer
        .volumes
        .iter()
        .all(|volume| volume.volume.partition.is_some())
    {
        if let Some(of) = &answer.clone_of {
            text.push_str(&format!("  clone of {of}\n"));
        }
        if let Some(of) = &answer.unfinished_clone_of {
            text.push_str(&format!("  {}\n", unfinished(of, answer.is_staged)));
        }
    }
    if let Some(error) = &answer.error {
        text.push_str(&format!("  ! {error}\n"));
    }
    for finding in &answer.findings {
        text.push_str(&format!("  ! {finding}\n"));
    }
    for one in &answer.uses {
        text.push_str(&format!("  in use: {one}\n"));
    }
    text
}

fn volume_line(answer: &VolumeAnswer) -> String {
    let volume = &answer.volume;
    let number = volume
        .partition
        .as_ref()
        .map_or(String::new(), |part| part.number.to_string());
    let name = volume
        .partition
        .as_ref()
        .map_or(String::new(), |part| printable(&part.name));
    let size_bytes = volume.extent.len_bytes();
    let used_bytes = volume
        .filesystem
        .as_ref()
        .and_then(|filesystem| filesystem.used_bytes);
    let used = used_bytes.map_or_else(
        || human::size(size_bytes),
        |used| format!("{} of {} used", human::size(used), human::size(size_bytes)),
    );
    let mut notes = Vec::new();
    notes.extend(
        answer
            .mounts
            .iter()
            .map(|mount| format!("mounted at {}", mount.at.shown())),
    );
    notes.extend(
        answer
            .clone_of
            .as_ref()
            .map(|source| format!("clone of {source}")),
    );
    notes.extend(
        answer
            .unfinished_clone_of
            .as_ref()
            .map(|of| unfinished(of, answer.is_staged)),
    );
    let hazards = volume
        .filesystem
        .iter()
        .flat_map(|filesystem| &filesystem.hazards);
    notes.extend(hazards.map(ToString::to_string));
    notes.extend(answer.advice.map(str::to_owned));
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!("  ({})", notes.join("; "))
    };
    let content = printable(&answer.content);
    format!("  {number:>3}  {name:<20}  {content:<22}  {used}{notes}\n")
}
