//! What is done for one volume: an interrupted update is completed, a clone is read back.

use crate::error::{DIFFERENT, Failure};
use crate::finish::{self, Asked};
use crate::human;
use crate::jobs::VolumeJob;
use crate::progress::{Progress, say};
use crate::target::open::OpenTarget;
use anyhow::{Context as _, Result};
use klon_imaging::verify::Against;
use klon_imaging::{Error, RecordStore, verify};
use klon_partition::system::System;
use std::num::NonZeroUsize;

/// Completes an update that was staged and then interrupted, with the rest of its group; the others
/// that are open may be of that.
pub fn complete(
    job: &VolumeJob,
    (target, open): (&OpenTarget, &[OpenTarget]),
    (records, threads): (&RecordStore, NonZeroUsize),
    system: &System,
) -> Result<()> {
    let asked = Asked {
        identity: &job.target.identity,
        records,
        is_alone: false,
        threads,
    };
    let completed = match finish::complete(target, open, asked, system) {
        Ok(completed) => completed,
        Err(error) => {
            // The source is at hand, and all of the target will be compared with it.
            let is_told = matches!(
                error.downcast_ref(),
                Some(Error::StageCorrupt { .. } | Error::Refused(_) | Error::RefusedUnless { .. })
            );
            if !is_told {
                return Err(error);
            }
            say(&format!("klon: warning: {}: {error}", job.name));
            return Ok(());
        }
    };
    if completed.is_empty() {
        return Ok(());
    }
    let written_bytes = completed.iter().map(|one| one.finished.written_bytes).sum();
    let others = match completed.len() {
        1 => String::new(),
        volumes => format!(" of {volumes} volumes"),
    };
    say(&format!(
        "klon: {}: completed the update{others} that was staged and interrupted, {} written",
        job.name,
        human::size(written_bytes)
    ));
    Ok(())
}

/// Compares the target with the digests of its record.
pub fn read_back(
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
        "{} does not read back what was written: {} bytes differ, the first at byte {}. Don't \
         trust this drive",
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
