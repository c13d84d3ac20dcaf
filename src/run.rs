//! Clones of volumes, run for the commands that make clones: asked about, copied, reported.

mod aftermath;
mod complete;
pub mod consent;
mod group;
pub mod policy;
mod present;
mod read_back;
pub mod rescue;

use crate::cli::Common;
use crate::direction;
use crate::error::{DIFFERENT, refused};
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
use anyhow::{Context as _, Result};
use group::Context;
use klon_imaging::RecordStore;
use klon_imaging::clone::{Job, Preview, preview};
use klon_partition::system::{DiskLock, System, lock, tell_kernel};
use policy::Policy;
use std::process::ExitCode;

/// Whether what a smaller target cuts off may be anybody's. A clone that was given more room than its
/// source had ends where that ended.
fn loss(source: &SourceEnd, records: &RecordStore) -> Loss {
    let end_bytes = clone_end::of(source, records);
    let target_bytes = source.cut.as_ref().map(fit::Cut::target_bytes);
    match end_bytes.zip(target_bytes) {
        Some((end_bytes, target_bytes)) if end_bytes <= target_bytes => Loss::Foreign,
        _ => Loss::Refuse,
    }
}

/// Asks for consent where it is needed, then clones.
pub fn carry_out(
    jobs: &mut [VolumeJob],
    records: &RecordStore,
    policy: &Policy,
    common: &Common,
    system: &System,
) -> Result<ExitCode> {
    warn(jobs, policy.is_strict)?;
    for source in jobs.iter().filter_map(|job| job.source.as_ref()) {
        outside::announce(source, &source.usage, common.quiet);
        fit::check(&source.name, source.cut.as_ref(), loss(source, records))?;
    }
    if policy.is_dry_run {
        return show(jobs, records, policy, common);
    }
    for job in &mut *jobs {
        job.is_asked = match &job.reversal {
            Some(reversal) => direction::ask(job, reversal, &policy.consent, system)?,
            None => consent::ask(job, records, policy, system)?,
        };
    }
    let jobs = &*jobs;
    for job in jobs {
        // Before a target is touched, or a file made that would stay behind.
        records
            .check_writable(&job.target.identity)
            .map_err(|error| aftermath::not_begun(error.into(), records))?;
    }
    let _locks = lock_all(jobs, system)?;
    let totals = Totals {
        bytes: jobs.iter().map(used_bytes).sum(),
        volumes: jobs.len(),
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    if policy.rescue.is_some() {
        return rescue::rescue_all(jobs, records, (policy, common), &progress, system);
    }
    let with = Context {
        records,
        policy,
        progress: &progress,
        system,
    };
    let mut summaries = Vec::new();
    for group in group::groups(jobs) {
        let done = group::clone_group(&group, with)?;
        for (job, summary) in group.iter().zip(&done) {
            show_to_kernel(job, system)?;
            report::cloned(summary, jobs.len(), common)?;
            damaged_image::report(job, summary, common)?;
        }
        summaries.extend(done);
    }
    report::cloned_all(&summaries, common)?;
    Ok(if summaries.iter().all(|summary| summary.bad.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

fn used_bytes(job: &VolumeJob) -> u64 {
    job.source
        .as_ref()
        .map_or(0, |source| source.usage.extents.total_bytes())
}

fn warn(jobs: &[VolumeJob], is_strict: bool) -> Result<()> {
    for warning in jobs
        .iter()
        .filter_map(|job| job.source.as_ref())
        .flat_map(|s| &s.warnings)
    {
        if is_strict {
            return Err(refused(format!("--strict: {warning}")));
        }
        say(&format!("klon: warning: {warning}"));
    }
    Ok(())
}

/// Locks the disk of each target, so that udev and others wait.
fn lock_all(jobs: &[VolumeJob], system: &System) -> Result<Vec<DiskLock>> {
    let mut paths = Vec::new();
    for job in jobs {
        if job.target.now.is_some()
            && let Some(disk) = system.disk_of(&job.target.place.path)?
            && !paths.contains(&disk.path)
        {
            paths.push(disk.path);
        }
    }
    paths.iter().map(|path| Ok(lock(path)?)).collect()
}

/// Lets the partitions of a disk that got another table have their nodes.
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
fn show(
    jobs: &[VolumeJob],
    records: &RecordStore,
    policy: &Policy,
    common: &Common,
) -> Result<ExitCode> {
    for job in jobs {
        let source = job.source.as_ref().context("a clone needs a source")?;
        let Some(now) = &job.target.now else {
            report::would_create(job, source, common)?;
            continue;
        };
        // Nothing is written to an overlay that is never flushed.
        let overlay = klon_partition::device::Overlay::new(now.open.device.clone(), 0);
        let found: Preview = preview(
            &Job {
                name: &job.name,
                source: &*source.device,
                usage: &source.usage,
                source_identity: &source.identity,
                target: &overlay,
                target_identity: &job.target.identity,
                present: None,
                drive: None,
                role: job.role,
                watch: None,
                lost: None,
            },
            records,
            &policy.options_for(job),
        )?;
        report::would_clone(job, source, &found, common)?;
    }
    Ok(ExitCode::SUCCESS)
}
