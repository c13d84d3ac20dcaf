//! The end of live clones. The sources run again; their state at rest is on the targets, or staged.

use super::volume::{Ended, Ending, Last, Leftover, Volume};
use crate::clone::context::Context;
use crate::clone::output::{Goal, Staging};
use crate::clone::phase::{During as _, Phase, Stopped};
use crate::clone::{CloneSummary, Group, Job, StagedClone, conclude, staged};
use crate::error::Result;
use crate::live::RestFigures;
use crate::target_writer::TargetWriter;
use klon_partition::ExtentMap;
use std::time::Instant;

/// Commits all, and replaces their records: what is staged by one write, then what was written in place.
///
/// # Errors
/// As [`clone`](super::clone).
pub(super) fn commit(
    volumes: Vec<(Volume<'_>, Ended)>,
    with: Context<'_>,
    figures: &RestFigures,
    started: Instant,
) -> Result<Vec<CloneSummary>, Stopped> {
    let parts = volumes.into_iter();
    let parts = parts.map(|(volume, ended)| volume.into_parts(ended));
    let parts: Result<Vec<_>> = parts.collect();
    let parts = parts.during(Phase::Copying)?;
    let (lasts, leftovers): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let jobs: Vec<Job<'_>> = lasts.iter().map(Last::job).collect();
    let ending = Ending {
        with,
        figures,
        started,
    };
    let is_staged = |leftover: &&Leftover<'_>| leftover.staging.is_some();
    let count = leftovers.iter().filter(is_staged).count();
    let mut summaries: Vec<Option<CloneSummary>> = lasts.iter().map(|_| None).collect();
    let (mut updates, mut in_place, mut taken) = (Vec::new(), Vec::new(), ExtentMap::new());
    for (index, leftover) in leftovers.into_iter().enumerate() {
        if leftover.staging.is_none() {
            in_place.push((index, leftover));
            continue;
        }
        let (job, last) = (&jobs[index], &lasts[index]);
        let group = job.drive.map(|drive| Group {
            volumes: count,
            at: drive.at,
            drive_taken: &taken,
        });
        let outcome = ending.stage(job, last, leftover, group);
        match outcome.during(Phase::Copying)? {
            Outcome::Staged(update) => {
                taken = taken.union(update.drive_taken());
                updates.push((index, *update));
            }
            Outcome::Same(summary) => summaries[index] = Some(*summary),
        }
    }
    if !updates.is_empty() {
        let (indices, updates): (Vec<usize>, Vec<_>) = updates.into_iter().unzip();
        let done = staged::commit(updates, &[], with.records, with.options)?;
        for (index, summary) in indices.into_iter().zip(done) {
            summaries[index] = Some(summary);
        }
    }
    for (index, leftover) in in_place {
        let summary = ending.settle(&jobs[index], &lasts[index], leftover)?;
        summaries[index] = Some(summary);
    }
    Ok(summaries.into_iter().flatten().collect())
}

/// How a volume ended that was to be staged.
enum Outcome<'a> {
    Staged(Box<StagedClone<'a>>),
    /// Nothing differed.
    Same(Box<CloneSummary>),
}

impl Ending<'_> {
    /// Completes an update that is staged: its index, and its record beside the old one.
    fn stage<'j>(
        self,
        job: &'j Job<'j>,
        last: &'j Last<'_>,
        mut leftover: Leftover<'_>,
        group: Option<Group<'_>>,
    ) -> Result<Outcome<'j>> {
        let prepared = &last.prepared;
        let wanted = &prepared.wanted;
        let Some((stager, borrowed)) = leftover.staging.take().map(|staging| staging.into_parts())
        else {
            let summary = self.conclude(job, last, leftover, 0)?;
            return Ok(Outcome::Same(Box::new(summary)));
        };
        let stager = stager.finish(prepared.mark.run, wanted)?;
        let goal = Goal::of(prepared, job, self.with.options);
        let staging = Staging::of_passes(goal, stager, borrowed);
        match staging.seal(leftover.held(), group)? {
            Some(sealed) => {
                let notes = leftover.notes(last, self)?;
                let update = staged::pend_as(job, prepared, notes, sealed)?;
                Ok(Outcome::Staged(update))
            }
            None => {
                let summary = self.conclude(job, last, leftover, 0)?;
                Ok(Outcome::Same(Box::new(summary)))
            }
        }
    }

    /// Commits what was written in place.
    fn settle(
        self,
        job: &Job<'_>,
        last: &Last<'_>,
        leftover: Leftover<'_>,
    ) -> Result<CloneSummary, Stopped> {
        let prepared = &last.prepared;
        let (mark, first) = (prepared.mark.clone(), prepared.first);
        let writer = match leftover.is_marked() {
            true => TargetWriter::resume(job.target, &prepared.wanted, mark, first),
            false => TargetWriter::begin(job.target, &prepared.wanted, mark, first),
        };
        let settled = writer.settle(leftover.held()).during(Phase::Copying)?;
        let committed_bytes = settled.commit().during(Phase::Committing)?;
        let written_bytes = leftover.written_bytes().saturating_add(committed_bytes);
        let summary = self.conclude(job, last, leftover, written_bytes);
        let after = summary.map_err(conclude::after_commit);
        after.during(Phase::Recording)
    }

    /// Replaces the record of what is in its place.
    fn conclude(
        self,
        job: &Job<'_>,
        last: &Last<'_>,
        leftover: Leftover<'_>,
        written_bytes: u64,
    ) -> Result<CloneSummary> {
        let freed = conclude::run_freed(&last.prepared);
        let freed_bytes = conclude::treat_freed(&freed, job, self.with.options.freed)?;
        let written = conclude::Written {
            in_place_bytes: written_bytes,
            staged_bytes: 0,
            token: conclude::target_token(job)?,
        };
        let notes = leftover.notes(last, self)?;
        let (mut summary, record, kept) = conclude::record(job, &last.prepared, notes, written)?;
        let digest = record.digest();
        record.replace()?;
        summary.kept(kept, digest);
        // A pending record of an earlier run that was never completed is of no use any more.
        self.with.records.remove_pending(job.target_identity)?;
        self.with.records.remove_log(job.target_identity)?;
        Ok(CloneSummary {
            freed_bytes,
            ..summary
        })
    }
}
