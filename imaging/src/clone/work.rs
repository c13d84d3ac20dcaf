//! What the worker threads do with a chunk: read, digest, find what differs.

mod in_part;

use super::known::Knowledge;
use super::task::Task;
use super::{Job, Rewrite};
use crate::buffer::{Pool, Pooled};
use crate::change::proven::signatures_in;
use crate::change::sectors::SectorCheck;
use crate::change::sums;
use crate::chunk::{
    CHUNK_LEN, Digest, Digested, Pieces, differing, read_chunk, read_data, to_len, touched,
};
use crate::error::{Error, Result};
use crate::record::digest_of;
use bytes::Bytes;
use klon_partition::{Extent, ExtentMap, ReadAt};

pub(super) struct Worker<'a> {
    source: &'a dyn ReadAt,
    target: &'a dyn ReadAt,
    digested: Digested,
    rewrite: Rewrite,
    /// Whether signatures are looked for.
    is_searched: bool,
    /// Compares what is read with the filesystem's checksums.
    check: Option<&'a SectorCheck<'a>>,
    pool: Pool,
    zeroes: Bytes,
}

/// What was found out about a chunk.
pub(super) struct Outcome {
    pub(super) chunk: Extent,
    pub(super) digest: Digest,
    /// The digests of its pieces, where they are known.
    pub(super) pieces: Option<Box<Pieces>>,
    /// The digest of its metadata, if there is any that goes into the record.
    pub(super) metadata: Option<Digest>,
    /// The chunk with everything that is not data taken as zero.
    pub(super) content: Bytes,
    /// What must be written to the target.
    pub(super) changed: Vec<Extent>,
    pub(super) wanted_bytes: u64,
    pub(super) read_source_bytes: u64,
    pub(super) read_target_bytes: u64,
    /// How its content is known.
    pub(super) seen: Seen,
}

/// How the content of a chunk is known.
pub(super) enum Seen {
    /// The chunk was read. The extents are signatures of data that is written past the filesystem, if anyone
    /// asks for them.
    Read(Vec<Extent>),
    /// The source keeps the chunk's digest.
    Kept,
    /// The chunk is proven to be as the record says. The number is the bytes that were not read.
    Proven(u64),
    /// The bytes that could have changed were read, and are as the record says. The number is the bytes that
    /// were not read.
    Same(u64),
    /// The unproven part was read from the source, and the rest from the target, which has what the record
    /// says.
    InPart {
        /// Bytes that were not read from the source.
        unread_bytes: u64,
        /// The same as those of [`Read`](Self::Read), in what was read.
        signatures: Vec<Extent>,
        /// What was read on neither side.
        untouched: ExtentMap,
    },
}

impl Seen {
    /// How many bytes of the source are what the record says, and were not read for that.
    pub(super) const fn unread_bytes(&self) -> u64 {
        match self {
            Self::Read(_) | Self::Kept => 0,
            Self::Proven(bytes)
            | Self::Same(bytes)
            | Self::InPart {
                unread_bytes: bytes,
                ..
            } => *bytes,
        }
    }
}

/// How chunks are worked on.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) digested: Digested,
    pub(super) rewrite: Rewrite,
    /// Whether signatures are looked for.
    pub(super) is_searched: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(job: &Job<'a>, manner: Manner, check: Option<&'a SectorCheck<'a>>) -> Self {
        let Manner {
            digested,
            rewrite,
            is_searched,
        } = manner;
        let pool = Pool::new(CHUNK_LEN);
        Self {
            source: job.source,
            target: job.target,
            digested,
            rewrite,
            is_searched,
            check,
            // A new buffer of the pool is zero.
            zeroes: pool.take().freeze(),
            pool,
        }
    }

    pub(super) fn process(&self, task: &Task) -> Result<Outcome> {
        if let Some(digest) = task.proven() {
            let copied = task.copy.iter().map(|extent| extent.len_bytes());
            let seen = Seen::Proven(copied.sum());
            return Ok(self.same(task, digest, seen, 0));
        }
        if let Some(part) = &task.part {
            return self.in_part(task, part);
        }
        let current = match self.kept(task)? {
            Some(kept) => match self.compare(task, kept)? {
                Compared::Same(outcome) => return Ok(outcome),
                Compared::Read(current) => Some(current),
                Compared::Unread => None,
            },
            None => None,
        };
        self.whole(task, task.known, current)
    }

    /// Works on a chunk that is read whole. `known` says what the target has, or `current` is that.
    fn whole(&self, task: &Task, known: Knowledge, current: Option<Current>) -> Result<Outcome> {
        let chunk = task.chunk;
        let Content {
            bytes: content,
            read_bytes: read_source_bytes,
        } = self.content(task)?;
        self.compare_sums(chunk, &task.copy, &content);
        // Where nothing is to be read, the chunk is zero and its digest is known.
        let (digest, pieces) = self.digest(&content, task.copy.is_empty());
        let metadata = self.metadata(task, &content, digest);
        let (changed, read_target_bytes) = match self.rewritten(known, digest) {
            Rewritten::Nothing => (Vec::new(), 0),
            Rewritten::Everything => (task.wanted.clone(), 0),
            Rewritten::Differing => {
                let wanted = may_differ(task, known, pieces.as_deref());
                let current = match current {
                    Some(current) => current,
                    None => self.current(chunk, &wanted)?,
                };
                let changed = differing(chunk, &wanted, &content, &current.content);
                (changed, current.read_bytes)
            }
        };
        Ok(Outcome {
            seen: Seen::Read(self.signatures(task, &content)),
            chunk,
            digest,
            pieces,
            metadata,
            content,
            changed,
            wanted_bytes: task.wanted_bytes(),
            read_source_bytes,
            read_target_bytes,
        })
    }

    /// The digest of a chunk with that content, and those of its pieces where that is of them.
    fn digest(&self, content: &[u8], is_zero: bool) -> (Digest, Option<Box<Pieces>>) {
        match self.digested {
            Digested::Whole => {
                let zero = Digest::of_zeroes(content.len()).filter(|_| is_zero);
                (zero.unwrap_or_else(|| Digest::of(content)), None)
            }
            Digested::InPieces => {
                let zero = Pieces::of_zeroes(content.len()).filter(|_| is_zero);
                let pieces = zero.unwrap_or_else(|| Pieces::of(content));
                (pieces.digest(), Some(Box::new(pieces)))
            }
        }
    }

    /// The digest of the metadata in a chunk, if there is any. `digest` is that of the chunk.
    fn metadata(&self, task: &Task, content: &[u8], digest: Digest) -> Option<Digest> {
        let whole = (self.digested == Digested::Whole).then_some(digest);
        let is_any = !task.metadata.is_empty();
        is_any.then(|| digest_of(task.chunk, &task.metadata, content, whole))
    }

    /// Where signatures are in a chunk, if anyone asks.
    fn signatures(&self, task: &Task, content: &[u8]) -> Vec<Extent> {
        match self.is_searched && !task.copy.is_empty() {
            true => signatures_in(task.chunk.offset_bytes(), content).collect(),
            false => Vec::new(),
        }
    }

    /// The chunk as it is on the source.
    fn content(&self, task: &Task) -> Result<Content> {
        let len = to_len(task.chunk.len_bytes());
        if task.copy.is_empty() {
            // Volumes in sparse files have many such chunks: no need to fill a buffer for each.
            return Ok(Content {
                bytes: self.zeroes.slice(..len),
                read_bytes: 0,
            });
        }
        let mut content = self.pool.take();
        let read_bytes =
            read_chunk(self.source, task.chunk, &task.copy, &mut content).map_err(Error::Source)?;
        Ok(Content {
            bytes: content.freeze().slice(..len),
            read_bytes,
        })
    }

    /// Compares what was `read` of a chunk with the filesystem's checksums.
    fn compare_sums(&self, chunk: Extent, read: &[Extent], content: &[u8]) {
        if let Some(check) = self.check {
            sums::look(check, read, chunk.offset_bytes(), content);
        }
    }

    /// The digest of a chunk, where the source keeps it and nothing else of the chunk is needed.
    fn kept(&self, task: &Task) -> Result<Option<Digest>> {
        if !task.is_plain() || self.digested != Digested::Whole {
            return Ok(None);
        }
        let Some(kept) = self.source.sha256(task.chunk).map_err(Error::Source)? else {
            return Ok(None);
        };
        // The kept digest covers all data of the chunk, also data that is not to be copied.
        let data = self.source.data(task.chunk).map_err(Error::Source)?;
        let copy: ExtentMap = task.copy.iter().copied().collect();
        Ok(data.difference(&copy).is_empty().then_some(Digest(kept)))
    }

    /// Whether the target has a chunk already, by the digest that the source keeps.
    fn compare(&self, task: &Task, digest: Digest) -> Result<Compared> {
        let current = match task.known {
            Knowledge::Digest(known) if known == digest => None,
            Knowledge::InPieces | Knowledge::Unknown => {
                let len = to_len(task.chunk.len_bytes());
                let current = self.current(task.chunk, &task.wanted)?;
                if Digest::of(&current.content[..len]) != digest {
                    return Ok(Compared::Read(current));
                }
                Some(current)
            }
            Knowledge::Digest(_) | Knowledge::Nothing => return Ok(Compared::Unread),
        };
        let read_bytes = current.map_or(0, |current| current.read_bytes);
        let outcome = self.same(task, digest, Seen::Kept, read_bytes);
        Ok(Compared::Same(outcome))
    }

    /// A chunk that the target has already, without its content.
    fn same(&self, task: &Task, digest: Digest, seen: Seen, read_target_bytes: u64) -> Outcome {
        Outcome {
            chunk: task.chunk,
            digest,
            pieces: task.pieces.clone(),
            metadata: None,
            // Nothing of it will be written.
            content: self.zeroes.slice(..to_len(task.chunk.len_bytes())),
            changed: Vec::new(),
            wanted_bytes: task.wanted_bytes(),
            read_source_bytes: 0,
            read_target_bytes,
            seen,
        }
    }

    /// What the target has in `extents` of a chunk.
    fn current(&self, chunk: Extent, extents: &[Extent]) -> Result<Current> {
        let mut content = self.pool.take();
        let read_bytes =
            read_data(self.target, chunk, extents, &mut content).map_err(Error::Target)?;
        Ok(Current {
            content,
            read_bytes,
        })
    }

    /// What must be written of a chunk with that digest, by what is known of the target.
    fn rewritten(&self, known: Knowledge, digest: Digest) -> Rewritten {
        match known {
            Knowledge::Digest(known) if known == digest => Rewritten::Nothing,
            Knowledge::Nothing => Rewritten::Everything,
            Knowledge::Digest(_) if self.rewrite == Rewrite::Chunks => Rewritten::Everything,
            Knowledge::Digest(_) | Knowledge::InPieces | Knowledge::Unknown => Rewritten::Differing,
        }
    }
}

/// What is in use of a chunk, but for pieces that the target is known to have: `pieces` are those of the source.
fn may_differ(task: &Task, known: Knowledge, pieces: Option<&Pieces>) -> Vec<Extent> {
    let there = match (known, task.pieces.as_deref()) {
        (Knowledge::Digest(known), Some(there)) if there.digest() == known => there,
        (Knowledge::InPieces, Some(there)) => there,
        _ => return task.wanted.clone(),
    };
    let (Some(pieces), Some(described)) = (pieces, &task.described) else {
        return task.wanted.clone();
    };
    let wanted: ExtentMap = task.wanted.iter().copied().collect();
    // A block that is in use only now may be zero and leave the digest as it was, while the target holds
    // something old there.
    let new = touched(task.chunk, &wanted.difference(described));
    let differing = there.differing(task.chunk, pieces).union(&new);
    wanted.intersection(&differing).iter().collect()
}

/// A chunk as it is on the source.
struct Content {
    bytes: Bytes,
    /// How many bytes were read for that.
    read_bytes: u64,
}

/// What must be written of a chunk.
enum Rewritten {
    /// The target has it.
    Nothing,
    /// All of it, without a look at the target.
    Everything,
    /// Blocks that differ from what the target has.
    Differing,
}

/// What a comparison by the source's digest showed.
enum Compared {
    /// The target has the chunk already.
    Same(Outcome),
    /// It has another one, which was read.
    Read(Current),
    /// The target was not read, and may have another one.
    Unread,
}

/// The target's chunk.
struct Current {
    /// What was read of it; everything else is zero.
    content: Pooled,
    read_bytes: u64,
}
