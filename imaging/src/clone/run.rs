//! A run under way: reading the source, and giving what differs to where writes go.

use super::output::Output;
use super::prepared::Prepared;
use super::task::{self, Task};
use super::{CloneOptions, Job, work};
use crate::commit::Held;
use crate::error::Result;
use crate::intent::IntentLog;
use crate::pipeline;
use crate::progress::{Event, Observer, unless_cancelled};
use crate::record::{MetadataWriter, RecordWriter};
use klon_partition::ExtentMap;
use klon_partition::extent::ExtentMapBuilder;

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) observer: &'a dyn Observer,
    /// Names what a run in place is about to touch, or what is staged.
    pub(super) log: IntentLog,
    /// What of the source is metadata whose digests go into the record.
    pub(super) metadata: ExtentMap,
    pub(super) notes: Notes,
}

/// What is noted of each chunk, in order.
pub(super) struct Notes {
    pub(super) digests: RecordWriter,
    pub(super) metadata: Option<MetadataWriter>,
    pub(super) changed: ExtentMapBuilder,
    pub(super) read_source_bytes: u64,
    pub(super) read_target_bytes: u64,
}

impl Run<'_> {
    /// Brings all but the first chunk to where writes go, and returns that one.
    pub(super) fn transfer(&mut self, output: &Output<'_>, options: &CloneOptions) -> Result<Held> {
        let observer = self.observer;
        let log = &self.log;
        let is_in_place = matches!(output, Output::InPlace(_));
        let begin = |task: Task| {
            let task = unless_cancelled(observer, task)?;
            if is_in_place {
                log.intend(task.chunk)?;
            }
            Ok(task)
        };
        let (first, others) = task::tasks(self.prepared, &self.metadata)?;
        let others = others.map(|task| begin(task?));
        let worker = work::Worker::new(self.job, options.rewrite);
        let outcome = worker.process(&begin(first)?)?;
        let held = Held {
            chunk: outcome.chunk,
            content: outcome.content.clone(),
            changed: outcome.changed.iter().copied().collect(),
        };
        let notes = &mut self.notes;
        notes.add(&outcome, observer)?;
        pipeline::run(
            options.threads,
            others,
            |task| output.put_data(worker.process(&task)?),
            |(outcome, zeroes)| {
                // In order, so that neighbors become one request.
                for write in &zeroes {
                    output.put_zero(write)?;
                }
                if is_in_place {
                    log.done(outcome.chunk, outcome.digest);
                }
                if log.is_due() {
                    checkpoint(output, log)?;
                }
                notes.add(&outcome, observer)
            },
        )?;
        Ok(held)
    }

    /// Makes durable what was done, and that it was done.
    pub(super) fn checkpoint(&self, output: &Output<'_>) -> Result<()> {
        checkpoint(output, &self.log)
    }
}

impl Notes {
    fn add(&mut self, outcome: &work::Outcome, observer: &dyn Observer) -> Result<()> {
        self.digests.push(outcome.digest)?;
        if let (Some(metadata), Some(digest)) = (&mut self.metadata, outcome.metadata) {
            metadata.push(digest)?;
        }
        self.read_source_bytes += outcome.read_source_bytes;
        self.read_target_bytes += outcome.read_target_bytes;
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
        Output::Staged(_) => staged.map_or(Ok(()), |part| log.staged(part)),
    }
}
