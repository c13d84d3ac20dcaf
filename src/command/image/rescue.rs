//! `klon image --rescue`: a source with bad sectors, by way of a file beside the image. An image can't
//! be filled out of order, and what is asked of a failing disk must be asked once.

use super::{What, add};
use crate::cli::{CloneArgs, Common, Consent, FreedArg, ImageArgs, RewriteArg, RunArgs, RungArg};
use crate::command::clone::rescue::rescue_one;
use crate::error::{DIFFERENT, refused};
use crate::image::ImageName;
use crate::jobs::{self, BadSectors};
use crate::place::Place;
use crate::progress::{Progress, Totals, interrupt_flag};
use crate::records;
use crate::report;
use anyhow::{Context as _, Result};
use klon_partition::device::open_source;
use klon_partition::filesystem::Usage;
use klon_partition::system::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Rescues the source to a file, adds a snapshot of that, and removes the file.
pub(super) fn image(
    map: Option<&Path>,
    (name, args): (&ImageName, &ImageArgs),
    common: &Common,
    system: &System,
) -> Result<ExitCode> {
    let records = records::store(common)?;
    let scratch = beside(&name.path, "rescue");
    let own_map = beside(&name.path, "map");
    let map = map.unwrap_or(&own_map);
    if scratch.exists() && !map.exists() {
        return Err(refused(format!(
            "{} exists, and there is no map {} that tells what an interrupted rescue left in it; \
             remove it, or name the map with --rescue=MAPFILE",
            scratch.display(),
            map.display()
        )));
    }
    let job = jobs::pair(&args.source, &scratch, BadSectors::Around, system)?;
    let source = job.source.as_ref().context("an image needs a source")?;
    let totals = Totals {
        bytes: source.usage.extents.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let clone_args = clone_args(map, &scratch, args);
    let (summary, files) = rescue_one(&job, &records, &clone_args, &progress, system)
        .with_context(|| format!("rescuing {}", source.name))?;
    report::rescued(&summary, &files, common)?;
    let device = open_source(&scratch).with_context(|| scratch.display().to_string())?;
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
        device: &device,
        layout: &layout,
        bad: summary.bad.clone(),
    };
    add(&what, name, args, common)?;
    // From here on it would be taken for what is on the source.
    records.remove(&job.target.identity)?;
    fs::remove_file(&scratch).with_context(|| scratch.display().to_string())?;
    if map == own_map {
        let _ = fs::remove_file(map);
    }
    Ok(match summary.bad.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DIFFERENT),
    })
}

/// `FILE.klon.{extension}`.
fn beside(image: &Path, extension: &str) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn clone_args(map: &Path, scratch: &Path, args: &ImageArgs) -> CloneArgs {
    CloneArgs {
        source: args.source.clone(),
        target: Some(scratch.to_owned()),
        only: Vec::new(),
        rung: RungArg::Auto,
        rewrite: RewriteArg::Blocks,
        freed: FreedArg::Leave,
        in_place: false,
        force_direction: false,
        strict: false,
        rescue: Some(Some(map.to_owned())),
        fill_bad: None,
        retries: args.retries,
        run: RunArgs {
            fix_boot_fields: false,
            verify: false,
            threads: args.threads,
            dry_run: false,
            consent: Consent::default(),
        },
    }
}
