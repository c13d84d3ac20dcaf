//! Reading a clone back after it is made.

use super::Run;
use crate::error::{DIFFERENT, Failure};
use crate::human;
use crate::jobs::VolumeJob;
use crate::progress::Progress;
use crate::target::open::OpenTarget;
use anyhow::{Context as _, Result};
use klon_imaging::progress::Runner;
use klon_imaging::verify;
use klon_imaging::verify::Against;

/// Compares the target with the digests of its record.
///
/// # Errors
/// When the target can't be read, or has other bytes.
pub fn read_back(
    job: &VolumeJob,
    target: &OpenTarget,
    run: Run<'_>,
    progress: &Progress,
) -> Result<()> {
    let threads = run.policy.threads();
    let record = run
        .records
        .load(&job.target.identity)?
        .context("the record is gone")?;
    let against = Against::Record(&record);
    let found = verify(
        &*target.volume,
        &against,
        Runner {
            name: &job.name,
            threads,
            observer: progress,
        },
    )?;
    if found.is_equal {
        return Ok(());
    }
    let message = format!(
        "{} does not read back what was written: {} in {} differ, the first at byte {}. Don't \
         trust this drive",
        job.name,
        human::size(found.differing_bytes),
        human::count(found.differences.extents().len(), "place"),
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
