//! What is on a drive or a volume, in words.

use crate::human;
use crate::named::open::OpenPlace;
use klon_imaging::foreign::recognize;
use klon_partition::device::{Window, is_blank, look_at};
use klon_partition::filesystem::Summary;
use klon_partition::inspect::{DiskLayout, Volume};
use klon_partition::system::System;
use klon_partition::text::quoted;
use klon_partition::{ReadAt, Shown};
use std::path::Path;

/// What is on a device, or in the partition of it that is meant, for people: what would be lost of
/// the volumes that `is_lost` holds for.
pub fn describe(open: &OpenPlace, system: &System, is_lost: impl Fn(&Volume) -> bool) -> String {
    let is_meant = |volume: &Volume| match &open.partition {
        Some(partition) => volume.extent == partition.extent,
        None => is_lost(volume),
    };
    let Ok(disk) = open.own() else {
        return format!("  {}", open.place.given);
    };
    let disk = SeenDisk {
        path: &open.place.path,
        layout: &open.layout,
        device: &**disk,
    };
    described(&disk, system, is_meant)
}

/// A disk that was looked at.
pub struct SeenDisk<'a> {
    /// Its path.
    pub path: &'a Path,
    /// What was found on it.
    pub layout: &'a DiskLayout,
    /// Its bytes.
    pub device: &'a dyn ReadAt,
}

/// What is on a disk. Only volumes that `is_meant` holds for are told.
pub fn described(
    disk: &SeenDisk<'_>,
    system: &System,
    is_meant: impl Fn(&Volume) -> bool,
) -> String {
    let SeenDisk {
        path,
        layout,
        device: disk,
    } = *disk;
    let mut text = format!("  {}", path.shown());
    if let Ok(Some(known)) = system.disk_of(path) {
        for part in [&known.model, &known.serial].into_iter().flatten() {
            text.push_str(&format!(" {part}"));
        }
    }
    text.push_str(&format!(", {}", human::size(layout.geometry.size_bytes)));
    if let Some(found) = foreign_file(path) {
        text.push_str(&format!(
            ", {found}, whose form a clone would replace by plain bytes"
        ));
    } else if let Some(why) = layout.doubt() {
        text.push_str(&format!(
            ", unknown content, with a partition table that can't be relied on: {why}"
        ));
    } else if layout.volumes.is_empty() {
        text.push_str(match is_empty(disk) {
            true => ", empty",
            false if layout.is_blank => ", unknown content, zeroes in its first MiB",
            false => ", unknown content",
        });
    }
    for volume in layout.volumes.iter().filter(|volume| is_meant(volume)) {
        text.push_str("\n    ");
        if let Some(partition) = &volume.partition {
            let name = if partition.name.is_empty() { "" } else { " " };
            text.push_str(&format!(
                "partition {}{name}{}: ",
                partition.number, partition.name
            ));
        }
        text.push_str(&content_of(volume, disk));
        text.push_str(&format!(", {}", human::size(volume.extent.len_bytes())));
    }
    text
}

/// What is in a volume of `disk` in a few words: `ext4 "Data"`.
pub fn content_of(volume: &Volume, disk: &dyn ReadAt) -> String {
    let is_empty = || Window::new(disk, volume.extent).is_ok_and(|window| is_empty(&window));
    match &volume.filesystem {
        None if is_empty() => "empty".to_owned(),
        filesystem => in_words(filesystem.as_ref()),
    }
}

/// Whether nothing but zeroes is seen; what can't be read is not called so.
fn is_empty(device: &dyn ReadAt) -> bool {
    is_blank(device).unwrap_or(false)
}

/// What a file that would be overwritten is to other programs.
fn foreign_file(path: &Path) -> Option<&'static str> {
    let file = path.is_file().then(|| look_at(path).ok()).flatten()?;
    let found = recognize(&file).ok().flatten();
    found.map(|found| found.name)
}

/// A filesystem in a few words: `ext4 "Data"`.
pub fn in_words(summary: Option<&Summary>) -> String {
    match summary {
        None => "unknown content".to_owned(),
        Some(summary) => match &summary.label {
            Some(label) => format!("{} {}", summary.kind, quoted(label)),
            None => summary.kind.to_string(),
        },
    }
}
