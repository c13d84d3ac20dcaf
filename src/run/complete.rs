//! Completing an update that was staged and then interrupted.

use crate::finish::{self, Asked};
use crate::human;
use crate::jobs::VolumeJob;
use crate::messages::say;
use crate::target::open::OpenTarget;
use anyhow::Result;
use klon_imaging::{Error, RecordStore};
use klon_partition::system::System;
use std::num::NonZeroUsize;

/// Completes an update that was staged and then interrupted, with the rest of its group. The other targets
/// that are open may be members of it.
///
/// # Errors
/// When the target can't be read or written. Refusals and damage are only told: the target is compared
/// then.
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
