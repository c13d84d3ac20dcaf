//! Pending records, left by a run that was killed: whether the state they describe was reached.
//!
//! A run makes the record of the new state durable before it commits a staged update. When the run
//! is killed before it puts the record in its place, the target shows whether the update was
//! completed: the target has no mark, and every chunk that the run changed is as the record says.
//! The record then counts like any other: it is believed only while the change token and the
//! metadata on the target are as it says.

use super::Job;
use crate::buffer::Pool;
use crate::chunk::{CHUNK_LEN, Digest, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::mark::Mark;
use crate::pipeline;
use crate::record::{Record, RecordStore};
use klon_partition::{Extent, Identity, ReadAt};
use std::num::NonZeroUsize;

/// What becomes of a pending record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none, or nothing can be said of it.
    Nothing,
    /// Its run is complete on the target.
    Complete,
    /// Its run is committed, and not yet in place.
    Committed,
    /// Its run was never committed.
    Void,
}

/// Takes over, or removes, what an earlier run left pending.
///
/// # Errors
/// [`Error::Target`], [`Error::RecordIo`].
pub(super) fn settle(job: &Job<'_>, records: &RecordStore, threads: NonZeroUsize) -> Result<()> {
    match standing(records, job.target_identity, &job.target, threads)? {
        Standing::Complete => records.adopt_pending(job.target_identity),
        Standing::Void => records.remove_pending(job.target_identity),
        Standing::Nothing | Standing::Committed => Ok(()),
    }
}

/// The record that describes `volume`, the target with this identity. A pending record counts when
/// its run is complete on the volume. Nothing is changed.
///
/// # Errors
/// [`Error::Target`], [`Error::RecordIo`], [`Error::RecordCorrupt`].
pub fn recorded(
    records: &RecordStore,
    target: &Identity,
    volume: &dyn ReadAt,
    threads: NonZeroUsize,
) -> Result<Option<Record>> {
    match standing(records, target, volume, threads)? {
        Standing::Complete => records.load_pending(target),
        _ => records.load(target),
    }
}

fn standing(
    records: &RecordStore,
    target: &Identity,
    volume: &dyn ReadAt,
    threads: NonZeroUsize,
) -> Result<Standing> {
    let record = match records.load_pending(target) {
        Ok(Some(record)) => record,
        Err(Error::RecordCorrupt { .. }) => return Ok(Standing::Void),
        // Without it the next run compares, and nothing else is lost.
        Ok(None) | Err(_) => return Ok(Standing::Nothing),
    };
    if let Some(mark) = Mark::read(volume).map_err(Error::Target)? {
        let is_its = mark.staged.is_some() && Some(mark.run) == record.manifest.run;
        return Ok(match is_its {
            true => Standing::Committed,
            false => Standing::Void,
        });
    }
    let is_complete = !record.changed.is_empty()
        && record.manifest.target_bytes == volume.geometry().size_bytes
        && has_changes(&record, volume, threads)?;
    Ok(match is_complete {
        true => Standing::Complete,
        false => Standing::Void,
    })
}

/// What ends the look early.
enum Stop {
    Error(Error),
    Differs,
}

/// Whether every chunk that the run of `record` changed is as the record says.
fn has_changes(record: &Record, volume: &dyn ReadAt, threads: NonZeroUsize) -> Result<bool> {
    let wanted = record.wanted();
    let is_changed = |item: &Result<(Extent, Digest)>| match item {
        Ok((chunk, _)) => record.changed.overlaps(*chunk),
        Err(_) => true,
    };
    let tasks = record.digests()?.filter(is_changed).map(|item| {
        let (chunk, digest) = item.map_err(Stop::Error)?;
        Ok((chunk, wanted.within(chunk).collect::<Vec<Extent>>(), digest))
    });
    let pool = Pool::new(CHUNK_LEN);
    let ended = pipeline::run(
        threads,
        tasks,
        |(chunk, extents, expected)| {
            let mut content = pool.take();
            read_chunk(volume, chunk, &extents, &mut content)
                .map_err(|error| Stop::Error(Error::Target(error)))?;
            match record.digested.of(&content[..to_len(chunk.len_bytes())]) == expected {
                true => Ok(()),
                false => Err(Stop::Differs),
            }
        },
        |()| Ok(()),
    );
    match ended {
        Ok(()) => Ok(true),
        Err(Stop::Differs) => Ok(false),
        Err(Stop::Error(error)) => Err(error),
    }
}
