//! `klon finish`: complete updates that were interrupted, from the drive alone.

use crate::cli::{Common, FinishArgs};
use crate::drive::OpenTarget;
use crate::error::refused;
use crate::human;
use crate::jobs;
use crate::output;
use crate::threads;
use crate::volume::TargetEnd;
use anyhow::{Context as _, Result};
use klon_imaging::mark::Mark;
use klon_imaging::stage::{Finished, finish};
use klon_partition::Identity;
use klon_partition::system::System;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One volume, as JSON.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    target: &'a str,
    identity: &'a Identity,
    #[serde(flatten)]
    finished: Option<&'a Finished>,
}

/// Completes what is staged for a volume, or for all volumes of a drive or a plan.
pub fn run(args: &FinishArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let threads = threads::count(args.threads);
    let targets = targets(&args.target, &system)?;
    for target in &targets {
        let finished = finish_one(target, threads, &system)
            .with_context(|| format!("finishing {}", target.place.given))?;
        report(target, finished.as_ref(), common)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn targets(given: &Path, system: &System) -> Result<Vec<TargetEnd>> {
    if given.is_file()
        && let Ok(plan) = jobs::read_plan(given)
    {
        let jobs = jobs::of_plan(&plan, &[], None, system)?;
        return Ok(jobs.into_iter().map(|job| job.target).collect());
    }
    let target = TargetEnd::look(given, system)?;
    let now = target
        .now
        .as_ref()
        .with_context(|| format!("{}: there is no such file or device", given.display()))?;
    let is_marked = Mark::read(&now.open.device)?.is_some();
    let Some(table) = now.open.layout.table.as_ref().filter(|_| !is_marked) else {
        return Ok(vec![target]);
    };
    if now.open.partition.is_some() {
        return Ok(vec![target]);
    }
    // A drive: its volumes.
    table
        .partitions
        .iter()
        .map(|partition| {
            let path = PathBuf::from(format!("{}:{}", given.display(), partition.number));
            TargetEnd::look(&path, system)
        })
        .collect()
}

fn finish_one(
    target: &TargetEnd,
    threads: NonZeroUsize,
    system: &System,
) -> Result<Option<Finished>> {
    let now = target.now.as_ref().context("a target that exists")?;
    let Some(mark) = Mark::read(&now.open.device)? else {
        return Ok(None);
    };
    if mark.staged.is_none() {
        return Err(refused(format!(
            "a clone of {} to it was interrupted while it wrote in place; its source is needed to \
             complete it: run the clone again",
            mark.source
        )));
    }
    let open = OpenTarget::new(target, 0, system)?;
    Ok(finish(open.space(), threads)?)
}

fn report(target: &TargetEnd, finished: Option<&Finished>, common: &Common) -> Result<()> {
    let given = &target.place.given;
    if common.json {
        return Ok(output::json(&Line {
            event: "finish",
            target: given,
            identity: &target.identity,
            finished,
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    Ok(output::line(&match finished {
        None => format!("{given}: nothing to finish"),
        Some(finished) => format!(
            "{given}: the staged update is in place, {} written; it is a whole clone of {}",
            human::size(finished.written_bytes),
            finished.source
        ),
    })?)
}
