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
use crate::chunk::{CHUNK_LEN, ChunkSize, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::pipeline;
use crate::progress::{Event, Observer, unless_cancelled};
use bytes::Bytes;
use klon_partition::{Extent, ExtentMap, ReadAt};
use serde::Serialize;
use std::num::NonZeroUsize;

/// What is exported.
pub struct ExportJob<'a> {
    /// What it is called, for people.
    pub name: &'a str,
    /// What it becomes, for people.
    pub format: &'a str,
    /// The snapshot, or a part of it; a [`SalvageDevice`](super::SalvageDevice) goes on where it is
    /// damaged.
    pub device: &'a dyn ReadAt,
    /// Size of the image's chunks. What is exported comes in pieces as large, of a mebibyte at most.
    pub chunk_size: ChunkSize,
    /// The bytes of it that may be anything but zero.
    pub data: ExtentMap,
    /// The bytes of it that were in use.
    pub wanted: ExtentMap,
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
/// [`Error::Image`] for a chunk that is damaged; [`Error::Target`]; [`Error::Interrupted`].
pub fn export(
    job: &ExportJob<'_>,
    sink: &mut dyn Sink,
    observer: &dyn Observer,
) -> Result<Exported> {
    let size_bytes = job.device.geometry().size_bytes;
    observer.event(&Event::Started {
        name: job.name,
        rung: None,
        reason: job.format,
        total_bytes: job.data.total_bytes(),
    });
    let mut done = Exported {
        size_bytes,
        read_bytes: 0,
    };
    let pool = Pool::new(CHUNK_LEN);
    let piece_size = ChunkSize::USUAL.min(job.chunk_size);
    let pieces = piece_size.chunks(&job.data, size_bytes);
    let tasks = pieces.map(|chunk| unless_cancelled(observer, chunk));
    pipeline::run(
        job.threads,
        tasks,
        |chunk| read(job, &pool, chunk),
        |piece| {
            let bytes: u64 = job.data.within(piece.chunk).map(Extent::len_bytes).sum();
            done.read_bytes += bytes;
            observer.event(&Event::Advanced { bytes });
            sink.put(&piece)
        },
    )?;
    observer.event(&Event::Committing);
    Ok(done)
}

fn read(job: &ExportJob<'_>, pool: &Pool, chunk: Extent) -> Result<Piece> {
    let mut buffer = pool.take();
    let copy: Vec<Extent> = job.data.within(chunk).collect();
    read_chunk(job.device, chunk, &copy, &mut buffer).map_err(Error::Image)?;
    let content = buffer.freeze().slice(..to_len(chunk.len_bytes()));
    Ok(Piece { chunk, content })
}
