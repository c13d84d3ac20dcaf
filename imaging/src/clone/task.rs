//! What is to be done with each chunk, in order.

use super::known::{Knowledge, Known, Recorded};
use super::prepared::Prepared;
use super::within;
use crate::change::{InPart, Proof};
use crate::chunk::{self, Digest, Pieces};
use crate::error::Result;
use klon_partition::{Extent, ExtentMap};

/// One chunk of the source.
pub(super) struct Task {
    pub(super) chunk: Extent,
    /// The extents that are read.
    pub(super) copy: Vec<Extent>,
    /// The extents that the target shall share with the source: `copy`, and what is known to be zero.
    pub(super) wanted: Vec<Extent>,
    /// The extents of `wanted` that are the filesystem's metadata, if its digests go into the record.
    pub(super) metadata: Vec<Extent>,
    /// What is known of the target's chunk.
    pub(super) known: Knowledge,
    /// Whether its content is proven to be as the record says.
    pub(super) is_proven: bool,
    /// The part that is proven, if that is most of the chunk.
    pub(super) part: Option<PartlyProven>,
    /// What the record says of its pieces. An unchanged chunk keeps their digests; of a changed one, only pieces with
    /// other digests are read from the target.
    pub(super) pieces: Option<Box<Pieces>>,
    /// What `known` describes. `None` if that does not lie on the target: an earlier pass has staged it.
    pub(super) described: Option<ExtentMap>,
}

/// A chunk that is proven in part to be as the record says.
pub(super) struct PartlyProven {
    /// What is proven, and what is not.
    pub(super) extents: InPart,
    /// The record's digest of the chunk.
    pub(super) digest: Digest,
    /// The record's digest of the chunk's metadata, if nothing else of the chunk can have changed.
    pub(super) metadata: Option<Digest>,
}

impl PartlyProven {
    /// The proven part of a chunk that has `metadata`. `recorded` is what the record says of the chunk.
    pub(super) fn of(extents: InPart, metadata: &[Extent], recorded: &Recorded) -> Option<Self> {
        let metadata: ExtentMap = metadata.iter().copied().collect();
        let doubtful = extents.doubtful.as_ref();
        let is_all = doubtful.is_some_and(|doubtful| doubtful.difference(&metadata).is_empty());
        Some(Self {
            digest: recorded.digest?,
            metadata: recorded.metadata.filter(|_| is_all),
            extents,
        })
    }
}

impl Task {
    /// How much of it the target shall share with the source.
    pub(super) fn wanted_bytes(&self) -> u64 {
        self.wanted.iter().map(|extent| extent.len_bytes()).sum()
    }

    /// Whether its content is not needed when the target has it already. The first chunk is needed at the
    /// end, and metadata for a digest of its own.
    pub(super) const fn is_plain(&self) -> bool {
        self.metadata.is_empty() && self.chunk.offset_bytes() != 0
    }

    /// The digest of a chunk that need not be read, on either side.
    pub(super) fn proven(&self) -> Option<Digest> {
        match self.known {
            Knowledge::Digest(digest) if self.is_proven && self.is_plain() => Some(digest),
            _ => None,
        }
    }
}

/// The task of the first chunk, which is held back, and the tasks of the others in order. The record keeps
/// digests of `metadata`.
pub(super) fn tasks<'a>(
    prepared: &'a Prepared,
    metadata: &'a ExtentMap,
) -> Result<(Task, impl Iterator<Item = Result<Task>> + Send + 'a)> {
    let mut known = Known::new(prepared)?;
    let Prepared {
        plan,
        wanted,
        first,
        ..
    } = prepared;
    let proof = prepared.selection.approach.proof();
    let mut task = move |chunk| {
        let wanted = within(wanted, chunk);
        let copy = within(&plan.copy, chunk);
        let metadata = within(metadata, chunk);
        let (known, recorded) = known.of(chunk, &wanted, &metadata)?;
        let covers = |proof: &Proof| proof.unchanged.covers(chunk, &wanted);
        let is_proven = proof.is_some_and(covers);
        // The first one is held back, and comes to the target by itself.
        let proof = proof.filter(|_| !is_proven && chunk != *first);
        let part = proof.and_then(|proof| proof.unchanged.in_part(chunk, &copy, &wanted));
        Ok(Task {
            part: part.and_then(|part| PartlyProven::of(part, &metadata, &recorded)),
            pieces: recorded.pieces,
            described: Some(recorded.described),
            is_proven,
            chunk,
            copy,
            metadata,
            wanted,
            known,
        })
    };
    let first_task = task(*first)?;
    let others = chunk::chunks(wanted, plan.source_bytes).filter(move |chunk| chunk != first);
    Ok((first_task, others.map(task)))
}
