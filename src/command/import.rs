//! `klon import`: a new snapshot in an image from what other programs made.

mod input;

use crate::cli::{Common, ImageArgs, ImportArgs, RungArg};
use crate::command::image;
use crate::error::{self, refused};
use crate::image::{ImageName, OpenForAppend, Shape};
use crate::progress::{Progress, Totals, interrupt_flag, say};
use crate::threads;
use anyhow::{Context as _, Result};
use input::{Input, Watched};
use klon_imaging::change::RungChoice;
use klon_imaging::image::{
    CaptureJob, CaptureOptions, CaptureSummary, VolumeKind, capture, capture_forward,
};
use klon_partition::ExtentMap;
use klon_partition::system::System;
use std::process::ExitCode;

/// Adds a snapshot of what another program made.
pub fn run(args: &ImportArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let Some(input) = Input::open(args, &system)? else {
        return image::run(&as_image(args), common);
    };
    let name = ImageName {
        path: args.image.clone(),
        snapshot: None,
    };
    if args.image.exists() && !args.image.is_file() {
        let text = args.image.display();
        return Err(refused(format!(
            "{text} is no plain file, and an image is one"
        )));
    }
    if let (Ok(from), Ok(to)) = (args.input.canonicalize(), args.image.canonicalize())
        && from == to
    {
        let text = args.image.display();
        return Err(refused(format!("{text} is what would be imported")));
    }
    input.warnings.iter().for_each(|warning| {
        say(&format!("klon: warning: {warning}"));
    });
    let is_new = !args.image.exists();
    let shape = Shape::parse(None, args.store.chunk.as_deref())?;
    let mut image = OpenForAppend::new(&name, &shape)?;
    let result = import(input, &mut image, args, common);
    let is_failed = |error| error::code(error) != error::INTERRUPTED;
    if is_new && result.as_ref().err().is_some_and(is_failed) {
        // It has no snapshot; of use it would be to the same run again alone.
        let _ = std::fs::remove_file(&args.image);
    }
    image::report(&result?, &name, common)?;
    Ok(ExitCode::SUCCESS)
}

/// What klon can image without any import.
fn as_image(args: &ImportArgs) -> ImageArgs {
    ImageArgs {
        source: args.input.clone(),
        image: args.image.clone(),
        split: None,
        store: args.store.clone(),
        rung: RungArg::Auto,
        strict: false,
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
    };
    let stamp = input.stamp.take();
    let job = CaptureJob {
        name: &input.name,
        source: &*input.device,
        usage: &input.usage,
        source_identity: &input.identity,
        kind: match input.is_disk {
            true => VolumeKind::Disk,
            false => VolumeKind::Volume,
        },
        disk_guid: input.disk_guid,
        partitions: std::mem::take(&mut input.partitions),
        previous: previous.as_deref(),
        bad: ExtentMap::new(),
        watch: Some(&|| stamp.as_ref().map_or(Ok(None), Watched::changed)),
        given_name: args.store.name.clone(),
        note: args.store.note.clone().or_else(|| input.note.take()),
    };
    let summary = match &mut input.stream {
        Some(stream) => capture_forward(&job, &mut **stream, image.writer(), &options, &progress),
        None => capture(&job, image.writer(), &options, &progress),
    };
    summary
        .map_err(|error| image::advised(error.into(), &args.image.display().to_string()))
        .with_context(|| format!("importing {}", input.name))
}
