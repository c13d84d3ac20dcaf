//! What is to be done with each chunk, in order.

use super::known::{Knowledge, Known};
use super::{Prepared, within};
use crate::change::Proof;
use crate::chunk::{self, Digest};
use crate::error::Result;
use klon_partition::{Extent, ExtentMap};

/// One chunk of the source.
pub(super) struct Task {
    pub(super) chunk: Extent,
    /// What of it is read.
    pub(super) copy: Vec<Extent>,
    /// What of it the target shall share with the source: `copy`, and what is known to be zero.
    pub(super) wanted: Vec<Extent>,
    /// What of `wanted` is the filesystem's metadata, where that goes into the record.
    pub(super) metadata: Vec<Extent>,
    /// What is known of the target's chunk.
    pub(super) known: Knowledge,
    /// Whether its content is proven to be as the record says.
    pub(super) is_proven: bool,
}

impl Task {
    /// How much of it the target shall share with the source.
    pub(super) fn wanted_bytes(&self) -> u64 {
        self.wanted.iter().map(|extent| extent.len_bytes()).sum()
    }

    /// Whether its content is not needed when the target has it already. The first chunk is held
    /// back until the end, and of metadata there is a digest of its own.
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
        let known = known.of(chunk, &wanted)?;
        let covers = |proof: &Proof| proof.unchanged.covers(chunk, &wanted);
        Ok(Task {
            is_proven: proof.is_some_and(covers),
            chunk,
            copy: within(&plan.copy, chunk),
            metadata: within(metadata, chunk),
            wanted,
            known,
        })
    };
    let first_task = task(*first)?;
    let others = chunk::chunks(wanted, plan.source_bytes).filter(move |chunk| chunk != first);
    Ok((first_task, others.map(task)))
}
