//! Completing an update that was staged and then interrupted.

use super::Run;
use crate::finish::{self, Asked};
use crate::human;
use crate::jobs::VolumeJob;
use crate::messages::say;
use crate::target::open::OpenTarget;
use anyhow::Result;
use klon_imaging::Error;

/// Completes an update that was staged and then interrupted, with the rest of its group. `others` are targets
/// that are open already and may be members of it. Returns whether the target may have changed.
///
/// # Errors
/// When the target can't be read or written. Refusals and damage are only told: the target is compared
/// then.
pub fn complete(
    job: &VolumeJob,
    target: &OpenTarget,
    others: &[OpenTarget],
    run: Run<'_>,
) -> Result<bool> {
    let asked = Asked {
        identity: &job.target.identity,
        records: run.records,
        is_alone: false,
        threads: run.policy.threads(),
        others,
        system: run.system,
    };
    let completed = match finish::complete(target, asked) {
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
            return Ok(true);
        }
    };
    if completed.is_empty() {
        return Ok(false);
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
    Ok(true)
}
