//! Images of volumes that are mounted for writing: brought to rest for moments, and imaged in passes.

use super::{What, in_image};
use crate::cli::ImageArgs;
use crate::image::{ImageName, OpenForAppend};
use crate::progress::Progress;
use crate::run::live::Sources;
use crate::signals::interrupt_flag;
use crate::source::live::Live;
use crate::still::Role;
use anyhow::{Context as _, Result};
use klon_imaging::Error as ImagingError;
use klon_imaging::change::Rested;
use klon_imaging::image::{
    CaptureJob, CaptureOptions, CaptureSummary, LiveCapture, LiveSource, LiveVolume, capture_live,
};
use klon_partition::filesystem::Usage;
use klon_partition::system::System;
use std::time::SystemTime;

/// Adds a snapshot of what is in use as `usage`, which says what is left out by choice.
///
/// # Errors
/// When it can't be brought to rest, the image lies on it, or no snapshot could be added.
pub(super) fn capture(
    (live, what): (&Live, &What<'_>),
    (job, usage): (CaptureJob<'_>, &Usage),
    (image, name, args): (&mut OpenForAppend, &ImageName, &ImageArgs),
    options: &CaptureOptions,
    progress: &Progress,
) -> Result<CaptureSummary> {
    let system = System::current()?;
    let held: Vec<_> = live.held().into_iter().collect();
    // As the system names what is open.
    let path = name.path.canonicalize();
    let written = [(Role::Image, path.unwrap_or_else(|_| name.path.clone()))];
    let written = match super::is_stream(name) {
        true => &[][..],
        false => &written,
    };
    let (hooks, flag) = (
        Some(&args.still.hooks),
        interrupt_flag().context("signals")?,
    );
    let mut sources = Sources::begin((&held, live.longest), written, hooks, &flag)?;
    let look = |since| {
        let found = looked(live, what, (usage, &system), since);
        found.map_err(|error| ImagingError::Refused(format!("{error:#}")))
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

/// The source as it is now, at rest since then.
fn looked(
    live: &Live,
    what: &What<'_>,
    (limited, system): (&Usage, &System),
    since: SystemTime,
) -> Result<LiveSource> {
    let found = live.look(what.source, system)?;
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
    Ok(LiveSource {
        source: in_image(&found.source, &what.source.lost_before),
        usage,
        partitions: Vec::new(),
        volumes: part.map(volume).into_iter().collect(),
        consistency: found.consistency,
    })
}
