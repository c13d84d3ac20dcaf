//! Clones that are asleep: nothing recognizes them, so nothing mounts them by accident. A run wakes them, and puts
//! them to sleep again.

use crate::error::refused;
use crate::guard;
use crate::named::Place;
use crate::named::open::OpenPlace;
use anyhow::{Context as _, Result};
use klon_partition::device::{Patched, Patches, Window, open_target};
use klon_partition::filesystem::dormant::{Turn, to_sleep, to_wake};
use klon_partition::inspect::inspect;
use klon_partition::system::{System, lock};
use klon_partition::{Extent, ReadAt, WriteAt as _};
use std::sync::Arc;

/// What becomes of volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing recognizes them.
    Asleep,
    /// They are what they were.
    Awake,
}

/// A sector of a place that is to be turned.
struct Part {
    /// The partition of a disk.
    number: Option<u32>,
    /// Where the volume begins on what is opened.
    start_bytes: u64,
    turn: Turn,
}

/// Puts the volumes at a place to sleep, or wakes them, and says which: "ext4", "partition 2 (ext4)".
///
/// # Errors
/// [`refused`] when the place is in use, or something there can't sleep; then nothing was written.
pub fn turn(place: &Place, state: State, system: &System) -> Result<Vec<String>> {
    let place = place.clone().into_raw();
    let open = place.open()?;
    let parts = parts(&open, state)?;
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    guard::unused(system, &place.path)?;
    let disk = open.disk(system)?;
    let _lock = disk.map(|disk| lock(&disk.path)).transpose()?;
    drop(open);
    let target = open_target(&place.path).with_context(|| place.given.clone())?;
    let mut turned = Vec::new();
    for part in &parts {
        let at = part.start_bytes.saturating_add(part.turn.offset_bytes);
        target.write_all_at(&part.turn.new, at)?;
        target.sync()?;
        let kind = part.turn.kind;
        turned.push(match part.number {
            Some(number) => format!("partition {number} ({kind})"),
            None => kind.to_string(),
        });
    }
    Ok(turned)
}

/// Whether anything at a place is asleep.
///
/// # Errors
/// When it can't be read.
pub fn is_asleep(open: &OpenPlace) -> Result<bool> {
    Ok(!parts(open, State::Awake)?.is_empty())
}

/// Shows what is asleep at a place as it is when it is awake. Nothing is written.
///
/// # Errors
/// When it can't be read.
pub fn show_awake(open: &mut OpenPlace) -> Result<()> {
    let parts = parts(open, State::Awake)?;
    if parts.is_empty() {
        return Ok(());
    }
    let own = open.partition.as_ref();
    // The device of a partition begins where that does.
    let own_start_bytes = own.map_or(0, |it| it.extent.offset_bytes());
    let mut patches = Patches::new();
    for part in &parts {
        let start_bytes = part.start_bytes.saturating_sub(own_start_bytes);
        patches.add_part(&part.turn.patches()?, start_bytes)?;
    }
    open.device = Arc::new(Patched::new(open.device.clone(), patches));
    if open.partition.is_none() {
        open.layout = inspect(&*open.device)?;
    }
    Ok(())
}

/// What is to be turned at a place.
fn parts(open: &OpenPlace, state: State) -> Result<Vec<Part>> {
    let given = &open.place.given;
    let find = |volume: &dyn ReadAt| -> Result<Option<Turn>> {
        match state {
            State::Awake => Ok(to_wake(volume)?),
            State::Asleep => to_sleep(volume).map_err(|error| match error {
                klon_partition::Error::Unsupported { what, reason } => refused(format!(
                    "{given}: klon does not know {what}: {reason}. Nothing was written"
                )),
                error => error.into(),
            }),
        }
    };
    let table = open.layout.believed_table();
    let Some(table) = table.filter(|_| open.partition.is_none()) else {
        let start_bytes = open
            .partition
            .as_ref()
            .map_or(0, |it| it.extent.offset_bytes());
        let found = find(&*open.device)?.map(|turn| Part {
            number: None,
            start_bytes,
            turn,
        });
        return Ok(found.into_iter().collect());
    };
    let mut all = Vec::new();
    for partition in table
        .partitions
        .iter()
        .filter(|it| !it.partition_type.is_extended())
    {
        let extent: Extent = partition.extent;
        let found = find(&Window::new(open.device.clone(), extent)?)?;
        all.extend(found.map(|turn| Part {
            number: Some(partition.number),
            start_bytes: extent.offset_bytes(),
            turn,
        }));
    }
    Ok(all)
}
