//! The end of live clones: the sources went on, and all of their state at rest is on the targets or staged.

use super::volume::{Last, Rest, Volume};
use crate::clone::output::{Goal, Staging};
use crate::clone::phase::{During as _, Phase, Stopped};
use crate::clone::{CloneOptions, CloneSummary, Group, Job, StagedClone, conclude, staged};
use crate::error::Result;
use crate::live::RestFigures;
use crate::record::RecordStore;
use crate::target_writer::TargetWriter;
use klon_partition::ExtentMap;
use std::time::Instant;

/// Commits all, and replaces their records: what is staged by one write, then what was written in place.
///
/// # Errors
/// As [`clone`](super::clone).
pub(super) fn commit(
    volumes: Vec<Volume<'_>>,
    (records, options): (&RecordStore, &CloneOptions),
    figures: &RestFigures,
    started: Instant,
) -> Result<Vec<CloneSummary>, Stopped> {
    let parts: Result<Vec<_>> = volumes.into_iter().map(Volume::into_parts).collect();
    let (lasts, rests): (Vec<_>, Vec<_>) = parts.during(Phase::Checking)?.into_iter().unzip();
    let jobs: Vec<Job<'_>> = lasts.iter().map(Last::job).collect();
    let with = With {
        records,
        options,
        figures,
        started,
    };
    let count = rests.iter().filter(|rest| rest.staging.is_some()).count();
    let mut summaries: Vec<Option<CloneSummary>> = lasts.iter().map(|_| None).collect();
    let (mut updates, mut in_place, mut taken) = (Vec::new(), Vec::new(), ExtentMap::new());
    for (index, rest) in rests.into_iter().enumerate() {
        if rest.staging.is_none() {
            in_place.push((index, rest));
            continue;
        }
        let (job, last) = (&jobs[index], &lasts[index]);
        let group = job.drive.map(|drive| Group {
            volumes: count,
            at: drive.at,
            drive_taken: &taken,
        });
        match with.stage(job, last, rest, group).during(Phase::Copying)? {
            Ended::Staged(update) => {
                taken = taken.union(update.drive_taken());
                updates.push((index, *update));
            }
            Ended::Same(summary) => summaries[index] = Some(*summary),
        }
    }
    if !updates.is_empty() {
        let (indices, updates): (Vec<usize>, Vec<_>) = updates.into_iter().unzip();
        let done = staged::commit(updates, &[], records, options)?;
        for (index, summary) in indices.into_iter().zip(done) {
            summaries[index] = Some(summary);
        }
    }
    for (index, rest) in in_place {
        let summary = with.settle(&jobs[index], &lasts[index], rest)?;
        summaries[index] = Some(summary);
    }
    Ok(summaries.into_iter().flatten().collect())
}

/// How a volume ended that was to be staged.
enum Ended<'a> {
    Staged(Box<StagedClone<'a>>),
    /// Nothing differed.
    Same(Box<CloneSummary>),
}

#[derive(Clone, Copy)]
struct With<'a> {
    records: &'a RecordStore,
    options: &'a CloneOptions,
    figures: &'a RestFigures,
    started: Instant,
}

impl With<'_> {
    /// Completes an update that is staged: its index, and its record beside the old one.
    fn stage<'j>(
        self,
        job: &'j Job<'j>,
        last: &'j Last<'_>,
        mut rest: Rest<'_>,
        group: Option<Group<'_>>,
    ) -> Result<Ended<'j>> {
        let prepared = &last.prepared;
        let wanted = &prepared.wanted;
        let Some((stager, borrowed)) = rest.staging.take().map(|staging| staging.into_parts())
        else {
            let summary = self.conclude(job, last, rest, 0)?;
            return Ok(Ended::Same(Box::new(summary)));
        };
        let stager = stager.finish(prepared.mark.run, wanted)?;
        let goal = Goal::of(prepared, job, self.options);
        let staging = Staging::of_passes(goal, stager, borrowed);
        match staging.seal(&rest.held, group)? {
            Some(sealed) => {
                let notes = rest.notes(last, self.records, self.options, self.figures)?;
                let update = staged::pend_as(job, (prepared, notes), sealed, self.started)?;
                Ok(Ended::Staged(update))
            }
            None => {
                let summary = self.conclude(job, last, rest, 0)?;
                Ok(Ended::Same(Box::new(summary)))
            }
        }
    }

    /// Commits what was written in place.
    fn settle(
        self,
        job: &Job<'_>,
        last: &Last<'_>,
        rest: Rest<'_>,
    ) -> Result<CloneSummary, Stopped> {
        let prepared = &last.prepared;
        let (mark, first) = (prepared.mark.clone(), prepared.first);
        let writer = match rest.is_marked() {
            true => TargetWriter::resume(job.target, &prepared.wanted, mark, first),
            false => TargetWriter::begin(job.target, &prepared.wanted, mark, first),
        };
        let settled = writer.settle(&rest.held).during(Phase::Copying)?;
        let committed_bytes = settled.commit().during(Phase::Committing)?;
        let written_bytes = rest.written_bytes().saturating_add(committed_bytes);
        let summary = self.conclude(job, last, rest, written_bytes);
        let after = summary.map_err(conclude::after_commit);
        after.during(Phase::Recording)
    }

    /// Replaces the record of what is in its place.
    fn conclude(
        self,
        job: &Job<'_>,
        last: &Last<'_>,
        rest: Rest<'_>,
        written_bytes: u64,
    ) -> Result<CloneSummary> {
        let freed = conclude::run_freed(&last.prepared);
        let freed_bytes = conclude::treat_freed(&freed, job, self.options.freed)?;
        let token = conclude::target_token(job)?;
        let written = conclude::Written {
            in_place_bytes: written_bytes,
            staged_bytes: 0,
        };
        let notes = rest.notes(last, self.records, self.options, self.figures)?;
        let of = (job, &last.prepared);
        let (mut summary, record, kept) =
            conclude::record(of, notes, token, written, self.started)?;
        let digest = record.digest();
        record.replace()?;
        summary.kept(kept, digest);
        // A pending record of an earlier run that was never completed is of no use any more.
        self.records.remove_pending(job.target_identity)?;
        self.records.remove_log(job.target_identity)?;
        Ok(CloneSummary {
            freed_bytes,
            ..summary
        })
    }
}
