//! Cloning a source with bad sectors: everything readable is copied, and the rest is listed.
//!
//! Large reads come first, smaller ones around failures, then single sectors, then retries; each
//! pass goes the other way than the one before and reads the filesystem's own structures before
//! anything else. A map file (see `file.rs`) says how far the rescue is. So a rescue can be
//! interrupted and continued, or handed to GNU ddrescue and back. Until the end the target bears the
//! unfinished mark. What could not be read is zero there, and listed in its record.

mod engine;
mod file;
mod fill;
mod first;
mod large;
mod ledger;
mod own;
mod passes;
mod reader;
mod start;
mod status;
#[cfg(test)]
mod tests;

pub use file::domain_path;
pub use fill::still_filled;

use crate::buffer::Pool;
use crate::chunk::{self, CHUNK_BYTES, CHUNK_LEN, Digest, read_chunk, to_len};
use crate::clock::{milliseconds, unix_seconds_now};
use crate::clone::{Job, manifest};
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::pipeline;
use crate::plan::Plan;
use crate::progress::{Event, Observer, unless_cancelled};
use crate::record::manifest::RESCUE;
use crate::record::{RecordStore, RecordWriter, RunEntry};
use crate::rung::Rung;
use crate::source::FillTexts;
use crate::tally::Tally;
use engine::Engine;
use klon_partition::filesystem::Usage;
use klon_partition::{Error as PartitionError, Extent, ExtentMap, ReadAt};
use ledger::Ledger;
use serde::Serialize;
use status::{Status, StatusMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How to rescue.
#[derive(Clone, Copy, Debug)]
pub struct RescueOptions<'a> {
    /// The map file.
    pub map: &'a Path,
    /// Whether the map is klon's own: it is begun again when it does not fit, and removed when it is
    /// no longer needed.
    pub is_own_map: bool,
    /// Where the source has the filesystem's own structures. They are read first.
    pub metadata: &'a ExtentMap,
    /// How often each bad sector is tried again.
    pub retries: u32,
    /// What stands in the place of what can't be read, repeated from the start of each sector on;
    /// zeroes when it is `None`, and always in the filesystem's own structures.
    pub fill: Option<&'a str>,
    /// How many threads digest the target.
    pub threads: NonZeroUsize,
}

/// What a rescue did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RescueSummary {
    /// The name of the clone.
    pub name: String,
    /// Where it continued from.
    pub reason: String,
    /// Size of the source.
    pub source_bytes: u64,
    /// Bytes of it in use.
    pub used_bytes: u64,
    /// Bytes in use that are on the target.
    pub rescued_bytes: u64,
    /// Bytes in use that could not be read, now or when the source itself was made.
    pub bad_bytes: u64,
    /// Where those are.
    pub bad: ExtentMap,
    /// The bad bytes that belong to the filesystem's own structures; `None` when these are unknown.
    pub bad_metadata_bytes: Option<u64>,
    /// What stands there on the target, repeated from the start of each sector on; zeroes when it
    /// is `None`, and always in the filesystem's own structures.
    #[serde(flatten)]
    pub bad_fill: FillTexts,
    /// Bytes read from the source.
    pub read_source_bytes: u64,
    /// Reads of the source that failed.
    pub failed_reads: u64,
    /// Bytes written to the target or made zero there.
    pub written_bytes: u64,
    /// The map file; `None` when it is no longer needed and was removed.
    #[serde(serialize_with = "klon_partition::text::path_option")]
    pub map: Option<PathBuf>,
    /// How long it took.
    pub seconds: f64,
}

/// Clones everything of a source that can be read. A rescue writes in place, so [`Job::present`] and
/// [`Job::drive`] are not used.
///
/// # Errors
/// [`Error::Source`] and [`Error::SourceGone`] when the source is gone, [`Error::Target`], [`Error::Interrupted`]: the target
/// bears the unfinished mark, and a rescue with the same map goes on. [`Error::Refused`] and
/// [`Error::RecordCorrupt`] for a map that is not of this source and this target. Bad sectors are
/// no error.
pub fn rescue(
    job: &Job<'_>,
    records: &RecordStore,
    options: &RescueOptions<'_>,
    observer: &dyn Observer,
) -> Result<RescueSummary> {
    let started = Instant::now();
    let plan = plan(job)?;
    records.check_writable(job.target_identity)?;
    let wanted = plan.wanted();
    // A record that can't be read says nothing.
    let previous = records.load(job.target_identity).unwrap_or_default();
    let under_way = UnderWay {
        job,
        options,
        plan: &plan,
        observer,
    };
    let begun = start::begin(under_way, previous.as_ref())?;
    let finished = begun.statuses.with(Status::Finished);
    let reason = begun.reason.clone();
    observer.event(&Event::Started {
        name: job.name,
        rung: Some(Rung::Full),
        reason: &format!("{RESCUE}{reason}"),
        total_bytes: plan.copy.difference(&finished).total_bytes(),
    });
    let mut engine = Engine::new(under_way, &wanted, begun)?;
    engine.run()?;
    let unread = engine.bad();
    let lost = job.filled().within(&plan.copy);
    let mut digests = begin_record(job, records, &plan)?;
    digest(under_way, &engine.ledger, &mut digests)?;
    observer.event(&Event::Committing);
    // From here on the old record would describe something else.
    records.remove(job.target_identity)?;
    records.remove_pending(job.target_identity)?;
    let (reader, ledger) = (&engine.reader, &engine.ledger);
    let (statuses, origin) = (ledger.statuses.clone(), ledger.origin.clone());
    let mut done = Done {
        reason,
        bad: unread.union(&lost.extents),
        bad_fill: FillTexts::from_iter(options.fill).and(&lost.texts),
        read_source_bytes: reader.read_bytes,
        failed_reads: reader.failed_reads,
        written_bytes: 0,
    };
    done.written_bytes = engine.commit(|| still_the_same(job))?;
    let token = crate::clone::target_token(job).unwrap_or_default();
    let mut manifest = manifest(job, &plan, previous.as_ref(), token);
    manifest.remember(done.run_entry(&plan, started));
    done.bad_fill = done.bad_fill.if_any(&done.bad);
    digests.set_bad(done.bad.clone(), done.bad_fill.clone());
    digests.set_left_out(plan.left_out.clone());
    digests.into_place(&manifest, &plan.copy, &plan.zero, &wanted)?;
    records.remove_log(job.target_identity)?;
    let is_kept = !unread.is_empty() || !options.is_own_map;
    match is_kept {
        true => under_way.keep_map(records, origin, &statuses)?,
        false => forget_map(options.map)?,
    }
    observer.event(&Event::Finished);
    let mut summary = done.summary(job, &plan, options);
    summary.map = is_kept.then(|| options.map.to_owned());
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// A rescue that goes on: of what, how, and what of it is in use.
#[derive(Clone, Copy)]
struct UnderWay<'a> {
    job: &'a Job<'a>,
    options: &'a RescueOptions<'a>,
    plan: &'a Plan,
    observer: &'a dyn Observer,
}

impl UnderWay<'_> {
    /// Keeps the map of a finished rescue, which names the record that describes the target now.
    fn keep_map(
        &self,
        records: &RecordStore,
        mut origin: file::Origin,
        statuses: &StatusMap,
    ) -> Result<()> {
        let record = records.load(self.job.target_identity)?;
        origin.record = record.map(|record| Hex(record.digest));
        file::save(self.options.map, &origin, statuses, true)
    }
}

/// What a rescue did.
struct Done {
    reason: String,
    bad: ExtentMap,
    bad_fill: FillTexts,
    read_source_bytes: u64,
    failed_reads: u64,
    written_bytes: u64,
}

impl Done {
    /// The run, as the record remembers it.
    fn run_entry(&self, plan: &Plan, started: Instant) -> RunEntry {
        let wanted_bytes = plan.wanted().total_bytes();
        RunEntry {
            ended_unix_seconds: unix_seconds_now(),
            rung: Rung::Full,
            reason: format!("{RESCUE}{}", self.reason),
            is_replayed: false,
            shrunk_from_bytes: None,
            tally: Tally {
                used_bytes: wanted_bytes,
                read_source_bytes: self.read_source_bytes,
                read_target_bytes: plan.copy.total_bytes(),
                changed_bytes: wanted_bytes,
                written_bytes: self.written_bytes,
                staged_bytes: 0,
            },
            milliseconds: milliseconds(started.elapsed()),
        }
    }

    /// The summary without the map and the time.
    fn summary(self, job: &Job<'_>, plan: &Plan, options: &RescueOptions<'_>) -> RescueSummary {
        let (metadata, bad) = (options.metadata, self.bad);
        let wanted_bytes = plan.wanted().total_bytes();
        RescueSummary {
            name: job.name.to_owned(),
            reason: self.reason,
            source_bytes: plan.source_bytes,
            used_bytes: wanted_bytes,
            rescued_bytes: wanted_bytes.saturating_sub(bad.total_bytes()),
            bad_bytes: bad.total_bytes(),
            bad_metadata_bytes: (!metadata.is_empty())
                .then(|| bad.intersection(metadata).total_bytes()),
            bad,
            bad_fill: self.bad_fill,
            read_source_bytes: self.read_source_bytes,
            failed_reads: self.failed_reads,
            written_bytes: self.written_bytes,
            map: None,
            seconds: 0.0,
        }
    }
}

/// Forgets a map, its domain, and what is kept beside it of the first chunk.
///
/// # Errors
/// [`Error::RecordIo`].
pub fn forget_map(path: &Path) -> Result<()> {
    own::remove_file(path)?;
    own::remove_file(&domain_path(path))?;
    own::remove_file(&first::path(path))
}

/// The plan of a rescue: in whole sectors, because nothing less can be read.
fn plan(job: &Job<'_>) -> Result<Plan> {
    let geometry = job.source.geometry();
    let source_bytes = geometry.size_bytes;
    let sector_bytes = u64::from(geometry.logical_sector_bytes.max(1));
    let data = match geometry.extent() {
        Some(whole) => job.source.data(whole).unwrap_or_else(|_| whole.into()),
        None => ExtentMap::new(),
    };
    let usage = Usage {
        extents: job.usage.extents.aligned_out(sector_bytes, source_bytes),
        ..job.usage.clone()
    };
    let data = data.union(&job.filled().extents);
    let data = data.aligned_out(sector_bytes, source_bytes);
    Plan::new(
        &usage,
        &data,
        source_bytes,
        job.target.geometry().size_bytes,
    )
}

/// The plan of any clone, except for a source whose filesystem can't be read any more.
fn still_the_same(job: &Job<'_>) -> Result<()> {
    match job.check_source() {
        Err(Error::Source(_)) => Ok(()),
        result => result,
    }
}

fn begin_record(job: &Job<'_>, records: &RecordStore, plan: &Plan) -> Result<RecordWriter> {
    let chunks = chunk::chunks(&plan.wanted(), plan.source_bytes).count();
    records.begin(job.target_identity, chunks as u64)
}

/// Digests what is on the target and was not digested on its way there.
fn digest(under_way: UnderWay<'_>, ledger: &Ledger<'_>, digests: &mut RecordWriter) -> Result<()> {
    let UnderWay {
        job,
        options,
        plan,
        observer,
    } = under_way;
    let wanted = plan.wanted();
    let known = |chunk| match chunk == ledger.first {
        true => Some(Digest::of(&ledger.held)),
        false => ledger.digests.get(&chunk::index(chunk)).copied(),
    };
    let bytes = |chunk| wanted.within(chunk).map(Extent::len_bytes).sum::<u64>();
    let all = || chunk::chunks(&wanted, plan.source_bytes);
    observer.event(&Event::Started {
        name: job.name,
        rung: None,
        reason: "checking what was rescued piece by piece",
        total_bytes: all()
            .filter(|&chunk| known(chunk).is_none())
            .map(bytes)
            .sum(),
    });
    let pool = Pool::new(CHUNK_LEN);
    let chunks = all().map(|chunk| unless_cancelled(observer, (chunk, known(chunk))));
    pipeline::run(
        options.threads,
        chunks,
        |(chunk, known)| {
            if let Some(digest) = known {
                return Ok((None, digest));
            }
            let extents: Vec<Extent> = plan.copy.within(chunk).collect();
            let mut content = pool.take();
            read_chunk(job.target, chunk, &extents, &mut content).map_err(Error::Target)?;
            let digest = Digest::of(&content[..to_len(chunk.len_bytes())]);
            Ok((Some(chunk), digest))
        },
        |(chunk, digest)| {
            if let Some(chunk) = chunk {
                let bytes = bytes(chunk);
                observer.event(&Event::Advanced { bytes });
            }
            digests.push(digest)
        },
    )
}

/// The first sector of `extent` that can't be read; `None` when all of it can.
#[must_use]
pub fn first_bad(device: &dyn ReadAt, extent: Extent) -> Option<Extent> {
    let sector_bytes = u64::from(device.geometry().logical_sector_bytes.max(1));
    let fails = |part: Extent| {
        let mut buffer = vec![0; to_len(part.len_bytes())];
        let read = device.read_exact_at(&mut buffer, part.offset_bytes());
        matches!(read, Err(PartitionError::Io { .. }))
    };
    let extent = Extent::new(extent.offset_bytes(), extent.len_bytes().min(CHUNK_BYTES))?;
    let block = extent
        .split(sector_bytes.max(4096))
        .find(|&part| fails(part))?;
    block
        .split(sector_bytes)
        .find(|&part| fails(part))
        .or(Some(block))
}
