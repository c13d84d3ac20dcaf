//! What is done with each chunk: read, digest, compare with what is there, compress.

use super::super::dedup::Dedup;
use super::super::encoded::Encoded;
use super::super::frame::Encoding;
use super::super::reference::Reference;
use super::super::snapshot::Snapshot;
use crate::buffer::Pool;
use crate::chunk::{ChunkSize, Digest, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::rung::Rung;
use bytes::Bytes;
use klon_partition::bytes::is_zero;
use klon_partition::locks::{lock, read_lock};
use klon_partition::{Extent, ReadAt};
use std::sync::{Mutex, RwLock};
use zstd::bulk::Compressor;

/// A chunk of the source.
pub(super) struct Task {
    pub(super) chunk: Extent,
    /// What of it is read.
    pub(super) copy: Vec<Extent>,
    /// What the snapshot before has there.
    pub(super) known: Option<Reference>,
    /// Its content, where that came in order.
    pub(super) content: Option<Bytes>,
}

/// What became of a chunk.
pub(super) struct Outcome {
    pub(super) chunk: Extent,
    pub(super) read_source_bytes: u64,
    /// Bytes of it in use.
    pub(super) copy_bytes: u64,
    /// Whether the snapshot before had something else there.
    pub(super) is_changed: bool,
    pub(super) content: Content,
}

/// How a chunk gets into the image.
pub(super) enum Content {
    /// It is there already, or is zero.
    Known(Reference),
    /// It must be stored.
    New(Encoded),
}

impl Content {
    const fn is_zero(&self) -> bool {
        matches!(self, Self::Known(reference) if reference.stored_bytes == 0)
    }
}

pub(super) struct Worker<'a> {
    source: &'a dyn ReadAt,
    rung: Rung,
    previous: Option<&'a Snapshot>,
    dedup: &'a RwLock<Dedup>,
    pool: Pool,
    compressors: Compressors,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        source: &'a dyn ReadAt,
        level: i32,
        chunk_size: ChunkSize,
        rung: Rung,
        previous: Option<&'a Snapshot>,
        dedup: &'a RwLock<Dedup>,
    ) -> Self {
        Self {
            source,
            rung,
            previous,
            dedup,
            pool: Pool::new(chunk_size.buffer_len()),
            compressors: Compressors::new(level),
        }
    }

    pub(super) fn process(&self, task: &Task) -> Result<Outcome> {
        let len = to_len(task.chunk.len_bytes());
        let (plain, read_source_bytes) = match &task.content {
            Some(content) => {
                let bytes = task.copy.iter().map(|extent| extent.len_bytes()).sum();
                (content.clone(), bytes)
            }
            None => self.read(task, len)?,
        };
        let digest = Digest::of(&plain);
        let plain_bytes = u32::try_from(len).unwrap_or(u32::MAX);
        let same = task
            .known
            .filter(|known| known.digest == digest && known.plain_bytes == plain_bytes);
        let content = match same {
            Some(known) if self.is_sound(&known, &plain) => Content::Known(known),
            _ => self.stored_or_new(plain, digest, plain_bytes)?,
        };
        Ok(Outcome {
            chunk: task.chunk,
            read_source_bytes,
            copy_bytes: task.copy.iter().map(|extent| extent.len_bytes()).sum(),
            // Zeroes that were written over a hole read the same.
            is_changed: same.is_none() && !(self.is_hole_before(task) && content.is_zero()),
            content,
        })
    }

    /// Whether the snapshot before has nothing there.
    const fn is_hole_before(&self, task: &Task) -> bool {
        self.previous.is_some() && task.known.is_none()
    }

    fn read(&self, task: &Task, len: usize) -> Result<(Bytes, u64)> {
        let mut buffer = self.pool.take();
        let read_source_bytes =
            read_chunk(self.source, task.chunk, &task.copy, &mut buffer).map_err(Error::Source)?;
        Ok((buffer.freeze().slice(..len), read_source_bytes))
    }

    fn stored_or_new(&self, plain: Bytes, digest: Digest, plain_bytes: u32) -> Result<Content> {
        if is_zero(&plain) {
            return Ok(Content::Known(Reference {
                position: 0,
                stored_bytes: 0,
                plain_bytes,
                digest,
            }));
        }
        let found = {
            let dedup = read_lock(self.dedup);
            dedup.find(digest, plain_bytes)
        };
        match found {
            Some(found) if self.is_sound(&found, &plain) => Ok(Content::Known(found)),
            _ => {
                let (encoding, payload) = self.compressors.compress(plain)?;
                let encoded = Encoded::new(encoding, payload, (plain_bytes, digest));
                Ok(Content::New(encoded))
            }
        }
    }

    /// Whether the stored chunk is sound. Only a comparing run looks at it.
    fn is_sound(&self, reference: &Reference, plain: &Bytes) -> bool {
        let Some(previous) = self.previous.filter(|_| self.rung == Rung::Compare) else {
            return true;
        };
        let mut stored = self.pool.take();
        let stored = &mut stored[..plain.len()];
        // What this run has stored lies behind the file as it was opened.
        let is_of_this_run = reference.position >= previous.image().size_bytes();
        is_of_this_run
            || previous
                .read_chunk(reference, stored)
                .is_ok_and(|()| stored == plain)
    }
}

/// About how much memory zstd needs: its tables grow with the level, and with the length of the
/// input.
pub(super) fn context_bytes(level: i32, chunk_len: usize) -> usize {
    let tables_mib = match level {
        ..=4 => 2,
        5..=9 => 12,
        10..=12 => 48,
        13..=18 => 64,
        _ => 80,
    };
    (tables_mib << 20).min(chunk_len.saturating_mul(16))
}

/// Compressors, one for each thread that needs one at a time.
struct Compressors {
    level: i32,
    free: Mutex<Vec<Compressor<'static>>>,
}

impl Compressors {
    const fn new(level: i32) -> Self {
        Self {
            level,
            free: Mutex::new(Vec::new()),
        }
    }

    /// The payload for some plain bytes: compressed, where that is worth it.
    fn compress(&self, plain: Bytes) -> Result<(Encoding, Bytes)> {
        let free = lock(&self.free).pop();
        let mut compressor = match free {
            Some(compressor) => compressor,
            None => Compressor::new(self.level).map_err(Error::ImageWrite)?,
        };
        let packed = compressor.compress(&plain).map_err(Error::ImageWrite)?;
        let mut free = lock(&self.free);
        free.push(compressor);
        // Saving less than one part in 32 is not worth the time to unpack it.
        if packed.len() < plain.len() - plain.len() / 32 {
            return Ok((Encoding::Zstd, packed.into()));
        }
        Ok((Encoding::Raw, plain))
    }
}
