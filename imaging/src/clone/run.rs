//! A run under way: reading the source, and giving what differs to where writes go.

use super::outlook::Outlook;
use super::output::Output;
use super::prepared::Prepared;
use super::task::{self, Task};
use super::work::Seen;
use super::{CloneOptions, Job, work};
use crate::change::proven::Signatures;
use crate::change::sums;
use crate::error::Result;
use crate::intent::IntentLog;
use crate::live::RestFigures;
use crate::pipeline::{self, Batches};
use crate::progress::{Event, Observer, unless_cancelled};
use crate::record::{MetadataWriter, RecordWriter};
use crate::target_writer::HeldBack;
use klon_partition::ExtentMap;
use klon_partition::extent::ExtentMapBuilder;
use std::time::Instant;

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) observer: &'a dyn Observer,
    /// Names what a run in place is about to touch, or what is staged.
    pub(super) log: IntentLog,
    /// The source's metadata whose digests go into the record.
    pub(super) metadata: ExtentMap,
    pub(super) notes: Notes,
}

/// What is noted of each chunk, in order.
pub(super) struct Notes {
    /// When the run began.
    pub(super) started: Instant,
    pub(super) digests: RecordWriter,
    pub(super) metadata: Option<MetadataWriter>,
    pub(super) changed: ExtentMapBuilder,
    pub(super) read_source_bytes: u64,
    pub(super) read_target_bytes: u64,
    /// Signatures of data that is written past the filesystem.
    pub(super) signatures: Signatures,
    /// Whether all content was read, by this run or by those whose evidence was believed.
    pub(super) is_all_seen: bool,
    pub(super) outlook: Outlook,
    /// How the source was at rest.
    pub(super) rest: RestFigures,
}

impl Run<'_> {
    /// Brings all but the first chunk to where writes go, and returns that one.
    pub(super) fn transfer(
        &mut self,
        output: &Output<'_>,
        options: &CloneOptions,
    ) -> Result<HeldBack> {
        let observer = self.observer;
        let log = &self.log;
        let is_in_place = matches!(output, Output::InPlace(_));
        let begin = |task: Task| {
            let task = unless_cancelled(observer, task)?;
            if is_in_place && task.proven().is_none() {
                log.intend(task.chunk)?;
            }
            Ok(task)
        };
        let (first, others) = task::tasks(self.prepared, &self.metadata)?;
        let others = others.map(|task| begin(task?));
        let is_searched = self.notes.outlook.draft.is_some();
        let filesystem = sums::filesystem(self.job.source, self.job.usage)?;
        let outlook = &mut self.notes.outlook;
        let check = sums::begin(filesystem, self.job.source, &mut outlook.figures);
        let check = check.unwrap_or_else(|sums::Unchecked| {
            outlook.draft = None;
            None
        });
        let digested = self.prepared.digested;
        let manner = work::Manner {
            digested,
            rewrite: options.rewrite,
            is_searched,
        };
        let worker = work::Worker::new(self.job, manner, check.as_ref());
        let before = self.prepared.selection.approach.proof();
        let before = before.map(|proof| &proof.signatures);
        let outcome = worker.process(&begin(first)?)?;
        let held = HeldBack {
            chunk: outcome.chunk,
            content: outcome.content.clone(),
            changed: outcome.changed.iter().copied().collect(),
        };
        let notes = &mut self.notes;
        notes.add(&outcome, before, observer)?;
        pipeline::run_in_batches(
            options.threads,
            Batches::of(others, |task: &Task| task.proven().is_some()),
            |task| output.put_data(worker.process(&task)?),
            |(outcome, zeroes)| {
                // In order, so that neighbors become one request.
                for write in &zeroes {
                    output.put_zero(write)?;
                }
                if is_in_place && !matches!(outcome.seen, Seen::Proven(_)) {
                    log.done(outcome.chunk, outcome.digest);
                }
                if log.is_due() {
                    checkpoint(output, log)?;
                }
                notes.add(&outcome, before, observer)
            },
        )?;
        if let Some(check) = check {
            let outlook = &mut self.notes.outlook;
            let lost = self.job.filled().extents;
            let (found, figures) = (check.finish(), &mut outlook.figures);
            outlook.damaged = sums::end(self.job.source, found, &lost, figures);
        }
        Ok(held)
    }

    /// Makes durable what was done, and that it was done.
    pub(super) fn checkpoint(&self, output: &Output<'_>) -> Result<()> {
        checkpoint(output, &self.log)
    }
}

impl Notes {
    /// Notes what was found out about a chunk. `before` has the signatures that earlier runs found.
    fn add(
        &mut self,
        outcome: &work::Outcome,
        before: Option<&ExtentMap>,
        observer: &dyn Observer,
    ) -> Result<()> {
        let pieces = outcome.pieces.as_deref();
        self.digests.push_in_pieces(outcome.digest, pieces)?;
        if let (Some(metadata), Some(digest)) = (&mut self.metadata, outcome.metadata) {
            metadata.push(digest)?;
        }
        self.read_source_bytes += outcome.read_source_bytes;
        self.read_target_bytes += outcome.read_target_bytes;
        match &outcome.seen {
            Seen::Read(signatures) => self.signatures.add(signatures.iter().copied()),
            Seen::InPart {
                signatures,
                untouched,
                ..
            } => {
                let before = before.map(|map| map.intersection(untouched));
                let before = before.unwrap_or_default();
                let found: ExtentMap = signatures.iter().copied().collect();
                self.signatures.add(found.union(&before).iter());
            }
            Seen::Kept => self.is_all_seen = false,
            Seen::Proven(_) | Seen::Same(_) => {
                let before = before.into_iter().flat_map(|map| map.within(outcome.chunk));
                self.signatures.add(before);
            }
        }
        self.outlook.figures.skipped_bytes += outcome.seen.unread_bytes();
        for &extent in &outcome.changed {
            self.changed.push(extent);
        }
        observer.event(&Event::Advanced {
            bytes: outcome.wanted_bytes,
        });
        Ok(())
    }
}

/// Makes durable what was done, and that it was done.
fn checkpoint(output: &Output<'_>, log: &IntentLog) -> Result<()> {
    let staged = output.checkpoint()?;
    match output {
        Output::InPlace(_) => log.checkpoint(),
        Output::Staged(_) => log.staged(staged),
    }
}
