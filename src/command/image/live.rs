//! Images of volumes that are mounted for writing: brought to rest for moments, and imaged in passes.

use super::{Asked, Taking, What, in_image};
use crate::image::OpenForAppend;
use crate::run::live::Sources;
use crate::source::live::Live;
use crate::still::Role;
use anyhow::Result;
use klon_imaging::Error as ImagingError;
use klon_imaging::change::Rested;
use klon_imaging::clone::live::Found;
use klon_imaging::image::{CaptureSummary, LiveCapture, LiveSource, LiveVolume, capture_live};
use klon_partition::filesystem::Usage;
use klon_partition::system::System;
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
    let system = System::current()?;
    let held: Vec<_> = live.held().into_iter().collect();
    // As the system names what is open.
    let path = name.path.canonicalize();
    let written = [(Role::Image, path.unwrap_or_else(|_| name.path.clone()))];
    let written = match super::is_stream(name) {
        true => &[][..],
        false => &written,
    };
    let hooks = Some(&asked.args.still.hooks);
    let mut sources = Sources::begin(&held, live.longest, written, hooks)?;
    let look = |since| {
        let found = live.look(what.source, &system);
        let at_rest = found.map(|found| at_rest(found, what, usage, since));
        at_rest.map_err(|error| ImagingError::Refused(format!("{error:#}")))
    };
    let live = LiveCapture { job, look: &look };
    Ok(capture_live(
        &live,
        &mut sources,
        image.writer(),
        options,
        progress,
    )?)
}

/// The source as it was found now, at rest since then. It lacks what `limited` leaves out by choice.
fn at_rest(found: Found, what: &What<'_>, limited: &Usage, since: SystemTime) -> LiveSource {
    let mut usage = found.usage.clone();
    usage.limit(limited.choice);
    let part = found.source.geometry().extent();
    let rested = Rested {
        since,
        consistency: found.consistency,
        session: found.session,
    };
    let volume = |part| LiveVolume {
        number: 0,
        part,
        usage: found.usage,
        rested: Some(rested),
    };
    LiveSource {
        source: in_image(&found.source, &what.source.lost_before),
        usage,
        partitions: Vec::new(),
        volumes: part.map(volume).into_iter().collect(),
        consistency: found.consistency,
    }
}
