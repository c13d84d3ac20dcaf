//! What is imaged and how, and what a run did.

use super::super::manifest::{PartitionId, PartitionRest, VolumeKind};
use super::super::snapshot::Snapshot;
use crate::change::proven::Continuity;
use crate::change::{MetadataFigures, Reliance, Rested, RungChoice};
use crate::live::RestFigures;
use crate::record::{Consistency, RecordStore};
use crate::rung::Rung;
use crate::source::Watch;
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt};
use serde::Serialize;
use std::num::NonZeroUsize;
use uuid::Uuid;

/// A volume or disk to be imaged.
#[derive(Clone)]
pub struct CaptureJob<'a> {
    /// What it is called, for people.
    pub name: &'a str,
    /// What is imaged.
    pub source: &'a dyn ReadAt,
    /// The bytes of it that are in use.
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
    /// How it is at rest.
    pub consistency: Consistency,
    /// The name that the user gave to what is imaged.
    pub given_name: Option<String>,
    /// When a clone is imaged: where it ends, by its record.
    pub clone_bytes: Option<u64>,
    /// What the user says of the snapshot.
    pub note: Option<String>,
    /// Whether the source compares what is read of it with the digests that it keeps, so that nobody
    /// else has to.
    pub is_checked: bool,
    /// Its volumes, whose files can show what changed since `previous`; `None` when nothing is to be
    /// left unread, and nothing kept for a next run.
    pub volumes: Option<Volumes<'a>>,
}

/// The volumes of a source, and where evidence of their files is kept.
#[derive(Clone)]
pub struct Volumes<'a> {
    /// Where.
    pub records: &'a RecordStore,
    /// What the machine's ledger says of power cuts; `None` without one.
    pub continuity: Option<&'a Continuity>,
    /// The runs that wrote to the source when it was a target, by its records.
    pub written_by: &'a [Uuid],
    /// The volumes.
    pub all: Vec<SourceVolume<'a>>,
}

/// A volume of a source.
#[derive(Clone, Copy)]
pub struct SourceVolume<'a> {
    /// The number of its partition; 0 for all of the source.
    pub number: u32,
    /// Where it lies in the source.
    pub part: Extent,
    /// The bytes of it that are in use, at offsets from its own start.
    pub usage: &'a Usage,
    /// Since when it is at rest, of one that is mounted for writing.
    pub rested: Option<&'a Rested>,
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
    /// How far the metadata of files is relied on.
    pub reliance: Reliance,
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
    /// The bytes of it that could not be read from the original, and are zero in the image.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub bad: ExtentMap,
    /// Bytes read from the source: what was stored or compared, and what was audited.
    pub read_source_bytes: u64,
    /// Plain bytes of chunks that the snapshot before did not have.
    pub changed_bytes: u64,
    /// Bytes in use of those chunks.
    #[serde(skip)]
    pub changed_used_bytes: u64,
    /// Bytes that the snapshot added to the file, as its line in the catalog says.
    pub added_bytes: u64,
    /// Size of the file.
    pub image_bytes: u64,
    /// What the metadata of the source's files showed.
    #[serde(flatten)]
    pub metadata: MetadataFigures,
    /// How the source was at rest.
    #[serde(flatten)]
    pub rest: RestFigures,
    /// How each partition was at rest. Empty if none was mounted for writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionRest>,
    /// How long it took.
    pub seconds: f64,
}
