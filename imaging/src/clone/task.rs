//! What is to be done with each chunk, in order.

use super::{Prepared, within};
use crate::change::Rung;
use crate::chunk::{self, Digest};
use crate::error::Result;
use klon_partition::{Extent, ExtentMap};
use std::iter::Peekable;

/// One chunk of the source.
pub(super) struct Task {
    pub(super) chunk: Extent,
    /// What of it is read.
    pub(super) copy: Vec<Extent>,
    /// What of it the target shall share with the source: `copy`, and what is known to be zero.
    pub(super) wanted: Vec<Extent>,
    /// The digest that the target's chunk is known to have, all of `wanted` included.
    pub(super) known: Option<Digest>,
}

/// The tasks of a run.
pub(super) fn tasks(prepared: &Prepared) -> Result<impl Iterator<Item = Result<Task>> + Send + '_> {
    let mut known = Known::new(prepared)?;
    let Prepared { plan, wanted, .. } = prepared;
    Ok(chunk::chunks(wanted, plan.source_bytes).map(move |chunk| {
        let wanted = within(wanted, chunk);
        let known = match &mut known {
            Some(known) => known.digest(chunk, &wanted)?,
            None => None,
        };
        Ok(Task {
            chunk,
            copy: within(&plan.copy, chunk),
            wanted,
            known,
        })
    }))
}

type Digests<'a> = Box<dyn Iterator<Item = Result<(Extent, Digest)>> + Send + 'a>;

/// What the record knows of the target, gone through in step with the tasks.
struct Known<'a> {
    wanted: ExtentMap,
    digests: Peekable<Digests<'a>>,
}

impl<'a> Known<'a> {
    fn new(prepared: &'a Prepared) -> Result<Option<Self>> {
        let is_believed = prepared.selection.rung == Rung::Digest;
        let Some(record) = prepared.previous.as_ref().filter(|_| is_believed) else {
            return Ok(None);
        };
        let digests: Digests<'a> = Box::new(record.digests()?);
        Ok(Some(Self {
            wanted: record.wanted(),
            digests: digests.peekable(),
        }))
    }

    /// The digest of `chunk`, if the record has one and describes all of `wanted`.
    ///
    /// A block that is in use only now may be zero and leave the digest as it was, while the
    /// target holds something old there: so the digest alone is not enough.
    fn digest(&mut self, chunk: Extent, wanted: &[Extent]) -> Result<Option<Digest>> {
        let is_before = |item: &Result<(Extent, Digest)>| {
            item.as_ref()
                .is_ok_and(|(at, _)| at.offset_bytes() < chunk.offset_bytes())
        };
        while self.digests.next_if(is_before).is_some() {}
        let is_here = |item: &Result<(Extent, Digest)>| {
            item.as_ref()
                .map_or(true, |(at, _)| at.offset_bytes() == chunk.offset_bytes())
        };
        let Some(item) = self.digests.next_if(is_here) else {
            return Ok(None);
        };
        let (_, digest) = item?;
        let is_described = wanted.iter().all(|&extent| self.wanted.contains(extent));
        Ok(is_described.then_some(digest))
    }
}
