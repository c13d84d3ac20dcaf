//! The engine of all commands that make clones: it asks, copies and reports.

mod aftermath;
mod complete;
pub mod consent;
mod end;
mod group;
pub mod left_out;
pub mod live;
pub mod policy;
mod present;
mod read_back;
pub mod rescue;

use crate::cli::Common;
use crate::error::{DIFFERENT, refused};
use crate::explain::{self, Way};
use crate::jobs::VolumeJob;
use crate::messages::say;
use crate::outside;
use crate::progress::{Progress, Totals};
use crate::report;
use crate::signals::interrupt_flag;
use crate::source::SourceEnd;
use crate::source::clone_end;
use crate::source::damaged_image;
use crate::source::fit::{self, Loss};
use crate::source::lost_before::{self, Out};
use anyhow::{Context as _, Result};
use end::Context;
use klon_imaging::clone::{Ends, Job, Preview, preview};
use klon_imaging::{CloneSummary, RecordStore};
use klon_partition::system::{DiskLock, System, lock, tell_kernel};
use policy::Policy;
use std::path::Path;
use std::process::ExitCode;

/// What a run shall do, and what it works with.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// What it shall do.
    pub policy: &'a Policy,
    /// Where the records of clones are.
    pub records: &'a RecordStore,
    /// The options of all commands.
    pub common: &'a Common,
    /// The disks, and who uses them.
    pub system: &'a System,
}

/// What losing the bytes means that a smaller target cuts off. A clone in more room than its source had
/// ends where its source ended. What lies behind that end is nobody's.
fn loss(source: &SourceEnd, records: &RecordStore) -> Loss {
    let Some(cut) = &source.cut else {
        return Loss::Refuse;
    };
    match clone_end::of(source, records) {
        Some(end_bytes) if end_bytes <= cut.target_bytes() => Loss::Foreign,
        _ => Loss::Refuse,
    }
}

/// Asks for consent where it is needed, then clones.
///
/// # Errors
/// What was refused before anything was written; else the failure of the first volume or group that could
/// not be cloned, with what stands there now.
pub fn carry_out(jobs: &mut [VolumeJob], run: Run<'_>) -> Result<ExitCode> {
    let sources = jobs.iter_mut().filter_map(|job| job.source.as_mut());
    look(&mut sources.collect::<Vec<_>>(), run)?;
    carry_on(jobs, run)
}

/// Says what the user should know of sources before anything is written, and refuses what a target has no
/// room for.
///
/// # Errors
/// [`refused`] for what would be lost, and for a warning when these end the run; when a source can't be
/// read.
pub fn look(sources: &mut [&mut SourceEnd], run: Run<'_>) -> Result<()> {
    let Run {
        records,
        policy,
        common,
        ..
    } = run;
    for source in &mut *sources {
        source.note_recorded(records);
        source.note_covered(records);
    }
    for source in &*sources {
        source.tell_journals(common.quiet);
        source.check_shrunk()?;
    }
    warn(sources, policy.is_strict)?;
    for source in sources {
        outside::announce(source, &source.usage, common.quiet);
        fit::check(&source.name, source.cut.as_ref(), loss(source, records))?;
    }
    Ok(())
}

/// As [`carry_out`], of sources that were looked at ([`look`]).
///
/// # Errors
/// As [`carry_out`].
pub fn carry_on(jobs: &mut [VolumeJob], run: Run<'_>) -> Result<ExitCode> {
    let Run {
        records,
        policy,
        common,
        system,
    } = run;
    if policy.is_dry_run {
        return show(jobs, run);
    }
    for job in jobs.iter_mut().filter(|job| !job.is_asked) {
        job.is_asked = consent::ask(job, records, policy, system)?;
    }
    let jobs = &*jobs;
    for job in jobs {
        // Before a target is touched, or a file made that would stay behind.
        records
            .check_writable(&job.target.identity)
            .map_err(|error| aftermath::not_begun(error.into(), records))?;
    }
    let _locks = lock_all(jobs)?;
    let totals = Totals {
        bytes: jobs.iter().map(used_bytes).sum(),
        volumes: jobs.len(),
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    if policy.rescue.is_some() {
        return rescue::rescue_all(jobs, run, &progress);
    }
    let with = Context {
        run,
        progress: &progress,
    };
    let mut summaries = Vec::new();
    for group in group::groups(jobs) {
        let done = group::clone_group(&group, with)?;
        for (job, summary) in group.iter().zip(&done) {
            show_to_kernel(job, system)?;
            report_one(job, summary, jobs.len(), run)?;
        }
        summaries.extend(done);
    }
    report::cloned_all(&summaries, common)?;
    let is_sound =
        |summary: &CloneSummary| summary.bad.is_empty() && summary.metadata.damaged.is_empty();
    Ok(match summaries.iter().all(is_sound) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DIFFERENT),
    })
}

/// Reports what was done with one volume of the run.
fn report_one(job: &VolumeJob, summary: &CloneSummary, volumes: usize, run: Run<'_>) -> Result<()> {
    let common = run.common;
    explain::warn(&summary.name, &summary.metadata);
    report::cloned(summary, volumes, common)?;
    let Some(source) = &job.source else {
        return Ok(());
    };
    let CloneSummary {
        name,
        rung,
        reason,
        metadata,
        ..
    } = summary;
    explain_if_asked(&Way::new(name, *rung, reason, metadata), source, run)?;
    damaged_image::report(&job.name, source, summary, common)?;
    lost_before::report(&job.name, source, &summary.bad, Out::of(common.json))
}

/// Tells how changes of a source were found, or would be, if the user wants to know.
fn explain_if_asked(way: &Way<'_>, source: &SourceEnd, run: Run<'_>) -> Result<()> {
    match run.policy.is_explained {
        true => explain::explain(way, &*source.device, source.table.as_ref(), run.common),
        false => Ok(()),
    }
}

fn used_bytes(job: &VolumeJob) -> u64 {
    job.source
        .as_ref()
        .map_or(0, |source| source.usage.extents.total_bytes())
}

fn warn(sources: &[&mut SourceEnd], is_strict: bool) -> Result<()> {
    for warning in sources.iter().flat_map(|source| &source.warnings) {
        if is_strict {
            return Err(refused(format!("--strict: {warning}")));
        }
        say(&format!("klon: warning: {warning}"));
    }
    Ok(())
}

/// Locks the disk of each target, so that udev and others wait.
fn lock_all(jobs: &[VolumeJob]) -> Result<Vec<DiskLock>> {
    let targets = jobs.iter().filter_map(|job| job.target.now.as_ref());
    let mut paths: Vec<&Path> = Vec::new();
    for disk in targets.filter_map(|target| target.disk.as_ref()) {
        if !paths.contains(&&*disk.path) {
            paths.push(&disk.path);
        }
    }
    paths.iter().map(|path| Ok(lock(path)?)).collect()
}

/// Tells the kernel of a new table, so that the partitions get their nodes.
fn show_to_kernel(job: &VolumeJob, system: &System) -> Result<()> {
    let has_table = |source: &SourceEnd| source.table.is_some();
    let path = &job.target.place.path;
    let is_table_cloned = job.source.as_ref().is_some_and(has_table);
    if !is_table_cloned || job.target.place.number.is_some() {
        return Ok(());
    }
    let Some(disk) = system.disk_of(path)? else {
        return Ok(());
    };
    if system.locate(path)? != system.locate(&disk.path)? {
        return Ok(());
    }
    let layout = job.target.place.open()?.layout;
    if layout.doubt().is_some() {
        return Ok(());
    }
    let partitions: Vec<_> = layout
        .table
        .iter()
        .flat_map(|table| &table.partitions)
        .map(|partition| (partition.number, partition.extent))
        .collect();
    tell_kernel(&disk.path, &partitions).context(
        "the clone is complete, but the kernel does not know its partitions yet. Detach and attach \
         the drive",
    )
}

/// `--dry-run`.
fn show(jobs: &[VolumeJob], run: Run<'_>) -> Result<ExitCode> {
    let Run {
        records,
        policy,
        common,
        system,
    } = run;
    for job in jobs {
        let source = job.source.as_ref().context("a clone needs a source")?;
        let Some(now) = &job.target.now else {
            report::would_create(job, source, common)?;
            continue;
        };
        // Nothing is written to an overlay that is never flushed.
        let overlay = klon_partition::device::Overlay::new(now.open.device.clone(), 0);
        let lost = || source.lost_before.clone();
        let found: Preview = preview(
            &Job {
                role: job.role,
                lost: Some(&lost),
                continuity: policy.continuity.as_ref(),
                tracked: job.tracking.as_ref().map(|found| &found.tracked),
                written_by: &source.written_by,
                rested: source.rested.as_ref(),
                own_identity: source.own_identity.as_ref(),
                ..Job::new(
                    &job.name,
                    Ends {
                        source: &*source.device,
                        usage: &source.usage,
                        source_identity: &source.identity,
                        target: &overlay,
                        target_identity: &job.target.identity,
                    },
                )
            },
            records,
            &policy.options_for(job),
        )?;
        let question = consent::question(job, records, policy, system)?;
        let unanswered = question.filter(|question| !question.is_answered(&policy.consent));
        report::would_clone(job, source, &found, unanswered.as_ref(), common)?;
        let way = Way::new(&job.name, found.rung, &found.reason, &found.metadata);
        explain_if_asked(&way, source, run)?;
    }
    Ok(ExitCode::SUCCESS)
}
