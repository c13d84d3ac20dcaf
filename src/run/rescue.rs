//! `klon clone --rescue`: volumes with bad sectors.

use super::policy::{Policy, Rescue};
use super::{Run, complete, consent, read_back};
use crate::advice::{self, ELSEWHERE};
use crate::error::{Advice, DIFFERENT, usage};
use crate::files_hit;
use crate::jobs::VolumeJob;
use crate::progress::Progress;
use crate::report;
use crate::source::SourceEnd;
use crate::source::damaged_image;
use crate::source::watch::Watch;
use crate::target::open::OpenTarget;
use anyhow::{Context as _, Result};
use klon_imaging::clone::{Ends, Job};
use klon_imaging::rescue::{first_bad, rescue};
use klon_imaging::{Error, RescueOptions, RescueSummary};
use klon_partition::Shown;
use klon_partition::error::Operation;
use klon_partition::filesystem::Owners;
use klon_partition::{Error as PartitionError, Extent, ReadAt};
use std::path::Path;
use std::process::ExitCode;

/// Refuses one map for several volumes: a map describes one.
///
/// # Errors
/// When one map is named for several volumes.
pub fn check(policy: &Policy, jobs: &[VolumeJob]) -> Result<()> {
    match (policy.rescue.as_ref().and_then(Rescue::named_map), jobs) {
        (Some(map), [_, _, ..]) => Err(usage(format!(
            "{} can be the map of one volume only, and this run has {}. Use --only NAME, or \
             --rescue alone, which keeps a map of each volume",
            map.shown(),
            jobs.len()
        ))),
        _ => Ok(()),
    }
}

/// Rescues one volume; says whether all of it could be read.
///
/// # Errors
/// When the target can't be used or written, or the source is gone. What can't be read is no error.
pub fn rescue_one(
    job: &VolumeJob,
    run: Run<'_>,
    progress: &Progress,
) -> Result<(RescueSummary, Owners)> {
    let Run {
        records, policy, ..
    } = run;
    let source = job.source.as_ref().context("a clone needs a source")?;
    let size_bytes = source.device.geometry().size_bytes;
    let target = OpenTarget::new(&job.target, size_bytes, &[], run.system)?;
    consent::still(job, &target, records, policy)?;
    complete::complete(job, &target, &[], run)?;
    let own_map = records.map_path(&job.target.identity);
    let rescuing = policy.rescue.as_ref();
    let rescuing = rescuing.context("a rescue needs to know how")?;
    let given = rescuing.named_map();
    let options = RescueOptions {
        map: given.unwrap_or(&own_map),
        is_own_map: given.is_none(),
        metadata: &source.metadata,
        retries: rescuing.retries,
        fill: rescuing.fill.as_deref(),
        threads: policy.threads(),
    };
    let watch = || source.watch.as_ref().map_or(Ok(None), Watch::changed);
    let lost = || source.lost_before.clone();
    let imaging_job = Job {
        role: job.role,
        watch: Some(&watch),
        // A rescue lists what it could not read by itself.
        lost: Some(&lost),
        ..Job::new(
            &job.name,
            Ends {
                source: &*source.device,
                usage: &source.usage,
                source_identity: &source.identity,
                target: &*target.volume,
                target_identity: &job.target.identity,
            },
        )
    };
    let summary = rescue(&imaging_job, records, &options, progress)
        .map_err(|error| kept(error.into(), &job.target.place.path, options.map))?;
    target.keep();
    if policy.is_verified {
        read_back::read_back(job, &target, run, progress)?;
    }
    let files = if summary.bad.is_empty() {
        Owners::default()
    } else {
        files_hit::files(&target.volume, source.table.as_ref(), &summary.bad)
    };
    Ok((summary, files))
}

/// Adds to an error what to do when the source is gone, or the system refuses more of the target.
fn kept(error: anyhow::Error, target: &Path, map: &Path) -> anyhow::Error {
    let helps = match error.downcast_ref() {
        Some(Error::Source(_) | Error::SourceGone { .. }) => {
            Some("Check the cable and the power of the source, dmesg and smartctl -a".to_owned())
        }
        Some(Error::Target(_)) => {
            advice::reason(&error).and_then(|number| advice::about(number, target, ELSEWHERE))
        }
        _ => None,
    };
    match helps {
        Some(helps) => error.context(Advice(format!(
            "klon keeps what it has read, and {} says how far it came. {helps}. Then the same \
             command goes on from there",
            map.shown()
        ))),
        None => error,
    }
}

/// Rescues all of them.
///
/// # Errors
/// As of [`rescue_one`].
pub fn rescue_all(jobs: &[VolumeJob], run: Run<'_>, progress: &Progress) -> Result<ExitCode> {
    let mut is_whole = true;
    for job in jobs {
        let (summary, files) =
            rescue_one(job, run, progress).with_context(|| format!("rescuing {}", job.name))?;
        super::show_to_kernel(job, run.system)?;
        report::rescued(&summary, &files, run.common)?;
        is_whole &= summary.bad.is_empty();
    }
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

/// Adds to the error of a clone that met a bad sector: where the sector is, and what to do.
pub fn explained(error: anyhow::Error, source: &SourceEnd) -> anyhow::Error {
    if source.snapshot.is_some() {
        return damaged_image::explained(error);
    }
    at_bad_sector(error, source, CLONE)
}

/// The commands that read around bad sectors.
pub const CLONE: &str = "klon clone --rescue";
/// See [`CLONE`].
pub const IMAGE: &str = "klon image --rescue";

/// Adds to the error of a source that met a bad sector where that is, and which command goes around it.
pub fn at_bad_sector(error: anyhow::Error, source: &SourceEnd, command: &str) -> anyhow::Error {
    let Some(Error::Source(PartitionError::Io {
        operation: Operation::Read,
        offset_bytes,
        len_bytes,
        ..
    })) = error.downcast_ref()
    else {
        return error;
    };
    let offset_bytes = offset_bytes.checked_sub(source.start_bytes);
    let extent = offset_bytes.and_then(|offset_bytes| Extent::new(offset_bytes, *len_bytes));
    let bad = extent.and_then(|extent| first_bad(&source.device, extent));
    let place = bad.map_or_else(
        || "could be read when it was tried again".to_owned(),
        |bad| format!("has a bad sector at byte {}", bad.offset_bytes()),
    );
    error.context(format!(
        "the source {place}. {command} copies everything that can be read"
    ))
}

/// Advice for a source that could not be read when klon looked at it.
pub fn hinted(error: anyhow::Error, command: &str) -> anyhow::Error {
    let is_read = |cause: &PartitionError| {
        let operation = match cause {
            PartitionError::Io { operation, .. } => Some(*operation),
            _ => None,
        };
        operation == Some(Operation::Read)
    };
    if error.downcast_ref().is_some_and(is_read) {
        error.context(format!(
            "klon can't read a disk. If it is the source, {command} copies everything that can be \
             read"
        ))
    } else {
        error
    }
}
