//! The end of a run: its snapshot gets into the catalog, and what tells its files is kept.

use super::super::append::Append;
use super::super::catalog::CatalogEntry;
use super::super::manifest::{SnapshotManifest, SnapshotMeta, SnapshotRun, at_rest};
use super::super::reference::Reference;
use super::super::writer::ImageWriter;
use super::selected::Selected;
use super::transfer::Notes;
use super::{CaptureJob, CaptureSummary, outlook};
use crate::change::MetadataFigures;
use crate::change::evidence::{Draft, Findings};
use crate::chunk::Digest;
use crate::clock::{milliseconds, unix_seconds_now};
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::live::RestFigures;
use crate::plan::Plan;
use crate::record::manifest::FilesystemId;
use klon_partition::{Extent, ExtentMap};
use std::time::Instant;

/// A run whose chunks are all in the image.
pub(super) struct Ended<'a> {
    pub(super) job: &'a CaptureJob<'a>,
    pub(super) plan: Plan,
    pub(super) selected: Selected,
    /// What the metadata of the source's files showed.
    pub(super) figures: MetadataFigures,
    /// The evidence for the next run, with where its volume lies.
    pub(super) drafts: Vec<(Extent, Draft)>,
    /// The bytes of the source that are damaged, or could not be compared with their checksums.
    pub(super) doubtful: ExtentMap,
    pub(super) rest: RestFigures,
}

/// The moment at which a run began.
#[derive(Clone, Copy)]
pub(super) struct Began {
    at: Instant,
    /// Where the image ended then.
    image_bytes: u64,
}

impl Began {
    pub(super) fn now<A: Append>(writer: &ImageWriter<A>) -> Self {
        Self {
            at: Instant::now(),
            image_bytes: writer.position(),
        }
    }
}

impl Ended<'_> {
    /// Commits the snapshot, and keeps what tells its files.
    ///
    /// # Errors
    /// [`Error::ImageWrite`].
    pub(super) fn commit<A: Append>(
        self,
        notes: Notes,
        writer: &mut ImageWriter<A>,
        began: Began,
    ) -> Result<CaptureSummary> {
        let uuid = writer.header().uuid;
        let Self { job, plan, .. } = self;
        let tree = notes.chunks.finish(writer)?;
        let run = SnapshotRun {
            ended_unix_seconds: unix_seconds_now(),
            rung: self.selected.rung,
            reason: self.selected.reason.clone(),
            used_bytes: job.usage.used_bytes(),
            read_source_bytes: notes.read_source_bytes,
            changed_bytes: notes.changed_bytes,
            added_bytes: notes.added_bytes,
            milliseconds: milliseconds(began.at.elapsed()),
        };
        let meta = SnapshotMeta {
            consistency: self.rest.consistency,
            ..meta(job, run)
        };
        let manifest = manifest(job, meta, &plan, tree);
        let added = add(&manifest, writer, began.image_bytes)?;
        let mut metadata = MetadataFigures {
            skipped_bytes: notes.skipped_bytes,
            ..self.figures
        };
        if notes.is_all_seen {
            let findings = Findings {
                signatures: notes.signatures.finish(),
                damaged: self.doubtful,
            };
            let kept = outlook::keep(self.drafts, uuid, added.manifest, &findings);
            let next = &mut metadata.next_reads_all_because;
            *next = kept.or(next.take());
        }
        Ok(CaptureSummary {
            name: job.name.to_owned(),
            snapshot: added.number,
            rung: self.selected.rung,
            reason: self.selected.reason,
            source_bytes: plan.source_bytes,
            used_bytes: job.usage.used_bytes(),
            unproven_bytes: plan.unproven.total_bytes(),
            bad: job.bad.intersection(&plan.copy),
            left_out: plan.left_out,
            read_source_bytes: notes.read_source_bytes,
            changed_bytes: notes.changed_bytes,
            changed_used_bytes: notes.changed_used_bytes,
            added_bytes: added.bytes,
            image_bytes: writer.position(),
            metadata,
            rest: self.rest,
            partitions: at_rest(&job.partitions),
            seconds: began.at.elapsed().as_secs_f64(),
        })
    }
}

/// A snapshot that was added.
struct Added {
    number: u64,
    /// The digest of its manifest.
    manifest: Digest,
    /// Bytes that it added.
    bytes: u64,
}

/// Adds a snapshot to the catalog, and commits it.
fn add<A: Append>(
    manifest: &SnapshotManifest,
    writer: &mut ImageWriter<A>,
    start_bytes: u64,
) -> Result<Added> {
    let plain = manifest.to_bytes().map_err(Error::ImageWrite)?;
    let reference = writer.put_manifest(plain)?;
    let mut catalog = writer.catalog().clone();
    let number = catalog.next_number;
    let meta = &manifest.meta;
    let added_bytes = writer.position().saturating_sub(start_bytes);
    catalog.snapshots.push(CatalogEntry {
        number,
        manifest: reference.into(),
        ended_unix_seconds: meta.run.ended_unix_seconds,
        given_name: meta.given_name.clone(),
        note: meta.note.clone(),
        source: meta.source.clone(),
        source_bytes: meta.source_bytes,
        used_bytes: meta.run.used_bytes,
        left_out_bytes: Some(manifest.left_out.total_bytes()),
        outside: meta.outside,
        bad_bytes: Some(manifest.bad.total_bytes()),
        consistency: meta.consistency,
        partitions: meta.at_rest(),
        added_bytes,
    });
    catalog.next_number = number.saturating_add(1);
    writer.commit(catalog)?;
    Ok(Added {
        number,
        manifest: reference.digest,
        bytes: added_bytes,
    })
}

fn manifest(
    job: &CaptureJob<'_>,
    meta: SnapshotMeta,
    plan: &Plan,
    tree: Vec<(u64, Reference)>,
) -> SnapshotManifest {
    SnapshotManifest {
        meta,
        bad: job.bad.intersection(&plan.copy),
        left_out: plan.left_out.clone(),
        data: plan.copy.clone(),
        zero: plan.zero.clone(),
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
        is_replayed: job.usage.is_replayed,
        consistency: job.consistency,
        clone_bytes: job.clone_bytes,
        run,
    }
}
