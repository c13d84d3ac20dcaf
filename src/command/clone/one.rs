//! One volume: what an interrupted update left is completed, then it is cloned and verified.

use super::{aftermath, options};
use crate::cli::CloneArgs;
use crate::confirm;
use crate::drive::{self, OpenTarget};
use crate::error::{DIFFERENT, Failure};
use crate::human;
use crate::jobs::VolumeJob;
use crate::progress::{Progress, say};
use crate::volume::SourceEnd;
use crate::watch::Watch;
use anyhow::{Context as _, Result};
use klon_imaging::clone::{Drive, Job, Update};
use klon_imaging::stage::finish;
use klon_imaging::verify::Against;
use klon_imaging::{CloneOptions, CloneSummary, Error, RecordStore, clone, verify};
use klon_partition::system::System;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) fn clone_one(
    job: &VolumeJob,
    records: &RecordStore,
    args: &CloneArgs,
    progress: &Progress,
    system: &System,
) -> Result<CloneSummary> {
    let source = job.source.as_ref().context("a clone needs a source")?;
    let size_bytes = source.device.geometry().size_bytes;
    let target = OpenTarget::new(&job.target, size_bytes, system)?;
    let mut options = options(job, args);
    complete(job, &target, options.threads)?;
    let commit = AtomicBool::new(false);
    let update =
        |options: &CloneOptions| update(job, source, &target, records, options, progress, &commit);
    let mut result = update(&options);
    if let Err(error) = &result
        && let Some(Error::NoRoom { room_bytes }) = error.downcast_ref()
        && confirm::yes(&in_place_question(job, *room_bytes))?
    {
        options.update = Update::InPlace;
        result = update(&options);
    }
    let aftermath = |error| aftermath::tell(error, job, source, &target, records, &commit);
    let summary = result.map_err(aftermath)?;
    if args.verify {
        read_back(job, &target, records, options.threads, progress)?;
    }
    Ok(summary)
}

/// Completes an update that was staged and then interrupted.
pub(super) fn complete(job: &VolumeJob, target: &OpenTarget, threads: NonZeroUsize) -> Result<()> {
    match finish(target.space(), threads) {
        Ok(None) => Ok(()),
        Ok(Some(finished)) => {
            say(&format!(
                "klon: {}: completed the update that was staged and interrupted, {} written",
                job.name,
                human::size(finished.written_bytes)
            ));
            Ok(())
        }
        // The source is at hand, and all of the target will be compared with it.
        Err(error @ (Error::StageCorrupt { .. } | Error::Refused(_))) => {
            say(&format!("klon: warning: {}: {error}", job.name));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn update(
    job: &VolumeJob,
    source: &SourceEnd,
    target: &OpenTarget,
    records: &RecordStore,
    options: &CloneOptions,
    progress: &Progress,
    commit: &AtomicBool,
) -> Result<CloneSummary> {
    let present = match options.update {
        Update::Staged => drive::present(job, source, target, records)?,
        Update::InPlace => None,
    };
    // Elsewhere, what belongs to no partition may be what is left of one that someone wants back.
    let drive = target.space().drive.filter(|_| job.is_planned);
    let watch = || {
        let changed = source.watch.as_ref().map_or(Ok(None), Watch::changed)?;
        commit.store(changed.is_none(), Ordering::Relaxed);
        Ok(changed)
    };
    let job = Job {
        name: &job.name,
        source: &*source.device,
        usage: &source.usage,
        source_identity: &source.identity,
        target: &*target.volume,
        target_identity: &job.target.identity,
        present: present.as_ref(),
        drive: drive.map(|device| Drive {
            device,
            room: &target.room,
        }),
        role: job.role,
        watch: Some(&watch),
    };
    Ok(clone(&job, records, options, progress)?)
}

fn in_place_question(job: &VolumeJob, room_bytes: u64) -> String {
    format!(
        "The changes for {} do not fit in the {} that are free on its drive, so they can't be \
         staged. Overwrite the earlier clone in place? If that is interrupted, it is unfinished \
         until the next run completes it",
        job.name,
        human::size(room_bytes)
    )
}

/// Compares the target with the digests of its record.
pub(super) fn read_back(
    job: &VolumeJob,
    target: &OpenTarget,
    records: &RecordStore,
    threads: NonZeroUsize,
    progress: &Progress,
) -> Result<()> {
    let record = records
        .load(&job.target.identity)?
        .context("the record is gone")?;
    let against = Against::Record(&record);
    let found = verify(&job.name, &*target.volume, &against, threads, progress)?;
    if found.is_equal {
        return Ok(());
    }
    let message = format!(
        "{} does not read back what was written: {} bytes differ, the first at {}; the drive \
         can't be trusted",
        job.name,
        found.differing_bytes,
        found
            .differences
            .iter()
            .next()
            .map_or(0, |extent| extent.offset_bytes())
    );
    Err(Failure {
        message,
        code: DIFFERENT,
    }
    .into())
}
