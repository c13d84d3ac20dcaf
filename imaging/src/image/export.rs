//! Giving a snapshot to other programs: raw, qcow2 and bmap.
//!
//! Every chunk is read and checked against its digest by worker threads and comes to the writer of
//! the format in order.

pub mod bmap;
mod file;
pub mod qcow2;
mod raw;

pub use file::NewFile;
pub use raw::{RawFile, RawStream};

use crate::buffer::Pool;
use crate::change::Rung;
use crate::chunk::{self, CHUNK_BYTES, CHUNK_LEN, to_len};
use crate::clone::read_chunk;
use crate::error::{Error, Result};
use crate::pipeline;
use crate::progress::{Event, Observer};
use bytes::Bytes;
use klon_partition::{Error as PartitionError, Extent, ExtentMap, ReadAt};
use serde::Serialize;
use std::num::NonZeroUsize;

/// What is exported.
pub struct ExportJob<'a> {
    /// What it is called, for people.
    pub name: &'a str,
    /// What it becomes, for people.
    pub format: &'a str,
    /// The snapshot, or a partition of it.
    pub device: &'a dyn ReadAt,
    /// Size of the image's chunks. What is exported comes in pieces as large, of a mebibyte at most.
    pub chunk_bytes: u32,
    /// What of it may be anything but zero.
    pub data: ExtentMap,
    /// What of it was in use.
    pub wanted: ExtentMap,
    /// Whether to go on with zeroes where it is damaged.
    pub skip_damaged: bool,
    /// How many threads read and check.
    pub threads: NonZeroUsize,
}

/// What an export did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Size of what was exported.
    pub size_bytes: u64,
    /// Bytes read from the image, as they were before they were compressed.
    pub read_bytes: u64,
    /// Where zeroes stand for damaged bytes.
    pub damaged: ExtentMap,
    /// The damages, in words.
    #[serde(skip)]
    pub reasons: Vec<String>,
}

/// A chunk on its way out.
pub struct Piece {
    /// Where it lies.
    pub chunk: Extent,
    /// Its content; everything but data is zero.
    pub content: Bytes,
}

/// What takes the chunks of an export.
pub trait Sink {
    /// Takes the next chunk. Chunks come in ascending order; those without data don't come.
    ///
    /// # Errors
    /// [`Error::Target`].
    fn put(&mut self, piece: &Piece) -> Result<()>;
}

/// Reads and checks everything of `job.data`, and gives it to `sink` in order.
///
/// # Errors
/// [`Error::Image`] for a chunk that is damaged, unless the job skips those; [`Error::Target`];
/// [`Error::Interrupted`].
pub fn export(
    job: &ExportJob<'_>,
    sink: &mut dyn Sink,
    observer: &dyn Observer,
) -> Result<Exported> {
    let size_bytes = job.device.geometry().size_bytes;
    observer.event(&Event::Started {
        name: job.name,
        rung: Some(Rung::Full),
        reason: job.format,
        total_bytes: job.data.total_bytes(),
    });
    let mut done = Exported {
        size_bytes,
        read_bytes: 0,
        damaged: ExtentMap::new(),
        reasons: Vec::new(),
    };
    let mut damaged = Vec::new();
    let pool = Pool::new(CHUNK_LEN);
    let piece_bytes = CHUNK_BYTES.min(job.chunk_bytes.into());
    let pieces = chunk::chunks_of(&job.data, size_bytes, piece_bytes);
    let tasks = pieces.map(|chunk| match observer.is_cancelled() {
        true => Err(Error::Interrupted),
        false => Ok(chunk),
    });
    pipeline::run(
        job.threads,
        tasks,
        |chunk| read(job, &pool, chunk),
        |(piece, found)| {
            let bytes: u64 = job.data.within(piece.chunk).map(Extent::len_bytes).sum();
            done.read_bytes += bytes;
            if let Some(reason) = found {
                damaged.push(piece.chunk);
                done.reasons.push(reason);
            }
            observer.event(&Event::Advanced { bytes });
            sink.put(&piece)
        },
    )?;
    observer.event(&Event::Committing);
    done.damaged = damaged.into_iter().collect();
    Ok(done)
}

/// A chunk, and what is wrong with it.
fn read(job: &ExportJob<'_>, pool: &Pool, chunk: Extent) -> Result<(Piece, Option<String>)> {
    let mut buffer = pool.take();
    let copy: Vec<Extent> = job.data.within(chunk).collect();
    let damage = match read_chunk(job.device, chunk, &copy, &mut buffer) {
        Ok(_) => None,
        Err(error) if job.skip_damaged && is_damage(&error) => {
            buffer.fill(0);
            Some(placed(error, chunk).to_string())
        }
        Err(error) => return Err(Error::Image(placed(error, chunk))),
    };
    let content = buffer.freeze().slice(..to_len(chunk.len_bytes()));
    Ok((Piece { chunk, content }, damage))
}

/// A damaged chunk is named by its place in what is exported, too.
fn placed(error: PartitionError, chunk: Extent) -> PartitionError {
    match error {
        PartitionError::Corrupt(mut corrupt) => {
            corrupt.found.push_str(&format!(
                "; it holds bytes {:#x} to {:#x} of what was imaged",
                chunk.offset_bytes(),
                chunk.end_bytes() - 1
            ));
            corrupt.into()
        }
        error => error,
    }
}

const fn is_damage(error: &PartitionError) -> bool {
    matches!(
        error,
        PartitionError::Corrupt(_) | PartitionError::Io { .. }
    )
}
