//! What is done with each chunk: read, digest, compare with what is there, compress.

mod in_part;

use super::super::dedup::Dedup;
use super::super::encoded::{Encoded, Plain};
use super::super::frame::Encoding;
use super::super::reference::Reference;
use super::super::snapshot::Snapshot;
use super::sums::Checks;
use crate::buffer::Pool;
use crate::change::InPart;
use crate::change::proven::signatures_in;
use crate::chunk::{Digest, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::rung::Rung;
use bytes::Bytes;
use klon_partition::bytes::is_zero;
use klon_partition::locks::{lock, read_lock};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::sync::{Mutex, RwLock};
use zstd::bulk::Compressor;

/// A chunk of the source.
pub(super) struct Task {
    pub(super) chunk: Extent,
    /// The extents that are read.
    pub(super) copy: Vec<Extent>,
    /// What the snapshot before has there.
    pub(super) known: Option<Reference>,
    /// Whether its content is proven to be what the snapshot before has there.
    pub(super) is_proven: bool,
    /// The part that is proven, if that is most of the chunk.
    pub(super) part: Option<InPart>,
    /// Its content, where that came in order.
    pub(super) content: Option<Bytes>,
}

impl Task {
    /// What the snapshot before has there, if that is as long.
    fn known(&self) -> Option<Reference> {
        let is_same_len =
            |known: &Reference| u64::from(known.plain_bytes) == self.chunk.len_bytes();
        self.known.filter(is_same_len)
    }

    /// Where a chunk is stored that need not be read.
    pub(super) fn proven(&self) -> Option<Reference> {
        self.known().filter(|_| self.is_proven)
    }
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
    /// How its content is known.
    pub(super) seen: Seen,
}

/// How the content of a chunk is known.
pub(super) enum Seen {
    /// The chunk was read. The extents are signatures of data that is written past the filesystem, if anyone
    /// asks for them.
    Read(Vec<Extent>),
    /// The source keeps the chunk's digest, so that nobody looked at the content.
    Kept,
    /// The chunk is proven to be what the snapshot before has.
    Proven,
    /// The unproven part was read, and the rest is what the snapshot before has.
    InPart {
        /// Bytes that were not read.
        unread_bytes: u64,
        /// The same as those of [`Read`](Self::Read).
        signatures: Vec<Extent>,
    },
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
    pub(super) source: &'a dyn ReadAt,
    pub(super) rung: Rung,
    /// Whether the source compares what is read of it with its digests.
    pub(super) is_checked: bool,
    /// Whether signatures are looked for.
    pub(super) is_searched: bool,
    pub(super) previous: Option<&'a Snapshot>,
    pub(super) dedup: &'a RwLock<Dedup>,
    /// Compares what is read with the checksums of filesystems.
    pub(super) checks: &'a Checks<'a>,
    pub(super) pool: Pool,
    pub(super) compressors: Compressors,
}

/// A chunk that was read.
struct Read {
    plain: Bytes,
    digest: Digest,
    read_source_bytes: u64,
    seen: Seen,
}

impl Worker<'_> {
    pub(super) fn process(&self, task: &Task) -> Result<Outcome> {
        if let Some(known) = task.proven() {
            return Ok(self.unread(task, known, Seen::Proven));
        }
        let kept = self.kept(task)?;
        if let Some(found) = kept.and_then(|digest| self.found(task, digest)) {
            return Ok(self.unread(task, found, Seen::Kept));
        }
        if let Some(outcome) = self.in_part(task)? {
            return Ok(outcome);
        }
        let len = to_len(task.chunk.len_bytes());
        let read = match &task.content {
            Some(content) => ReadChunk {
                plain: content.clone(),
                read_bytes: bytes_of(&task.copy),
            },
            None => self.read(task, len)?,
        };
        let (plain, read_source_bytes) = (read.plain, read.read_bytes);
        self.checks.look(task.chunk, &task.copy, &plain);
        let checked = kept.filter(|_| self.is_checked);
        let digest = checked.unwrap_or_else(|| Digest::of(&plain));
        let seen = match kept {
            Some(_) => Seen::Kept,
            None => Seen::Read(self.signatures(task, &plain)),
        };
        let read = Read {
            plain,
            digest,
            read_source_bytes,
            seen,
        };
        self.read_outcome(task, read)
    }

    /// Where signatures are in a chunk, if anyone asks. To be called behind the digest, which leaves the chunk
    /// in the processor's cache: the search touches one line in eight, and would wait for the memory of each.
    fn signatures(&self, task: &Task, plain: &[u8]) -> Vec<Extent> {
        match self.is_searched {
            true => signatures_in(task.chunk.offset_bytes(), plain).collect(),
            false => Vec::new(),
        }
    }

    /// What becomes of a chunk that was read.
    fn read_outcome(&self, task: &Task, read: Read) -> Result<Outcome> {
        let Read {
            plain,
            digest,
            read_source_bytes,
            seen,
        } = read;
        let plain_bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        let same = task.known().filter(|known| known.digest == digest);
        let content = match same {
            Some(known) if self.is_sound(&known, &plain) => Content::Known(known),
            _ => self.stored_or_new(plain, digest, plain_bytes)?,
        };
        Ok(Outcome {
            chunk: task.chunk,
            read_source_bytes,
            copy_bytes: bytes_of(&task.copy),
            // Zeroes that were written over a hole read the same.
            is_changed: same.is_none() && !(self.is_hole_before(task) && content.is_zero()),
            content,
            seen,
        })
    }

    /// A chunk that the image has, without its content.
    fn unread(&self, task: &Task, reference: Reference, seen: Seen) -> Outcome {
        let is_same = |known: Reference| known.digest == reference.digest;
        let is_zero_over_hole = self.is_hole_before(task) && reference.is_zero();
        Outcome {
            chunk: task.chunk,
            read_source_bytes: 0,
            copy_bytes: bytes_of(&task.copy),
            is_changed: !task.known().is_some_and(is_same) && !is_zero_over_hole,
            content: Content::Known(reference),
            seen,
        }
    }

    /// The digest of a chunk, where the source keeps it.
    fn kept(&self, task: &Task) -> Result<Option<Digest>> {
        if task.content.is_some() {
            return Ok(None);
        }
        let kept = self.source.sha256(task.chunk).map_err(Error::Source)?;
        let Some(kept) = kept else {
            return Ok(None);
        };
        // It covers all data of the chunk, also data that is not to be stored.
        let data = self.source.data(task.chunk).map_err(Error::Source)?;
        let copy: ExtentMap = task.copy.iter().copied().collect();
        Ok(data.difference(&copy).is_empty().then_some(Digest(kept)))
    }

    /// Where the image has a chunk of that digest. A comparing run has to look at it.
    fn found(&self, task: &Task, digest: Digest) -> Option<Reference> {
        if self.rung == Rung::Compare {
            return None;
        }
        let len = to_len(task.chunk.len_bytes());
        let plain_bytes = u32::try_from(len).unwrap_or(u32::MAX);
        if Digest::of_zeroes(len) == Some(digest) {
            return Some(Reference::of_zeroes(plain_bytes, digest));
        }
        let same = task.known().filter(|known| known.digest == digest);
        same.or_else(|| read_lock(self.dedup).find(digest, plain_bytes))
    }

    /// Whether the snapshot before has nothing there.
    const fn is_hole_before(&self, task: &Task) -> bool {
        self.previous.is_some() && task.known.is_none()
    }

    fn read(&self, task: &Task, len: usize) -> Result<ReadChunk> {
        let mut buffer = self.pool.take();
        let read_source_bytes =
            read_chunk(self.source, task.chunk, &task.copy, &mut buffer).map_err(Error::Source)?;
        Ok(ReadChunk {
            plain: buffer.freeze().slice(..len),
            read_bytes: read_source_bytes,
        })
    }

    fn stored_or_new(&self, plain: Bytes, digest: Digest, plain_bytes: u32) -> Result<Content> {
        if is_zero(&plain) {
            return Ok(Content::Known(Reference::of_zeroes(plain_bytes, digest)));
        }
        let found = {
            let dedup = read_lock(self.dedup);
            dedup.find(digest, plain_bytes)
        };
        match found {
            Some(found) if self.is_sound(&found, &plain) => Ok(Content::Known(found)),
            _ => self.new_content(plain, digest),
        }
    }

    /// What is stored of a chunk, whatever the image has.
    fn new_content(&self, plain: Bytes, digest: Digest) -> Result<Content> {
        let plain_bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        if is_zero(&plain) {
            return Ok(Content::Known(Reference::of_zeroes(plain_bytes, digest)));
        }
        let (encoding, payload) = self.compressors.compress(plain)?;
        let plain = Plain {
            len_bytes: plain_bytes,
            digest,
        };
        let encoded = Encoded::new(encoding, payload, plain);
        Ok(Content::New(encoded))
    }

    /// Whether the stored chunk is sound. Only a comparing run looks at it.
    fn is_sound(&self, reference: &Reference, plain: &Bytes) -> bool {
        let Some(previous) = self.previous.filter(|_| self.rung == Rung::Compare) else {
            return true;
        };
        let mut stored = self.pool.take();
        let stored = &mut stored[..plain.len()];
        is_of_this_run(previous, reference)
            || previous
                .read_chunk(reference, stored)
                .is_ok_and(|()| stored == plain)
    }
}

/// A chunk as it is on the source.
struct ReadChunk {
    plain: Bytes,
    /// How many bytes were read for that.
    read_bytes: u64,
}

/// Whether this run stored a chunk: what it has stored lies behind the file as it was opened.
fn is_of_this_run(previous: &Snapshot, reference: &Reference) -> bool {
    !reference.is_zero() && reference.position >= previous.image().size_bytes()
}

fn bytes_of(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.len_bytes()).sum()
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
pub(super) struct Compressors {
    level: i32,
    free: Mutex<Vec<Compressor<'static>>>,
}

impl Compressors {
    pub(super) const fn new(level: i32) -> Self {
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
