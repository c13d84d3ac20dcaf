//! `klon info`: what a snapshot of an image holds.

use crate::cli::{Common, InfoArgs};
use crate::human;
use crate::image::at_rest::told;
use crate::image::{ImageName, state};
use crate::listing;
use crate::output;
use crate::picture::{self, Beside};
use crate::zone::Zone;
use anyhow::Result;
use klon_imaging::change::Rung;
use klon_imaging::image::{PartitionId, Snapshot, SnapshotDevice, SnapshotMeta, VolumeKind};
use klon_imaging::record::manifest::FilesystemId;
use klon_partition::device::Window;
use klon_partition::filesystem::{known_bad, probe};
use klon_partition::inspect::inspect;
use klon_partition::table::Finding;
use klon_partition::text::quoted;
use klon_partition::{ExtentMap, ReadAt};
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;

/// A snapshot as JSON.
#[derive(Serialize)]
struct Info<'a> {
    snapshot: u64,
    image_uuid: String,
    image_bytes: u64,
    chunk_bytes: u64,
    manifest_sha256: String,
    #[serde(flatten)]
    meta: &'a SnapshotMeta,
    /// Chunks that are all zero, and so not stored.
    zero_chunks: u64,
    /// Chunks that are stored, plain and as stored.
    stored_chunks: u64,
    plain_bytes: u64,
    stored_bytes: u64,
    /// What the snapshot added to the file.
    added_bytes: u64,
    data: &'a ExtentMap,
    zero: &'a ExtentMap,
    bad: &'a ExtentMap,
    /// What no one proved free, and is not in the image by choice.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    left_out: &'a ExtentMap,
    /// What is unusual about the partition table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
    /// What the filesystems list as bad, which is not in use.
    known_bad_bytes: u64,
}

/// Shows what a snapshot holds.
///
/// # Errors
/// When the image or the place can't be read.
pub fn run(args: &InfoArgs, common: &Common) -> Result<ExitCode> {
    let snapshot = ImageName::parse(&args.image)?.open_snapshot()?;
    state::warn(snapshot.image());
    let chunks = Chunks::count(&snapshot)?;
    let manifest = snapshot.manifest();
    let meta = &meta(&snapshot);
    let known_bad_bytes = known_bad_bytes(&snapshot, meta);
    if common.json {
        output::json(&Info {
            snapshot: snapshot.number(),
            image_uuid: snapshot.image().header().uuid.to_string(),
            image_bytes: snapshot.image().size_bytes(),
            chunk_bytes: snapshot.chunk_size().bytes(),
            manifest_sha256: snapshot.entry().manifest.sha256.into(),
            meta,
            zero_chunks: chunks.zero,
            stored_chunks: chunks.stored,
            plain_bytes: chunks.plain_bytes,
            stored_bytes: chunks.stored_bytes,
            added_bytes: snapshot.entry().added_bytes,
            data: &manifest.data,
            zero: &manifest.zero,
            bad: &manifest.bad,
            left_out: &manifest.left_out,
            findings: findings(&snapshot),
            known_bad_bytes,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let zone = Zone::of(args.zone);
    let measured = Measured {
        chunks,
        known_bad_bytes,
    };
    output::line(&text(&snapshot, meta, &measured, &zone))?;
    Ok(ExitCode::SUCCESS)
}

/// What is said of a snapshot whose source has another state than was imaged, or was mounted for writing.
fn at_rest(meta: &SnapshotMeta) -> String {
    if meta.is_replayed {
        return "  its source was not unmounted cleanly: klon replayed its journal to image it\n"
            .to_owned();
    }
    let partitions = meta.at_rest();
    match told(meta.consistency, &partitions) {
        Some(told) => format!("  {told}\n"),
        None => String::new(),
    }
}

/// What the snapshot says of itself. A snapshot that came in order (through a pipe, or from another format)
/// does not say which filesystems it holds. They are looked for in its contents.
fn meta(snapshot: &Arc<Snapshot>) -> SnapshotMeta {
    let mut meta = snapshot.meta().clone();
    let device: Arc<dyn ReadAt> = Arc::new(SnapshotDevice::new(Arc::clone(snapshot)));
    if meta.partitions.is_empty() {
        meta.filesystem = meta.filesystem.or_else(|| filesystem(&*device));
    }
    for partition in &mut meta.partitions {
        let part = Window::new(Arc::clone(&device), partition.extent).ok();
        let seen = || part.and_then(|part| filesystem(&part));
        partition.filesystem = partition.filesystem.take().or_else(seen);
    }
    meta
}

/// What is unusual about the partition table of a disk, if that can be read.
fn findings(snapshot: &Arc<Snapshot>) -> Vec<Finding> {
    let layout = inspect(&SnapshotDevice::new(Arc::clone(snapshot)));
    let mut findings = layout.map_or_else(|_| Vec::new(), |layout| layout.findings);
    if snapshot.meta().kind == VolumeKind::Volume {
        findings.retain(|finding| finding.doubt().is_some());
    }
    findings
}

/// How much of it the filesystems list as bad, as far as that can be read.
fn known_bad_bytes(snapshot: &Arc<Snapshot>, meta: &SnapshotMeta) -> u64 {
    let device: Arc<dyn ReadAt> = Arc::new(SnapshotDevice::new(Arc::clone(snapshot)));
    let bytes = |volume: &dyn ReadAt| known_bad(volume).map_or(0, |bad| bad.total_bytes());
    if meta.partitions.is_empty() {
        return bytes(&*device);
    }
    let extents = meta.partitions.iter().map(|partition| partition.extent);
    extents
        .filter_map(|extent| Window::new(Arc::clone(&device), extent).ok())
        .map(|part| bytes(&part))
        .sum()
}

/// The recognized filesystem, or `None` if it can't be read. It tells people what the image holds.
fn filesystem(volume: &dyn ReadAt) -> Option<FilesystemId> {
    let found = probe(volume).ok()??;
    Some(FilesystemId::from(found.summary()))
}

/// What the chunks of a snapshot take.
#[derive(Default)]
struct Chunks {
    zero: u64,
    stored: u64,
    plain_bytes: u64,
    stored_bytes: u64,
}

impl Chunks {
    fn count(snapshot: &Snapshot) -> Result<Self> {
        let mut chunks = Self::default();
        for item in snapshot.references() {
            let (_, reference) = item?;
            if reference.is_zero() {
                chunks.zero += 1;
                continue;
            }
            chunks.stored += 1;
            chunks.plain_bytes += u64::from(reference.plain_bytes);
            chunks.stored_bytes += u64::from(reference.stored_bytes);
        }
        Ok(chunks)
    }
}

/// What was counted of a snapshot.
struct Measured {
    chunks: Chunks,
    /// Bytes that its filesystems list as bad.
    known_bad_bytes: u64,
}

fn text(snapshot: &Arc<Snapshot>, meta: &SnapshotMeta, measured: &Measured, zone: &Zone) -> String {
    let chunks = &measured.chunks;
    let run = &meta.run;
    let changed = match run.rung {
        // All of it was new.
        Rung::Full => String::new(),
        _ => format!("{} changed, ", human::size(run.changed_bytes)),
    };
    let mut text = format!(
        "snapshot {} of {}\n  {} of {} ({}), {} of it in use\n  made {}, {}; {}{} added\n  {} in \
         {}, stored in {}\n",
        snapshot.number(),
        snapshot.image().header().uuid,
        content(meta.filesystem.as_ref(), meta.partitions.is_empty()),
        human::size(meta.source_bytes),
        meta.source,
        human::size(run.used_bytes),
        zone.date(run.ended_unix_seconds),
        run.reason,
        changed,
        human::size(snapshot.entry().added_bytes),
        human::size(chunks.plain_bytes),
        human::count(chunks.stored, "chunk"),
        human::size(chunks.stored_bytes),
    );
    if let Some(name) = &meta.given_name {
        text.push_str(&format!("  name {}\n", quoted(name)));
    }
    if let Some(note) = &meta.note {
        text.push_str(&format!("  {}\n", quoted(note)));
    }
    text.extend(meta.partitions.iter().map(of_partition));
    let bad_bytes = snapshot.manifest().bad.total_bytes();
    if bad_bytes > 0 {
        text.push_str(&format!(
            "  {} of it could not be read\n",
            human::size(bad_bytes)
        ));
    }
    for finding in findings(snapshot) {
        text.push_str(&format!("  ! {finding}\n"));
    }
    let left_out = &snapshot.manifest().left_out;
    if !left_out.is_empty() {
        text.push_str(&format!(
            "  left out by --outside {}: {} that no one proved free ({})\n",
            meta.outside,
            human::size(left_out.total_bytes()),
            listing::places(left_out),
        ));
    }
    text.push_str(&at_rest(meta));
    let known_bad_bytes = measured.known_bad_bytes;
    if known_bad_bytes > 0 {
        text.push_str(&format!("  {}\n", human::known_bad(known_bad_bytes)));
    }
    let manifest = snapshot.manifest();
    let zeroes = Beside {
        map: &manifest.zero,
        mark: '0',
        word: "zeroes",
    };
    text.push_str(&picture::beside(&manifest.data, &zeroes, meta.source_bytes));
    text
}

fn of_partition(partition: &PartitionId) -> String {
    let name = match partition.name.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    format!(
        "  partition {}{name}: {}, {}, {} in use\n",
        partition.number,
        content(partition.filesystem.as_ref(), true),
        human::size(partition.extent.len_bytes()),
        human::size(partition.used_bytes),
    )
}

fn content(filesystem: Option<&FilesystemId>, is_volume: bool) -> String {
    match (filesystem, is_volume) {
        (Some(found), _) => match &found.label {
            Some(label) => format!("{} {}", found.kind, quoted(label)),
            None => found.kind.to_string(),
        },
        (None, true) => "unknown content".to_owned(),
        (None, false) => "disk".to_owned(),
    }
}
