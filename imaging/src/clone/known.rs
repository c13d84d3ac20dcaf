//! What is known of the target's chunks before a run: from its record, and from the log of a run
//! that was interrupted.

use super::prepared::Prepared;
use crate::change::{Approach, Resume};
use crate::chunk::{self, Digest, InStep, Pieces};
use crate::error::Result;
use crate::intent::Untouched;
use crate::record::Record;
use klon_partition::{Extent, ExtentMap};

/// What is known of a chunk of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// It has this digest, all of what the source uses there included.
    Digest(Digest),
    /// The record describes another part of it than the source uses now, and knows the digests of its pieces.
    InPieces,
    /// It must be read.
    Unknown,
    /// Nothing of it is worth reading.
    Nothing,
}

/// What is known, to be asked for chunk by chunk, in order.
pub(super) struct Known<'a> {
    /// From the log of an interrupted run, with the chunks that it may have touched.
    log: Option<(Digests<'a>, &'a ExtentMap)>,
    record: Option<Digests<'a>>,
    /// What the record says of metadata, where it is relied on that some files are what it says.
    metadata: Option<Digests<'a>>,
    /// What it says of the pieces of chunks.
    pieces: Option<InStep<PiecesOf<'a>>>,
    /// Of chunks that neither knows.
    otherwise: Knowledge,
}

impl<'a> Known<'a> {
    pub(super) fn new(prepared: &'a Prepared) -> Result<Self> {
        let of_record = |record: &'a Record| -> Result<Digests<'a>> {
            Ok(Digests::numbered(record.wanted(), record.digests()?))
        };
        Ok(match &prepared.selection.approach {
            Approach::Full => Self::alike(Knowledge::Nothing),
            Approach::Compare => Self::alike(Knowledge::Unknown),
            Approach::Digest(record) => Self {
                record: Some(of_record(record)?),
                pieces: pieces_of(record)?,
                ..Self::alike(Knowledge::Unknown)
            },
            Approach::Metadata(proof) | Approach::Tracked(proof) => {
                let metadata = proof.record.metadata()?;
                Self {
                    record: Some(of_record(&proof.record)?),
                    metadata: metadata
                        .map(|(map, digests)| Digests::numbered(map.clone(), digests)),
                    pieces: pieces_of(&proof.record)?,
                    ..Self::alike(Knowledge::Unknown)
                }
            }
            Approach::Resume(resume) => {
                let Resume {
                    interrupted,
                    record,
                } = &**resume;
                let done = Box::new(interrupted.done()?);
                let digests = Digests::new(interrupted.wanted.clone(), done);
                Self {
                    log: Some((digests, &interrupted.touched)),
                    record: record.as_deref().map(of_record).transpose()?,
                    metadata: None,
                    pieces: None,
                    otherwise: match interrupted.meta.untouched {
                        Untouched::Nothing => Knowledge::Nothing,
                        Untouched::Unknown | Untouched::Record(_) => Knowledge::Unknown,
                    },
                }
            }
        })
    }

    const fn alike(otherwise: Knowledge) -> Self {
        Self {
            log: None,
            record: None,
            metadata: None,
            pieces: None,
            otherwise,
        }
    }

    /// What is known of `chunk`. The source uses `wanted` of it; `metadata` is the metadata among that.
    pub(super) fn of(
        &mut self,
        chunk: Extent,
        wanted: &[Extent],
        metadata: &[Extent],
    ) -> Result<(Knowledge, Recorded)> {
        let recorded = Recorded {
            digest: match &mut self.record {
                Some(record) => record.at(chunk)?,
                None => None,
            },
            metadata: match &mut self.metadata {
                Some(record) => {
                    let digest = record.at(chunk)?;
                    digest.filter(|_| record.describes_just(chunk, metadata))
                }
                None => None,
            },
            pieces: match &mut self.pieces {
                Some(pieces) => pieces.at(chunk::index(chunk))?.flatten().map(Box::new),
                None => None,
            },
            described: match &self.record {
                Some(record) => record.wanted.within(chunk).collect(),
                None => ExtentMap::new(),
            },
        };
        if let Some((log, touched)) = &mut self.log {
            let digest = log.at(chunk)?;
            if let Some(digest) = digest.filter(|_| log.describes(wanted)) {
                return Ok((Knowledge::Digest(digest), recorded));
            }
            if touched.overlaps(chunk) {
                return Ok((Knowledge::Unknown, recorded));
            }
        }
        let is_described = wanted.iter().all(|&it| recorded.described.contains(it));
        let known = match recorded.digest {
            Some(digest) if is_described => Knowledge::Digest(digest),
            Some(_) if recorded.own_pieces().is_some() => Knowledge::InPieces,
            _ => self.otherwise,
        };
        Ok((known, recorded))
    }
}

/// What the record says of a chunk, whatever the source uses of it now.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The digest of what it describes of the chunk.
    pub(super) digest: Option<Digest>,
    /// The digest of the metadata in the chunk, if that lies where it is now.
    pub(super) metadata: Option<Digest>,
    /// The digests of its pieces.
    pub(super) pieces: Option<Box<Pieces>>,
    /// What of it the record describes.
    pub(super) described: ExtentMap,
}

impl Recorded {
    /// The digests of its pieces, if they are those of the chunk's digest.
    fn own_pieces(&self) -> Option<&Pieces> {
        let pieces = self.pieces.as_deref();
        pieces.filter(|pieces| Some(pieces.digest()) == self.digest)
    }
}

type PiecesOf<'a> = Box<dyn Iterator<Item = Result<(u64, Option<Pieces>)>> + Send + 'a>;

/// What a record says of the pieces of its chunks, in step with them.
fn pieces_of(record: &Record) -> Result<Option<InStep<PiecesOf<'_>>>> {
    let Some(pieces) = record.pieces()? else {
        return Ok(None);
    };
    let numbered = pieces.map(|item| item.map(|(at, pieces)| (chunk::index(at), pieces)));
    Ok(Some(InStep::new(Box::new(numbered))))
}

type Items<'a> = Box<dyn Iterator<Item = Result<(u64, Digest)>> + Send + 'a>;

/// Digests of chunks, and what of the chunks they describe.
struct Digests<'a> {
    wanted: ExtentMap,
    items: InStep<Items<'a>>,
}

impl<'a> Digests<'a> {
    fn new(wanted: ExtentMap, items: Items<'a>) -> Self {
        let items = InStep::new(items);
        Self { wanted, items }
    }

    /// Digests of the chunks that have some of `wanted`.
    fn numbered(
        wanted: ExtentMap,
        digests: impl Iterator<Item = Result<(Extent, Digest)>> + Send + 'a,
    ) -> Self {
        let numbered = digests.map(|item| item.map(|(at, digest)| (chunk::index(at), digest)));
        Self::new(wanted, Box::new(numbered))
    }

    /// The digest of `chunk`, if there is one.
    fn at(&mut self, chunk: Extent) -> Result<Option<Digest>> {
        self.items.at(chunk::index(chunk))
    }

    /// Whether the digests are of all of `wanted`.
    ///
    /// A block that is in use only now may be zero and leave the digest as it was, while the
    /// target holds something old there: so the digest alone is not enough.
    fn describes(&self, wanted: &[Extent]) -> bool {
        wanted.iter().all(|&extent| self.wanted.contains(extent))
    }

    /// Whether they are of that and nothing else of `chunk`.
    fn describes_just(&self, chunk: Extent, wanted: &[Extent]) -> bool {
        self.wanted.within(chunk).eq(wanted.iter().copied())
    }
}
