//! Clone a volume: first everything in use, later only what changed.

mod asked;
mod audit;
mod conclude;
mod context;
mod job;
mod known;
pub mod live;
mod outlook;
mod output;
mod pending;
mod phase;
mod prepared;
mod run;
mod staged;
mod structures;
mod task;
mod work;

use crate::change::outlook::Purpose;
use crate::change::proven::Signatures;
use crate::change::{MetadataFigures, Reliance, RungChoice};
use crate::chunk;
use crate::error::{Error, Result};
use crate::intent::IntentLog;
use crate::live::RestFigures;
use crate::plan::Plan;
use crate::progress::{Event, Observer, Silent};
use crate::record::{MetadataWriter, RecordStore, RecordWriter};
use crate::rung::Rung;
use crate::tally::Tally;
use crate::target_writer::HeldBack;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap};
use outlook::Outlook;
use output::{Output, Sealed};
use phase::During as _;
use prepared::Prepared;
use run::{Notes, Run};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::time::Instant;
use uuid::Uuid;

pub use crate::source::{FillTexts, Filled, Lost, Watch};
pub(crate) use conclude::{manifest, target_token};
pub use context::Context;
pub use job::{Drive, Ends, Job};
pub use pending::recorded;
pub use phase::{Phase, Stopped};
pub use staged::{StagedClone, commit};

/// How to clone.
#[derive(Clone, Copy, Debug)]
pub struct CloneOptions {
    /// How changes are to be found.
    pub rung: RungChoice,
    /// What is written of a chunk whose digest changed.
    pub rewrite: Rewrite,
    /// What happens to space that was in use at the last run and no longer is.
    pub freed: Freed,
    /// How an earlier clone is updated.
    pub update: Update,
    /// How many threads read and digest.
    pub threads: NonZeroUsize,
    /// How far the metadata of files is relied on.
    pub reliance: Reliance,
}

impl CloneOptions {
    /// Whether files may show that they need not be read.
    pub(crate) const fn asks_files(&self) -> bool {
        matches!(
            self.rung,
            RungChoice::Auto | RungChoice::Only(Rung::Metadata)
        )
    }
}

/// How an earlier clone is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// What changed is written to free room first, so that an interruption leaves the earlier
    /// clone or one that the drive alone can complete.
    #[default]
    Staged,
    /// Blocks are overwritten as they are found: an interruption leaves a clone that the next run
    /// must complete.
    InPlace,
}

/// What is written of a chunk whose digest changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewrite {
    /// The target's chunk is read, and only 4 KiB blocks that differ are written.
    #[default]
    Blocks,
    /// The whole chunk, without reading the target.
    Chunks,
}

/// What happens to space of the target that was in use at the last run and no longer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freed {
    /// It keeps what it has.
    #[default]
    Leave,
    /// It is made zero.
    Zero,
    /// The drive is told that it is not needed.
    Discard,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloneSummary {
    /// The name of the clone.
    pub name: String,
    /// The run, as its record names it.
    pub run: Uuid,
    /// How changes were found.
    pub rung: Rung,
    /// Why that way.
    pub reason: String,
    /// Size of the source.
    pub source_bytes: u64,
    /// How much was read and written.
    #[serde(flatten)]
    pub tally: Tally,
    /// Bytes that no one proved free, and that were copied beside those in use.
    pub unproven_bytes: u64,
    /// What no one proved free either, and was left out by choice.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub left_out: ExtentMap,
    /// Whether the journal of the source was replayed, so that the clone is of a state in which the source
    /// itself is not.
    #[serde(rename = "replayed", skip_serializing_if = "std::ops::Not::not")]
    pub is_replayed: bool,
    /// The size of the source's filesystem, where it was shrunk for the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk_from_bytes: Option<u64>,
    /// Metadata that was read from the target, to check that the target is as its record says. It is a part
    /// of what was read from the target.
    pub checked_bytes: u64,
    /// Bytes of freed space made zero or discarded.
    pub freed_bytes: u64,
    /// Where the target has no bytes of the original, because the source lost them ([`Job::lost`]).
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub bad: ExtentMap,
    /// What stands there beside zeroes.
    #[serde(flatten)]
    pub bad_fill: FillTexts,
    /// What the metadata of the source's files showed.
    #[serde(flatten)]
    pub metadata: MetadataFigures,
    /// How the source was at rest.
    #[serde(flatten)]
    pub rest: RestFigures,
    /// How long it took.
    pub seconds: f64,
}

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The split of the target.
    pub plan: Plan,
    /// How changes would be found.
    pub rung: Rung,
    /// Why that way.
    pub reason: String,
    /// What the metadata of the source's files shows; `skipped_bytes` is what would not be read.
    #[serde(flatten)]
    pub metadata: MetadataFigures,
}

/// Says what [`clone`] would do, reading metadata only.
///
/// # Errors
/// As [`clone`].
pub fn preview(job: &Job<'_>, records: &RecordStore, options: &CloneOptions) -> Result<Preview> {
    let with = Context {
        records,
        options,
        observer: &Silent,
    };
    let (prepared, outlook) = Prepared::new(job, with, Purpose::Preview)?;
    let skipped_bytes = prepared.unread_bytes();
    Ok(Preview {
        plan: prepared.plan,
        rung: prepared.selection.rung(),
        reason: prepared.selection.reason,
        metadata: MetadataFigures {
            skipped_bytes,
            ..outlook.figures
        },
    })
}

/// Clones one volume and replaces its record.
///
/// # Errors
/// [`Stopped`] says in which [`Phase`] it stopped, and with which error: [`Error::Source`],
/// [`Error::Target`], [`Error::SourceChanged`], [`Error::Interrupted`]: when anything was written,
/// the target bears the unfinished mark, and the next run completes it. [`Error::NoRoom`] when the
/// update can't be staged: the earlier clone is as it was. [`Error::AfterCommit`] when the clone is
/// complete but its record could not be kept.
pub fn clone(
    job: &Job<'_>,
    records: &RecordStore,
    options: &CloneOptions,
    observer: &dyn Observer,
) -> Result<CloneSummary, Stopped> {
    let with = Context {
        records,
        options,
        observer,
    };
    match begin(job, with, None)? {
        Begun::Complete(summary) => Ok(*summary),
        Begun::Staged(staged) => {
            observer.event(&Event::Committing);
            let summary = staged::commit_one(*staged, records, options)?;
            observer.event(&Event::Finished);
            Ok(summary)
        }
    }
}

/// The volumes of one drive that an update is staged with, to be committed by one write.
#[derive(Clone, Copy)]
pub struct Group<'a> {
    /// How many volumes the group has; one alone needs none.
    pub volumes: usize,
    /// Where the volume lies on the drive.
    pub at: Extent,
    /// Room of the drive that updates of others lie in.
    pub drive_taken: &'a ExtentMap,
}

/// How far [`begin`] has come with a clone.
pub enum Begun<'a> {
    /// It is complete: written in place, or nothing differed.
    Complete(Box<CloneSummary>),
    /// It is staged: the target is what it was until [`commit`].
    Staged(Box<StagedClone<'a>>),
}

/// Clones one volume, or stages its update, by itself or as one of a `group` of volumes.
///
/// # Errors
/// As [`clone`].
pub fn begin<'a>(
    job: &'a Job<'a>,
    with: Context<'_>,
    group: Option<Group<'_>>,
) -> Result<Begun<'a>, Stopped> {
    let started = Instant::now();
    let Context {
        records,
        options,
        observer,
    } = with;
    let Planned {
        prepared,
        outlook,
        metadata,
        log,
    } = plan(job, with).during(Phase::Planning)?;
    observer.event(&Event::Started {
        name: job.name,
        rung: Some(prepared.selection.rung()),
        reason: &prepared.selection.reason,
        total_bytes: prepared.wanted.total_bytes(),
    });
    let digests = digests(job, records, &prepared, metadata.as_ref()).during(Phase::Planning)?;
    let mut run = Run {
        job,
        prepared: &prepared,
        observer,
        log,
        metadata: metadata.unwrap_or_default(),
        notes: Notes {
            started,
            digests: digests.chunks,
            metadata: digests.metadata,
            changed: ExtentMapBuilder::new(),
            read_source_bytes: outlook.figures.audited_bytes,
            read_target_bytes: prepared.checked_bytes,
            signatures: Signatures::new(),
            is_all_seen: true,
            outlook,
            rest: RestFigures::of(job.consistency()),
        },
    };
    let written_bytes = match write(&mut run, options, group)? {
        Written::Staged(sealed) => {
            let staged = staged::pend(job, run, *sealed);
            return staged.map(Begun::Staged).during(Phase::Copying);
        }
        Written::InPlace(bytes) => bytes,
    };
    let summary = conclude::conclude(run, with, written_bytes)
        .map_err(conclude::after_commit)
        .during(Phase::Recording)?;
    observer.event(&Event::Finished);
    Ok(Begun::Complete(Box::new(summary)))
}

/// What a run wrote.
enum Written {
    /// An update waits for its commit.
    Staged(Box<Sealed>),
    /// The target is the new clone, and so many bytes of it were written in place.
    InPlace(u64),
}

/// Copies what differs, and commits it unless it is staged.
fn write(
    run: &mut Run<'_>,
    options: &CloneOptions,
    group: Option<Group<'_>>,
) -> Result<Written, Stopped> {
    let job = run.job;
    let output = Output::begin(run.prepared, job, options, group).during(Phase::Planning)?;
    let held = copy(run, &output, options).during(Phase::Copying)?;
    match output {
        Output::Staged(staging) => {
            if let Some(sealed) = staging.seal(&held, group).during(Phase::Copying)? {
                return Ok(Written::Staged(Box::new(sealed)));
            }
            job.check_source().during(Phase::Checking)?;
            Ok(Written::InPlace(0))
        }
        Output::InPlace(writer) => {
            run.observer.event(&Event::Committing);
            let settled = writer.settle(&held).during(Phase::Copying)?;
            job.check_source().during(Phase::Checking)?;
            let written_bytes = settled.commit().during(Phase::Committing)?;
            Ok(Written::InPlace(written_bytes))
        }
    }
}

/// What is settled before a run.
struct Planned {
    prepared: Prepared,
    outlook: Outlook,
    /// Where the source has metadata whose digests go into the record.
    metadata: Option<ExtentMap>,
    log: IntentLog,
}

fn plan(job: &Job<'_>, with: Context<'_>) -> Result<Planned> {
    pending::settle(job, with.records, with.options.threads)?;
    let (mut prepared, mut outlook) = Prepared::new(job, with, Purpose::Run)?;
    audit::audit(job, &mut prepared, &mut outlook, with)?;
    // Nobody asks for them later, and they may be many.
    let contents = outlook.contents.take();
    let known = contents.as_ref();
    let metadata = structures::metadata(job, &prepared.plan, known, &with.options.reliance)?;
    let (prepared, log) = prepared.begin_log(job, with.records)?;
    Ok(Planned {
        prepared,
        outlook,
        metadata,
        log,
    })
}

/// What takes the digests of a run.
struct Digests {
    chunks: RecordWriter,
    metadata: Option<MetadataWriter>,
}

/// Begins the record of a run.
fn digests(
    job: &Job<'_>,
    records: &RecordStore,
    prepared: &Prepared,
    metadata: Option<&ExtentMap>,
) -> Result<Digests> {
    let chunks_count = chunk::chunks(&prepared.wanted, prepared.plan.source_bytes).count();
    let chunks_count = chunks_count as u64;
    let chunks = records.begin_digested(job.target_identity, chunks_count, prepared.digested)?;
    let metadata = metadata.map(|map| chunks.begin_metadata(map.clone()));
    Ok(Digests {
        metadata: metadata.transpose()?,
        chunks,
    })
}

/// Brings all but the first chunk to where writes go, and returns that one. What was done is kept
/// when that fails.
fn copy(run: &mut Run<'_>, output: &Output<'_>, options: &CloneOptions) -> Result<HeldBack> {
    let held = run.transfer(output, options);
    // A target that failed may have lost anything that was written, so none of it is noted as done.
    if let Err(error) = &held
        && !matches!(error, Error::Target(_))
    {
        // The first error is what matters; another one after it adds nothing.
        let _ = run.checkpoint(output);
    }
    held
}

/// Where in a chunk a map's extents lie.
fn within(map: &ExtentMap, chunk: Extent) -> Vec<Extent> {
    map.within(chunk).collect()
}

#[cfg(test)]
mod tests;
