//! `klon finish`: complete updates that were interrupted, from the drive alone.

use crate::cli::{Common, FinishArgs};
use crate::error::{self, refused, usage};
use crate::finish::{Asked, Completed, complete};
use crate::human;
use crate::jobs;
use crate::messages::say;
use crate::output;
use crate::plan_file;
use crate::records;
use crate::target::TargetEnd;
use crate::target::open::OpenTarget;
use crate::threads;
use anyhow::{Context as _, Result};
use klon_imaging::mark::{Mark, Part};
use klon_imaging::stage::Finished;
use klon_partition::Identity;
use klon_partition::Shown;
use klon_partition::device::{Window, look_at};
use klon_partition::system::System;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// One volume, as JSON.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    target: &'a str,
    identity: Option<&'a Identity>,
    #[serde(flatten)]
    finished: Option<&'a Finished>,
}

/// Completes what is staged for a volume and its group, or for all volumes of a drive or a plan.
pub fn run(args: &FinishArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let threads = threads::count(args.threads);
    let targets = targets(&args.target, &system)?;
    if args.alone && targets.len() > 1 {
        return Err(usage(
            "--alone is for one volume. Name it as a partition (/dev/sdX2 or FILE:2)",
        ));
    }
    // What could be completed with another one of its group.
    let mut done: Vec<Completed> = Vec::new();
    let mut failed: Option<anyhow::Error> = None;
    for target in &targets {
        if let Some(before) = done.iter().find(|one| is_of(one, target)) {
            report(target, Some(before), common)?;
            continue;
        }
        let asked = Asked {
            identity: &target.identity,
            records: &records,
            is_alone: args.alone,
            threads,
        };
        let finished = finish_one(target, asked, &system)
            .with_context(|| format!("finishing {}", target.place.given));
        match finished {
            Ok(completed) => {
                let (own, others): (Vec<_>, Vec<_>) =
                    completed.into_iter().partition(|one| is_of(one, target));
                report(target, own.first(), common)?;
                if targets.len() == 1 {
                    others
                        .iter()
                        .try_for_each(|other| report_other(other, common))?;
                }
                done.extend(others);
            }
            // The others may be whole all the same.
            Err(error) => {
                if let Some(first) = failed.replace(error) {
                    let second = failed.replace(first);
                    say(&format!(
                        "klon: {}",
                        second.as_ref().map(error::message).unwrap_or_default()
                    ));
                }
            }
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn is_of(done: &Completed, target: &TargetEnd) -> bool {
    done.identity.as_ref() == Some(&target.identity)
}

fn targets(given: &Path, system: &System) -> Result<Vec<TargetEnd>> {
    if given.is_file()
        && let Some(plan) = plan_file::find_plan(given)?
    {
        let jobs = jobs::planned::of_plan(&plan, &[], None, system)?;
        return Ok(jobs.into_iter().map(|job| job.target).collect());
    }
    let target = TargetEnd::look(given, system)?;
    let now = target
        .now
        .as_ref()
        .with_context(|| format!("{}: there is no such file or device", given.shown()))?;
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
            let mut path = given.as_os_str().to_owned();
            path.push(format!(":{}", partition.number));
            TargetEnd::look(Path::new(&path), system)
        })
        .collect()
}

fn finish_one(target: &TargetEnd, asked: Asked<'_>, system: &System) -> Result<Vec<Completed>> {
    let now = target.now.as_ref().context("a target that exists")?;
    match Mark::read(&now.open.device)? {
        None if !may_be_led(target, system)? => return Ok(Vec::new()),
        Some(mark) if mark.staged.is_none() => {
            return Err(refused(format!(
                "a clone of {} to it was interrupted while writing in place. Only its source can \
                 complete it: run the clone again",
                mark.source
            )));
        }
        _ => {}
    }
    let open = OpenTarget::new(target, 0, &[], system)?;
    complete(&open, &[], asked, system)
}

/// Whether any volume of the drive leads a group, of which an unmarked target may be. Looked at
/// only.
fn may_be_led(target: &TargetEnd, system: &System) -> Result<bool> {
    let Some(now) = &target.now else {
        return Ok(false);
    };
    let (drive, layout) = match (&now.open.partition, now.open.parent(system)?) {
        (Some(_), _) => (now.open.source.clone(), now.open.layout.clone()),
        (None, Some(parent)) => (Arc::new(look_at(&parent.path)?), parent.layout.clone()),
        (None, None) => return Ok(false),
    };
    for partition in layout.table.iter().flat_map(|table| &table.partitions) {
        let mark = Mark::read(&Window::new(drive.clone(), partition.extent)?)?;
        let part = mark.and_then(|mark| mark.staged).map(|staged| staged.part);
        if matches!(part, Some(Part::Leader(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn report(target: &TargetEnd, done: Option<&Completed>, common: &Common) -> Result<()> {
    let finished = done.map(|done| &done.finished);
    tell(
        &target.place.given,
        Some(&target.identity),
        finished,
        common,
    )
}

/// A volume that was not asked for, but is of the same group.
fn report_other(done: &Completed, common: &Common) -> Result<()> {
    let number = done.number.unwrap_or_default();
    let name = format!("partition {number} of the same drive and group");
    tell(&name, done.identity.as_ref(), Some(&done.finished), common)
}

fn tell(
    target: &str,
    identity: Option<&Identity>,
    finished: Option<&Finished>,
    common: &Common,
) -> Result<()> {
    if common.json {
        return Ok(output::json(&Line {
            event: "finish",
            target,
            identity,
            finished,
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    Ok(output::line(&match finished {
        None => format!("{target}: nothing to finish"),
        Some(finished) => format!(
            "{target}: the staged update is in place, {} written. It is a complete clone of {}",
            human::size(finished.written_bytes),
            finished.source
        ),
    })?)
}
