//! A run under way: reading the source, and giving what differs to where writes go.

use super::output::Output;
use super::prepared::Prepared;
use super::{CloneOptions, Job, task, work};
use crate::commit::Held;
use crate::error::{Error, Result};
use crate::intent::IntentLog;
use crate::pipeline;
use crate::progress::{Event, Observer};
use crate::record::{MetadataWriter, RecordWriter};
use klon_partition::extent::ExtentMapBuilder;

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) observer: &'a dyn Observer,
    pub(super) digests: RecordWriter,
    pub(super) metadata: Option<MetadataWriter>,
    pub(super) changed: ExtentMapBuilder,
    pub(super) read_source_bytes: u64,
    pub(super) read_target_bytes: u64,
    /// Of a run that writes in place.
    pub(super) log: Option<IntentLog>,
}

impl Run<'_> {
    pub(super) fn transfer(
        &mut self,
        output: &mut Output<'_>,
        options: &CloneOptions,
    ) -> Result<()> {
        let log = self.log.take();
        let result = self.transfer_logged(output, options, log.as_ref());
        self.log = log;
        result
    }

    fn transfer_logged(
        &mut self,
        output: &mut Output<'_>,
        options: &CloneOptions,
        log: Option<&IntentLog>,
    ) -> Result<()> {
        let prepared = self.prepared;
        let observer = self.observer;
        let is_in_place = matches!(output, Output::InPlace(_));
        let mut tasks = task::tasks(prepared)?.map(|task| {
            if observer.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if let (Some(log), Ok(task)) = (log.filter(|_| is_in_place), &task) {
                log.intend(task.chunk)?;
            }
            task
        });
        let worker = work::Worker::new(self.job, options.rewrite);
        // The first chunk is held back before any other is written.
        if let Some(first) = tasks.next() {
            let outcome = worker.process(&first?)?;
            output.hold(Held {
                chunk: outcome.chunk,
                content: outcome.content.clone(),
                changed: outcome.changed.iter().copied().collect(),
            });
            self.note(&outcome)?;
        }
        let output = &*output;
        pipeline::run(
            options.threads,
            tasks,
            |task| output.put_data(worker.process(&task)?),
            |(outcome, zeroes)| {
                // In order, so that neighbors become one request.
                for write in &zeroes {
                    output.put_zero(write)?;
                }
                if let Some(log) = log {
                    if is_in_place {
                        log.done(outcome.chunk, outcome.digest);
                    }
                    if log.is_due() {
                        checkpoint(output, log)?;
                    }
                }
                self.note(&outcome)
            },
        )
    }

    /// Makes durable what was done, and that it was done.
    pub(super) fn checkpoint(&self, output: &Output<'_>) -> Result<()> {
        match &self.log {
            Some(log) => checkpoint(output, log),
            None => Ok(()),
        }
    }

    fn note(&mut self, outcome: &work::Outcome) -> Result<()> {
        self.digests.push(outcome.digest)?;
        if let (Some(metadata), Some(digest)) = (&mut self.metadata, outcome.metadata) {
            metadata.push(digest)?;
        }
        self.read_source_bytes += outcome.read_source_bytes;
        self.read_target_bytes += outcome.read_target_bytes;
        for &extent in &outcome.changed {
            self.changed.push(extent);
        }
        self.observer.event(&Event::Advanced {
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
