//! `klon image --rescue`: a source with bad sectors, by way of a file beside the image. An image can't
//! be filled out of order, and a failing disk must be asked only once for each sector.

use super::{Asked, What, add, code, in_image};
use crate::advice::{self, ELSEWHERE};
use crate::cli::{ImageArgs, ReplayArgs};
use crate::error::refused;
use crate::jobs::{self, BadSectors, Shrinks, Sources, VolumeJob};
use crate::messages::say;
use crate::named::Place;
use crate::progress::{Progress, Totals};
use crate::report;
use crate::run::policy::{Policy, Rescue};
use crate::run::rescue::rescue_one;
use crate::run::{Run, consent};
use crate::signals::interrupt_flag;
use crate::still::ways::Ways;
use crate::threads;
use anyhow::{Context as _, Result};
use klon_imaging::clone::Filled;
use klon_imaging::rescue::forget_map;
use klon_partition::device::open_source;
use klon_partition::filesystem::Usage;
use klon_partition::system::System;
use klon_partition::{ReadAt, Shown};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Rescues the source to a file, adds a snapshot of that, and removes the file.
pub(super) fn image(map: Option<&Path>, asked: Asked<'_>, system: &System) -> Result<ExitCode> {
    let Asked { name, args, .. } = asked;
    let (common, records) = (asked.common, asked.records);
    let scratch = beside(&name.path, "rescue");
    let own_map = beside(&name.path, "map");
    let map = map.unwrap_or(&own_map);
    check_names(&scratch, map, &own_map)?;
    let policy = policy(map, args);
    let mut job = job(args, &scratch, system)?;
    if let (Some(source), Some(choice)) = (&mut job.source, policy.outside) {
        source.limit(choice);
    }
    if let Some(source) = &mut job.source {
        source.note_recorded(records);
    }
    let source = job.source.as_ref().context("an image needs a source")?;
    if !consent::is_free(&job, records, &policy)? {
        return Err(of_another(&scratch, &source.name));
    }
    let totals = Totals {
        bytes: source.usage.extents.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let run = Run {
        policy: &policy,
        records,
        common,
        system,
    };
    let (mut summary, files) = rescue_one(&job, run, &progress)
        .map_err(|error| advice::if_none(error, &scratch, ELSEWHERE))
        .with_context(|| format!("rescuing {}", source.name))?;
    if map == own_map {
        // It goes with the file that it is of.
        summary.map = None;
    }
    report::rescued(&summary, &files, common)?;
    let device: Arc<dyn ReadAt> = Arc::new(open_source(&scratch).with_context(|| scratch.shown())?);
    let filled = Filled {
        extents: summary.bad.clone(),
        texts: summary.bad_fill.clone(),
    };
    // What was rescued is bytes as they were.
    let layout = Place::resolve(&scratch, system)?.into_raw().open()?.layout;
    // Whether the source was written to is told by its watch; the copy is what was read.
    let usage = Usage {
        token: None,
        ..source.usage.clone()
    };
    let what = What {
        source,
        usage: &usage,
        device: &*in_image(&device, &filled),
        layout: &layout,
        bad: summary.bad.clone(),
    };
    let added = add(&what, asked).inspect_err(|_| {
        say(&format!(
            "klon: what was rescued is kept in {}, with its map {}. The same command goes on from there",
            scratch.shown(),
            map.shown()
        ));
    })?;
    // From here on it would be taken for what is on the source.
    records.remove(&job.target.identity)?;
    clear(&scratch, map, map == own_map)?;
    Ok(code(&summary.bad, &added.metadata.damaged))
}

/// Removes the file of a rescue, and its map unless the user named that.
fn clear(scratch: &Path, map: &Path, is_own_map: bool) -> Result<()> {
    fs::remove_file(scratch).with_context(|| scratch.shown())?;
    if is_own_map {
        forget_map(map)?;
    }
    Ok(())
}

/// The pair of the source and the file that it is rescued to. Nobody may have the source mounted for writing,
/// and it is taken as it is.
fn job(args: &ImageArgs, scratch: &Path, system: &System) -> Result<VolumeJob> {
    let ways = Ways::none();
    let how = Sources {
        bad: BadSectors::Around,
        moments: None,
        ways: &ways,
        replay: &ReplayArgs::NEVER,
        shrinks: Shrinks::Nothing,
        adapts: false,
        skips: false,
    };
    jobs::pair::pair(&args.source, scratch, how, system)
}

/// Refuses a file beside the image that no earlier rescue left there.
fn check_names(scratch: &Path, map: &Path, own_map: &Path) -> Result<()> {
    if scratch.exists() && !map.exists() {
        return Err(refused(format!(
            "{} exists, but no map {} that says what an interrupted rescue left in it. \
             Remove the file, or name the map with --rescue=MAPFILE",
            scratch.shown(),
            map.shown()
        )));
    }
    check_plain(scratch)?;
    check_plain(own_map)
}

fn of_another(scratch: &Path, source: &str) -> anyhow::Error {
    refused(format!(
        "{} exists, and is not what an interrupted rescue of {source} left. Remove it, or name \
         another image",
        scratch.shown()
    ))
}

/// Refuses a name beside the image that is no plain file, such as a link to somebody else's file.
fn check_plain(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() || found.nlink() > 1 => Err(refused(format!(
            "{} exists and is not a plain file with this name alone. Remove it, or name another image",
            path.shown()
        ))),
        _ => Ok(()),
    }
}

/// `FILE.klon.{extension}`.
fn beside(image: &Path, extension: &str) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// What the arguments ask for: a rescue to a file that is ours, so nobody is asked about it.
fn policy(map: &Path, args: &ImageArgs) -> Policy {
    Policy {
        outside: args.outside,
        rescue: Some(Rescue {
            map: Some(map.to_owned()),
            retries: args.retries,
            fill: None,
        }),
        ..Policy::new(threads::count(args.threads))
    }
}
