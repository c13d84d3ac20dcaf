//! Taking an image: whatever of a source is not in the file yet is added, as a new snapshot.

mod forward;
mod work;

pub use forward::{Forward, ForwardGeometry};

use super::append::Append;
use super::catalog::CatalogEntry;
use super::manifest::{PartitionId, SnapshotManifest, SnapshotMeta, SnapshotRun, VolumeKind};
use super::reference::Reference;
use super::snapshot::Snapshot;
use super::writer::{ImageWriter, TreeBuilder};
use crate::change::RungChoice;
use crate::chunk::InStep;
use crate::clock::{milliseconds, unix_seconds_now};
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::pipeline::{self, Flow};
use crate::plan::Plan;
use crate::progress::{Event, Observer};
use crate::record::manifest::FilesystemId;
use crate::rung::Rung;
use crate::source::{self, Watch};
use klon_partition::filesystem::Usage;
use klon_partition::{ExtentMap, Identity, ReadAt};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::time::Instant;
use uuid::Uuid;
use work::{Content, Outcome, Task, Worker};

/// A volume or disk to be imaged.
pub struct CaptureJob<'a> {
    /// What it is called, for people.
    pub name: &'a str,
    /// What is imaged.
    pub source: &'a dyn ReadAt,
    /// What of it is in use.
    pub usage: &'a Usage,
    /// How it is recognized.
    pub source_identity: &'a Identity,
    /// Whether it is a disk with partitions.
    pub kind: VolumeKind,
    /// Of a disk: the GUID of its GPT.
    pub disk_guid: Option<Uuid>,
    /// Of a disk: its partitions.
    pub partitions: Vec<PartitionId>,
    /// Parts that are zero because they could not be read from the original.
    pub bad: ExtentMap,
    /// The snapshot of the same image against which changes are found.
    pub previous: Option<&'a Snapshot>,
    /// Asked before the commit whether the source was written to, beside its change token.
    pub watch: Option<&'a Watch<'a>>,
    /// The name that the user gave to what is imaged.
    pub given_name: Option<String>,
    /// When a clone is imaged: where it ends, by its record.
    pub clone_bytes: Option<u64>,
    /// What the user says of the snapshot.
    pub note: Option<String>,
}

/// How to image.
#[derive(Clone, Copy, Debug)]
pub struct CaptureOptions {
    /// How changes are to be found.
    pub rung: RungChoice,
    /// Level of zstd.
    pub level: i32,
    /// How many threads read, digest and compress.
    pub threads: NonZeroUsize,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaptureSummary {
    /// What was imaged, for people.
    pub name: String,
    /// The number of the new snapshot.
    pub snapshot: u64,
    /// How changes were found.
    pub rung: Rung,
    /// Why that way.
    pub reason: String,
    /// Size of the source.
    pub source_bytes: u64,
    /// Bytes of it in use.
    pub used_bytes: u64,
    /// Bytes that no one proved free, and that were read beside those in use.
    pub unproven_bytes: u64,
    /// What no one proved free either, and was left out by choice.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub left_out: ExtentMap,
    /// Bytes read from the source.
    pub read_source_bytes: u64,
    /// Plain bytes of chunks that the snapshot before did not have.
    pub changed_bytes: u64,
    /// Bytes in use of those chunks.
    #[serde(skip)]
    pub changed_used_bytes: u64,
    /// Bytes added to the file.
    pub added_bytes: u64,
    /// Size of the file.
    pub image_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Adds a snapshot of a source to an image.
///
/// # Errors
/// [`Error::Source`], [`Error::SourceChanged`], [`Error::Image`], [`Error::ImageWrite`],
/// [`Error::Interrupted`]: no snapshot was added, those before are as they were, and what is in the
/// file already is not written again by the next run.
pub fn capture<A: Append>(
    job: &CaptureJob<'_>,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    capture_from(job, None, writer, options, observer)
}

/// Adds a snapshot of a stream. The source of the job says how large it is ([`ForwardGeometry`]).
///
/// # Errors
/// As [`capture`]; nothing is committed before the stream has said that it ended well.
pub fn capture_forward<A: Append>(
    job: &CaptureJob<'_>,
    stream: &mut dyn Forward,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    capture_from(job, Some(stream), writer, options, observer)
}

fn capture_from<A: Append>(
    job: &CaptureJob<'_>,
    mut stream: Option<&mut dyn Forward>,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    let started = Instant::now();
    let start_bytes = writer.position();
    let plan = plan(job)?;
    let (rung, reason) = rung(job, options.rung);
    observer.event(&Event::Started {
        name: job.name,
        rung: Some(rung),
        reason: &reason,
        total_bytes: plan.copy.total_bytes(),
    });
    writer.begin_commit()?;
    if options.rung == RungChoice::Only(Rung::Full) {
        writer.forget_chunks();
    }
    let mut transfer = Transfer {
        observer,
        tree: TreeBuilder::default(),
        read_source_bytes: 0,
        changed_bytes: 0,
        changed_used_bytes: 0,
        added_bytes: 0,
    };
    let run = transfer.run(job, &mut stream, &plan, rung, options, writer);
    let ended = run.and_then(|()| stream.map_or(Ok(()), |s| s.finish().map_err(Error::Source)));
    if let Err(error) = ended {
        // The next run can use what is in the file already. Only the first error matters.
        let _ = writer.sync();
        return Err(error);
    }
    observer.event(&Event::Committing);
    source::check(job.source, job.usage, job.watch)?;
    let tree = std::mem::take(&mut transfer.tree).finish(writer)?;
    let run = transfer.run_entry(job, rung, reason.clone(), started);
    let mut summary = CaptureSummary {
        name: job.name.to_owned(),
        snapshot: 0,
        rung,
        reason,
        source_bytes: plan.source_bytes,
        used_bytes: run.used_bytes,
        unproven_bytes: plan.unproven.total_bytes(),
        left_out: plan.left_out.clone(),
        read_source_bytes: transfer.read_source_bytes,
        changed_bytes: transfer.changed_bytes,
        changed_used_bytes: transfer.changed_used_bytes,
        added_bytes: 0,
        image_bytes: 0,
        seconds: 0.0,
    };
    let manifest = manifest(job, run, plan, tree);
    summary.snapshot = add(&manifest, writer, start_bytes)?;
    observer.event(&Event::Finished);
    summary.image_bytes = writer.position();
    summary.added_bytes = summary.image_bytes.saturating_sub(start_bytes);
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// What of the source goes into the image.
fn plan(job: &CaptureJob<'_>) -> Result<Plan> {
    let geometry = job.source.geometry();
    let mut data = ExtentMap::new();
    if let Some(whole) = geometry.extent() {
        data = job.source.data(whole).map_err(Error::Source)?;
    }
    // Unknown bytes must not count as zero.
    data = data.union(&job.bad);
    Plan::new(job.usage, &data, geometry.size_bytes, geometry.size_bytes)
}

/// Adds a snapshot to the catalog, and commits it.
fn add<A: Append>(
    manifest: &SnapshotManifest,
    writer: &mut ImageWriter<A>,
    start_bytes: u64,
) -> Result<u64> {
    let plain = manifest.to_bytes().map_err(Error::ImageWrite)?;
    let reference = writer.put_manifest(plain)?;
    let mut catalog = writer.catalog().clone();
    let number = catalog.next_number;
    let meta = &manifest.meta;
    catalog.snapshots.push(CatalogEntry {
        number,
        manifest: reference.into(),
        ended_unix_seconds: meta.run.ended_unix_seconds,
        given_name: meta.given_name.clone(),
        note: meta.note.clone(),
        source: meta.source.clone(),
        source_bytes: meta.source_bytes,
        used_bytes: meta.run.used_bytes,
        added_bytes: writer.position().saturating_sub(start_bytes),
    });
    catalog.next_number = number.saturating_add(1);
    writer.commit(catalog)?;
    Ok(number)
}

fn rung(job: &CaptureJob<'_>, choice: RungChoice) -> (Rung, String) {
    let text = |text: &str| text.to_owned();
    match (job.previous, choice) {
        (_, RungChoice::Only(Rung::Full)) => {
            (Rung::Full, text("all of it is stored, as asked for"))
        }
        (None, _) => (Rung::Full, text("the first snapshot of this source")),
        (Some(_), RungChoice::Only(Rung::Compare)) => {
            (Rung::Compare, text("compared byte for byte, as asked for"))
        }
        (Some(previous), _) => {
            let number = previous.number();
            (Rung::Digest, format!("compared with snapshot {number}"))
        }
    }
}

fn manifest(
    job: &CaptureJob<'_>,
    run: SnapshotRun,
    plan: Plan,
    tree: Vec<(u64, Reference)>,
) -> SnapshotManifest {
    SnapshotManifest {
        meta: meta(job, run),
        bad: job.bad.intersection(&plan.copy),
        left_out: plan.left_out,
        data: plan.copy,
        zero: plan.zero,
        tree,
    }
}

fn meta(job: &CaptureJob<'_>, run: SnapshotRun) -> SnapshotMeta {
    let geometry = job.source.geometry();
    SnapshotMeta {
        source: job.source_identity.clone(),
        name: job.name.to_owned(),
        kind: job.kind,
        source_bytes: geometry.size_bytes,
        sector_bytes: geometry.logical_sector_bytes,
        filesystem: job.usage.summary.as_ref().map(FilesystemId::from),
        token: job.usage.token.map(Hex::from),
        disk_guid: job.disk_guid,
        partitions: job.partitions.clone(),
        given_name: job.given_name.clone(),
        note: job.note.clone(),
        outside: job.usage.choice,
        clone_bytes: job.clone_bytes,
        run,
    }
}

/// A transfer under way.
struct Transfer<'a> {
    observer: &'a dyn Observer,
    tree: TreeBuilder,
    read_source_bytes: u64,
    changed_bytes: u64,
    changed_used_bytes: u64,
    added_bytes: u64,
}

impl Transfer<'_> {
    /// The run, as its snapshot remembers it.
    fn run_entry(
        &self,
        job: &CaptureJob<'_>,
        rung: Rung,
        reason: String,
        started: Instant,
    ) -> SnapshotRun {
        SnapshotRun {
            ended_unix_seconds: unix_seconds_now(),
            rung,
            reason,
            used_bytes: job.usage.used_bytes(),
            read_source_bytes: self.read_source_bytes,
            changed_bytes: self.changed_bytes,
            added_bytes: self.added_bytes,
            milliseconds: milliseconds(started.elapsed()),
        }
    }

    fn run<A: Append>(
        &mut self,
        job: &CaptureJob<'_>,
        stream: &mut Option<&mut dyn Forward>,
        plan: &Plan,
        rung: Rung,
        options: &CaptureOptions,
        writer: &mut ImageWriter<A>,
    ) -> Result<()> {
        let observer = self.observer;
        let previous = job.previous.filter(|_| rung != Rung::Full);
        let mut known = Known::new(previous);
        let chunk_size = writer.header().chunk_size;
        let chunks = chunk_size.chunks(&plan.copy, plan.source_bytes);
        let tasks = chunks.map(|chunk| {
            if observer.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let content = match stream {
                Some(stream) => Some(forward::read(&mut **stream, &job.usage.extents, chunk)?),
                None => None,
            };
            Ok(Task {
                chunk,
                copy: plan.copy.within(chunk).collect(),
                known: known.at(chunk_size.index(chunk.offset_bytes())),
                content,
            })
        });
        // Workers look up what is there while chunks are added.
        let dedup = writer.dedup();
        let worker = Worker::new(
            job.source,
            options.level,
            chunk_size,
            rung,
            previous,
            &dedup,
        );
        let chunk_len = chunk_size.buffer_len();
        let own_bytes = work::context_bytes(options.level, chunk_len);
        pipeline::run(
            Flow::of_items(options.threads, chunk_len, own_bytes),
            tasks,
            |task| worker.process(&task),
            |outcome| self.sink(outcome, writer),
        )
    }

    fn sink<A: Append>(&mut self, outcome: Outcome, writer: &mut ImageWriter<A>) -> Result<()> {
        let before = writer.position();
        let reference = match outcome.content {
            Content::Known(reference) => reference,
            Content::New(encoded) => writer.put_chunk(&encoded)?,
        };
        self.added_bytes += writer.position() - before;
        let chunk = outcome.chunk;
        let number = writer.header().chunk_size.index(chunk.offset_bytes());
        self.tree.push(writer, number, reference)?;
        self.read_source_bytes += outcome.read_source_bytes;
        if outcome.is_changed {
            self.changed_bytes += chunk.len_bytes();
            self.changed_used_bytes += outcome.copy_bytes;
        }
        self.observer.event(&Event::Advanced {
            bytes: outcome.copy_bytes,
        });
        Ok(())
    }
}

/// What the snapshot before has.
struct Known<'a> {
    references: Option<InStep<References<'a>>>,
}

type References<'a> =
    Box<dyn Iterator<Item = klon_partition::Result<(u64, Reference)>> + Send + 'a>;

impl<'a> Known<'a> {
    fn new(previous: Option<&'a Snapshot>) -> Self {
        let references = previous.map(|previous| {
            // What can't be read is not known, and so stored again.
            let references = previous.references().filter(Result::is_ok);
            InStep::new(Box::new(references) as References<'a>)
        });
        Self { references }
    }

    /// The reference of a chunk.
    fn at(&mut self, number: u64) -> Option<Reference> {
        self.references.as_mut()?.at(number).ok().flatten()
    }
}
