//! `klon import`: a new snapshot in an image from what other programs made.

mod input;

use crate::advice;
use crate::cli::{
    CloneRungArg, Common, FreezeArgs, ImageArgs, ImportArgs, RelianceArgs, ReplayArg, ReplayArgs,
    StillArgs,
};
use crate::command::image;
use crate::error::{self, refused};
use crate::image::{ImageName, OpenForAppend, Shape, first_part, not_plain};
use crate::messages::say;
use crate::progress::{Progress, Totals};
use crate::signals::interrupt_flag;
use crate::threads;
use anyhow::{Context as _, Result};
use input::{Input, StampedFile};
use klon_imaging::Consistency;
use klon_imaging::change::{Reliance, RungChoice};
use klon_imaging::image::{
    CaptureJob, CaptureOptions, CaptureSummary, VolumeKind, capture, capture_forward,
};
use klon_partition::ExtentMap;
use klon_partition::Shown;
use klon_partition::system::System;
use std::process::ExitCode;
use std::time::Duration;

/// Adds a snapshot of what another program made.
///
/// # Errors
/// When the files are of no kind that is known, are damaged, or no snapshot could be added.
pub fn run(args: &ImportArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let Some(input) = Input::open(args, &system)? else {
        return image::run(&as_image(args), common);
    };
    let name = ImageName {
        path: first_part(&args.image),
        snapshot: None,
    };
    if name.path.exists() && !name.path.is_file() {
        return Err(not_plain(&name.path));
    }
    if let (Ok(from), Ok(to)) = (args.input.canonicalize(), name.path.canonicalize())
        && from == to
    {
        let text = args.image.shown();
        return Err(refused(format!("{text} is the image that you import from")));
    }
    input.warnings.iter().for_each(|warning| {
        say(&format!("klon: warning: {warning}"));
    });
    let shape = Shape::parse(None, args.store.chunk.as_deref())?;
    let mut image = OpenForAppend::new(&name, &shape)
        .map_err(|error| advice::to_write(error, &name.path, advice::ELSEWHERE))?;
    let named = format!("importing {}", input.name);
    let summary = match import(input, &mut image, args, common) {
        Ok(summary) => summary,
        Err(error) => {
            // Of use it would be to the same run again alone, which is known to come only when it was
            // ended from outside.
            let is_interrupted = error::code(&error) == error::INTERRUPTED;
            let left = image.give_up(is_interrupted);
            return Err(image::advised(error, left, &name.path)).context(named);
        }
    };
    image.done()?;
    image::report(&summary, &name, common)?;
    Ok(ExitCode::SUCCESS)
}

/// The arguments of `klon image` for a source that needs no import.
fn as_image(args: &ImportArgs) -> ImageArgs {
    ImageArgs {
        source: args.input.clone(),
        image: args.image.clone(),
        split: None,
        store: args.store.clone(),
        rung: CloneRungArg::Auto,
        reliance: RelianceArgs::default(),
        outside: None,
        still: StillArgs::REFUSE,
        freeze: FreezeArgs {
            freeze_max: Duration::ZERO,
        },
        strict: false,
        replay: ReplayArgs {
            replay: ReplayArg::Auto,
            scratch: None,
        },
        rescue: None,
        retries: 1,
        threads: args.threads,
    }
}

fn import(
    mut input: Input,
    image: &mut OpenForAppend,
    args: &ImportArgs,
    common: &Common,
) -> Result<CaptureSummary> {
    let previous = match image.before() {
        Some(before) => image::previous(before, &input.identity, args.store.name.as_deref())?,
        None => None,
    };
    let totals = Totals {
        bytes: input.usage.extents.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let options = CaptureOptions {
        rung: RungChoice::Auto,
        level: args.store.level,
        threads: threads::count(args.threads),
        reliance: Reliance::USUAL,
    };
    let stamp = input.stamp.take();
    let job = CaptureJob {
        name: &input.name,
        source: &*input.device,
        usage: &input.usage,
        source_identity: &input.identity,
        kind: if input.is_disk {
            VolumeKind::Disk
        } else {
            VolumeKind::Volume
        },
        disk_guid: input.disk_guid,
        partitions: std::mem::take(&mut input.partitions),
        previous: previous.as_deref(),
        bad: ExtentMap::new(),
        watch: Some(&|| stamp.as_ref().map_or(Ok(None), StampedFile::changed)),
        given_name: args.store.name.clone(),
        consistency: Consistency::Still,
        clone_bytes: None,
        note: args.store.note.clone().or_else(|| input.note.take()),
        is_checked: false,
        volumes: None,
    };
    let summary = match &mut input.stream {
        Some(stream) => capture_forward(&job, &mut **stream, image.writer(), &options, &progress),
        None => capture(&job, image.writer(), &options, &progress),
    };
    Ok(summary?)
}
