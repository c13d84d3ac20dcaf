//! Updates that are staged: waiting for the commit, alone or with the rest of their group, and after
//! it.

use super::outlook::Kept;
use super::output::{Lent, Sealed};
use super::phase::{During as _, Phase, Stopped};
use super::prepared::{Prepared, space};
use super::run::{Notes, Run};
use super::{CloneOptions, CloneSummary, Job, conclude};
use crate::error::Result;
use crate::record::RecordStore;
use crate::stage::group::{self, Ready};
use klon_partition::ExtentMap;
use std::time::Instant;

/// An update that is completely staged. The record of the new state is durable beside the old one.
pub struct StagedClone<'a> {
    job: &'a Job<'a>,
    ready: Ready<'a>,
    lent: Lent,
    freed: ExtentMap,
    summary: CloneSummary,
    /// The evidence for the next run, and the record that it belongs to.
    kept: Option<Kept>,
    record: [u8; 32],
    /// Whether the source goes on: it was at rest while it was read.
    is_live: bool,
    started: Instant,
}

impl StagedClone<'_> {
    /// Room of the drive that it lies in.
    #[must_use]
    pub const fn drive_taken(&self) -> &ExtentMap {
        &self.lent.drive
    }

    /// Checks that the source is as it was, unless it was brought to rest to be read.
    fn check_source(&self) -> Result<()> {
        match self.is_live {
            true => Ok(()),
            false => self.job.check_source(),
        }
    }

    /// What comes once the update is in its place.
    fn complete(
        mut self,
        records: &RecordStore,
        options: &CloneOptions,
        written_bytes: u64,
    ) -> Result<CloneSummary> {
        self.lent.give_back(space(self.job));
        let target = self.job.target_identity;
        let keep = || -> Result<u64> {
            let freed_bytes = conclude::treat_freed(&self.freed, self.job, options.freed)?;
            records.adopt_pending(target)?;
            records.remove_log(target)?;
            Ok(freed_bytes)
        };
        self.summary.freed_bytes = keep().map_err(conclude::after_commit)?;
        self.summary.kept(self.kept.take(), self.record);
        self.summary.tally.written_bytes = written_bytes;
        self.summary.seconds = self.started.elapsed().as_secs_f64();
        Ok(self.summary)
    }
}

/// Ends the first half of a run: its record is made durable, and its log says what is staged.
pub(super) fn pend<'a>(
    job: &'a Job<'a>,
    run: Run<'_>,
    sealed: Sealed,
) -> Result<Box<StagedClone<'a>>> {
    // Whoever commits later, or never does, need not stage it again.
    run.log.staged(Some(sealed.part))?;
    pend_as(job, run.prepared, run.notes, sealed)
}

/// The same without a log.
pub(super) fn pend_as<'a>(
    job: &'a Job<'a>,
    prepared: &Prepared,
    notes: Notes,
    sealed: Sealed,
) -> Result<Box<StagedClone<'a>>> {
    let space = space(job);
    let used_bytes = job.usage.extents.total_bytes();
    let ready = Ready {
        space,
        checked: sealed.checked,
        seat: sealed.seat,
        used_bytes,
    };
    let freed = conclude::run_freed(prepared);
    let started = notes.started;
    let is_live = notes.rest.consistency.is_short();
    let written = conclude::Written {
        in_place_bytes: ready.checked.in_place_bytes(space),
        staged_bytes: sealed.staged_bytes,
        // What is in use will be the source's, byte by byte, its change token included.
        token: job.usage.token,
    };
    let (summary, record, kept) = conclude::record(job, prepared, notes, written)?;
    let digest = record.digest();
    record.keep_pending()?;
    Ok(Box::new(StagedClone {
        job,
        ready,
        lent: sealed.lent,
        freed,
        summary,
        kept,
        record: digest,
        is_live,
        started,
    }))
}

/// Commits an update that is staged by itself.
///
/// # Errors
/// As [`commit`].
pub(super) fn commit_one(
    mut update: StagedClone<'_>,
    records: &RecordStore,
    options: &CloneOptions,
) -> Result<CloneSummary, Stopped> {
    update.check_source().during(Phase::Checking)?;
    let written_bytes = commit_and_apply(&mut [&mut update.ready], options)?;
    let written_bytes = written_bytes.into_iter().sum();
    update
        .complete(records, options, written_bytes)
        .during(Phase::Recording)
}

/// Commits updates that are staged, all of them by one write, and brings them into place; then
/// replaces their records. `unchanged` are volumes of the same group of which nothing differed:
/// their sources, too, must be what they were.
///
/// # Errors
/// [`Stopped`], with [`crate::Error::SourceChanged`]: all targets are what they were;
/// [`crate::Error::Target`]: what is committed then is completed by the next run, or by `finish`;
/// [`crate::Error::AfterCommit`]: a clone is complete but its record could not be kept.
pub fn commit(
    updates: Vec<StagedClone<'_>>,
    unchanged: &[&Job<'_>],
    records: &RecordStore,
    options: &CloneOptions,
) -> Result<Vec<CloneSummary>, Stopped> {
    for update in &updates {
        update.check_source().during(Phase::Checking)?;
    }
    for job in unchanged {
        job.check_source().during(Phase::Checking)?;
    }
    let mut updates: Vec<(usize, StagedClone<'_>)> = updates.into_iter().enumerate().collect();
    let leader = group::leader(updates.iter().map(|(_, update)| &update.ready));
    if let Some(from_leader) = updates.get_mut(leader..) {
        // It comes last.
        let by = usize::from(!from_leader.is_empty());
        from_leader.rotate_left(by);
    }
    let ready = updates.iter_mut().map(|(_, update)| &mut update.ready);
    let mut ready: Vec<&mut Ready<'_>> = ready.collect();
    let written_bytes = commit_and_apply(&mut ready, options)?;
    let mut done = Vec::new();
    for ((index, update), bytes) in updates.into_iter().zip(written_bytes) {
        let summary = update.complete(records, options, bytes);
        done.push((index, summary.during(Phase::Recording)?));
    }
    done.sort_by_key(|&(index, _)| index);
    Ok(done.into_iter().map(|(_, summary)| summary).collect())
}

/// Returns the bytes written to each volume.
fn commit_and_apply(
    ready: &mut [&mut Ready<'_>],
    options: &CloneOptions,
) -> Result<Vec<u64>, Stopped> {
    let mut written_bytes = group::commit(ready).during(Phase::Committing)?;
    let applied = group::apply(ready, options.threads).during(Phase::Applying)?;
    for (sum, bytes) in written_bytes.iter_mut().zip(applied) {
        *sum += bytes;
    }
    Ok(written_bytes)
}
