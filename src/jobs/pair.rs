//! One source and one target, as `klon clone SOURCE TARGET` names them.

use super::{Sources, VolumeJob};
use crate::guard::{self, Protected};
use crate::named::Place;
use crate::named::identity::{disk_identity, identity_by_path};
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_partition::Identity;
use klon_partition::Shown;
use klon_partition::filesystem::Basis;
use klon_partition::system::System;
use std::path::Path;

/// The pair of `klon clone SOURCE TARGET`.
///
/// # Errors
/// When one of the two can't be opened, or is refused.
pub fn pair(source: &Path, target: &Path, how: Sources<'_>, system: &System) -> Result<VolumeJob> {
    let source = Place::resolve(source, system)?;
    let open = |place: &Place, target: &TargetEnd| how.at_node(place, system, target);
    pair_with(&source, target, open, system)
}

/// As [`pair`], but `open` opens the source.
///
/// # Errors
/// As [`pair`], and what `open` says.
pub fn pair_with(
    source_place: &Place,
    target: &Path,
    open: impl FnOnce(&Place, &TargetEnd) -> Result<SourceEnd>,
    system: &System,
) -> Result<VolumeJob> {
    let mut target = TargetEnd::look(target, system)?;
    check_apart(source_place, &target, system)?;
    let source = open(source_place, &target)?;
    check_sectors(&source, &target)?;
    let shown = target.identity.clone();
    if let Some(identity) = identity_with(&source, &target, system)? {
        target.identity = identity;
    }
    let is_ambiguous = [&shown, &target.identity].contains(&&source.identity);
    let is_ambiguous = is_ambiguous && source_place.image.is_none();
    let consent_identity = if is_ambiguous {
        whereabouts(&target.place)?
    } else {
        shown
    };
    let name = target.place.given.clone();
    Ok(VolumeJob {
        is_ambiguous,
        ..VolumeJob::new(name, Some(source), target, consent_identity)
    })
}

/// How a target is recognized that only its content identifies, once it has the content of the source. Its
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
///
/// # Errors
/// [`refused`](crate::error::refused) when they have bytes in common.
pub fn check_apart(source: &Place, target: &TargetEnd, system: &System) -> Result<()> {
    let Some(now) = &target.now else {
        return Ok(());
    };
    let location = match source.number.filter(|_| source.image.is_none()) {
        Some(_) => source.open()?.location(system)?,
        None => source.locate(system)?,
    };
    let protected = Protected {
        name: &source.given,
        location: &location,
    };
    guard::apart(&target.place.given, &now.location, &protected)
}

/// Tables count in the sectors of the device that they were made on.
fn check_sectors(source: &SourceEnd, target: &TargetEnd) -> Result<()> {
    let Some(disk) = target.disk() else {
        return Ok(());
    };
    // One that can't be relied on is copied as it is.
    let is_believed = matches!(source.usage.basis, Basis::Map);
    let table = source.table.as_ref().filter(|_| is_believed);
    let table_sector_bytes = table.map(|table| table.logical_sector_bytes);
    let found = disk.logical_sector_bytes;
    guard::same_sectors(&target.place.given, found, table_sector_bytes)
}
