//! `klon finish`: complete updates that were interrupted, from the drive alone.

use crate::cli::{Common, FinishArgs};
use crate::error::{self, DIFFERENT, refused, usage};
use crate::files_hit::stands_for_bad;
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
use klon_imaging::clone::FillTexts;
use klon_imaging::mark::{Mark, Membership};
use klon_imaging::stage::Finished;
use klon_partition::device::{Window, look_at};
use klon_partition::system::System;
use klon_partition::{ExtentMap, Identity, Shown};
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
    #[serde(flatten)]
    bad: Option<Bad<'a>>,
}

/// The bytes of a volume that could not be read from its source.
#[derive(Serialize)]
struct Bad<'a> {
    bad_bytes: u64,
    bad: &'a ExtentMap,
    #[serde(flatten)]
    bad_fill: &'a FillTexts,
}

/// Completes what is staged for a volume and its group, or for all volumes of a drive or a plan.
///
/// # Errors
/// When an update can't be completed; those of the other volumes are.
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
    let mut is_whole = true;
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
            others: &[],
            system: &system,
        };
        let finished =
            finish_one(target, asked).with_context(|| format!("finishing {}", target.place.given));
        match finished {
            Ok(completed) => {
                let (own, others): (Vec<_>, Vec<_>) =
                    completed.into_iter().partition(|one| is_of(one, target));
                report(target, own.first(), common)?;
                is_whole &= own
                    .iter()
                    .chain(&others)
                    .all(|one| one.bad.extents.is_empty());
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
    match (failed, is_whole) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(ExitCode::SUCCESS),
        (None, false) => Ok(ExitCode::from(DIFFERENT)),
    }
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

fn finish_one(target: &TargetEnd, asked: Asked<'_>) -> Result<Vec<Completed>> {
    let now = target.now.as_ref().context("a target that exists")?;
    match Mark::read(&now.open.device)? {
        None if !may_be_led(target, asked.system)? => return Ok(Vec::new()),
        Some(mark) if mark.staged.is_none() => {
            return Err(refused(format!(
                "a clone of {} to it was interrupted while writing in place. Only its source can \
                 complete it: run the clone again",
                mark.source
            )));
        }
        _ => {}
    }
    let open = OpenTarget::new(target, 0, &[], asked.system)?;
    complete(&open, asked)
}

/// Whether any volume of the drive leads a group. An unmarked target may be a member of it. Nothing is
/// written.
fn may_be_led(target: &TargetEnd, system: &System) -> Result<bool> {
    let Some(now) = &target.now else {
        return Ok(false);
    };
    let (drive, layout) = match (&now.open.partition, now.open.parent(system)?) {
        (Some(_), _) => (now.open.own()?.clone(), now.open.layout.clone()),
        (None, Some(parent)) => (Arc::new(look_at(&parent.path)?), parent.layout.clone()),
        (None, None) => return Ok(false),
    };
    for partition in layout.table.iter().flat_map(|table| &table.partitions) {
        let mark = Mark::read(&Window::new(drive.clone(), partition.extent)?)?;
        let membership = mark
            .and_then(|mark| mark.staged)
            .map(|staged| staged.membership);
        if matches!(membership, Some(Membership::Leader(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn report(target: &TargetEnd, done: Option<&Completed>, common: &Common) -> Result<()> {
    tell(&target.place.given, Some(&target.identity), done, common)
}

/// A volume that was not asked for, but is of the same group.
fn report_other(done: &Completed, common: &Common) -> Result<()> {
    let number = done.number.unwrap_or_default();
    let name = format!("partition {number} of the same drive and group");
    tell(&name, done.identity.as_ref(), Some(done), common)
}

fn tell(
    target: &str,
    identity: Option<&Identity>,
    done: Option<&Completed>,
    common: &Common,
) -> Result<()> {
    let bad = done.map(|done| &done.bad);
    let bad = bad.filter(|bad| !bad.extents.is_empty());
    if common.json {
        return Ok(output::json(&Line {
            event: "finish",
            target,
            identity,
            finished: done.map(|done| &done.finished),
            bad: bad.map(|bad| Bad {
                bad_bytes: bad.extents.total_bytes(),
                bad: &bad.extents,
                bad_fill: &bad.texts,
            }),
        })?);
    }
    if common.quiet && bad.is_none() {
        return Ok(());
    }
    let Some(Completed { finished, .. }) = done else {
        return Ok(output::line(&format!("{target}: nothing to finish"))?);
    };
    let except = bad.map_or_else(String::new, |bad| {
        format!(
            ", except {} in {} that could not be read ({}). To see whose it is, run klon verify {target}",
            human::size(bad.extents.total_bytes()),
            human::count(bad.extents.extents().len(), "place"),
            stands_for_bad(&bad.texts)
        )
    });
    Ok(output::line(&format!(
        "{target}: the staged update is in place, {} written. It is a complete clone of {}{except}",
        human::size(finished.written_bytes),
        finished.source
    ))?)
}
