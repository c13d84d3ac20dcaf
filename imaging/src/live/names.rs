//! What keeps changing, by the names of files.

use super::schedule::Schedule;
use super::source::LiveSource;
use crate::change::MetadataFigures;
use crate::error::Error;
use klon_partition::device::Window;
use klon_partition::error::Remedy;
use klon_partition::filesystem::owners;
use klon_partition::planner::human_size;
use klon_partition::text::quoted;
use klon_partition::{Extent, ExtentMap, ReadAt};

/// Files that are named.
const FILES_MAX: usize = 5;

/// A volume that keeps changing.
pub(crate) struct Changing<'a> {
    /// What it is called, for people.
    pub(crate) name: String,
    /// What it lies on.
    pub(crate) device: &'a dyn ReadAt,
    /// Where it lies there.
    pub(crate) part: Extent,
    /// What the last walk found of the files on the device.
    pub(crate) figures: &'a MetadataFigures,
}

/// The volumes that are mounted for writing of a source that is called so, with what the files of all showed.
pub(crate) fn changing<'a>(
    name: &'a str,
    found: &'a LiveSource,
    figures: &'a MetadataFigures,
) -> impl Iterator<Item = Changing<'a>> {
    found.mounted().map(move |volume| Changing {
        name: match volume.number {
            0 => name.to_owned(),
            number => format!("{name}:{number}"),
        },
        device: &*found.source,
        part: volume.part,
        figures,
    })
}

/// Says that a source never comes so far that the rest of it can be copied at rest.
pub(crate) fn give_up<'a>(
    volumes: impl Iterator<Item = Changing<'a>>,
    schedule: &Schedule,
    unproven_bytes: u64,
) -> Error {
    let mut files = Vec::new();
    for volume in volumes {
        files.extend(largest(&volume));
    }
    let files = match files.is_empty() {
        true => String::new(),
        false => format!(". The largest of what changes: {}", files.join(", ")),
    };
    let seconds = |duration: std::time::Duration| duration.as_secs_f64();
    let reason = format!(
        "the source changes faster than it can be copied: what is left, {}, would take about {:.1} s, and \
         the source may be frozen for {:.1} s{files}. Stop what writes to them, or run this at a quieter time",
        human_size(unproven_bytes),
        seconds(schedule.estimate(unproven_bytes)),
        seconds(schedule.longest()),
    );
    Error::RefusedUnless {
        reason,
        remedy: Remedy::FreezeLonger,
    }
}

/// Says that what can't be brought to rest was another one each time that it was read twice.
pub(crate) fn never_same(name: &str, times: u32, writers: &[String]) -> Error {
    let writers = match writers.is_empty() {
        true => String::new(),
        false => format!(" Open for writing: {}.", writers.join(", ")),
    };
    Error::Refused(format!(
        "{name} has a volume that can't be brought to rest, as files on it are open for writing, and it was another one \
         each of the {times} times that klon read it twice.{writers} End what writes to it, or unmount it"
    ))
}

/// The largest files that are read whole, as far as their names are found while they change.
fn largest(volume: &Changing<'_>) -> Vec<String> {
    let mut named = Vec::new();
    let Ok(window) = Window::new(volume.device, volume.part) else {
        return named;
    };
    for file in volume.figures.largest.files() {
        let extents = ExtentMap::from(file.extent).in_part(volume.part);
        if extents.is_empty() || named.len() == FILES_MAX {
            continue;
        }
        let found = owners(&window, &extents, 1).files;
        if let Some(owner) = found.first() {
            let bytes = human_size(file.bytes);
            named.push(format!(
                "{} of {} ({bytes})",
                quoted(&owner.path),
                volume.name
            ));
        }
    }
    named
}
