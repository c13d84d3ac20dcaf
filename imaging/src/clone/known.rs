//! What is known of the target's chunks before a run: from its record, and from the log of a run
//! that was interrupted.

use super::Prepared;
use crate::change::{Approach, Resume};
use crate::chunk::{self, Digest, InStep};
use crate::error::Result;
use crate::intent::Untouched;
use crate::record::Record;
use klon_partition::{Extent, ExtentMap};

/// What is known of a chunk of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// It has this digest, all of what the source uses there included.
    Digest(Digest),
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
    /// Of chunks that neither knows.
    otherwise: Knowledge,
}

impl<'a> Known<'a> {
    pub(super) fn new(prepared: &'a Prepared) -> Result<Self> {
        let of_record = |record: &'a Record| -> Result<Digests<'a>> {
            let digests = record.digests()?;
            let numbered = digests.map(|item| item.map(|(at, digest)| (chunk::index(at), digest)));
            Ok(Digests::new(record.wanted(), Box::new(numbered)))
        };
        Ok(match &prepared.selection.approach {
            Approach::Full => Self::alike(Knowledge::Nothing),
            Approach::Compare => Self::alike(Knowledge::Unknown),
            Approach::Digest(record) => Self {
                record: Some(of_record(record)?),
                ..Self::alike(Knowledge::Unknown)
            },
            Approach::Metadata(proof) | Approach::Tracked(proof) => Self {
                record: Some(of_record(&proof.record)?),
                ..Self::alike(Knowledge::Unknown)
            },
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
            otherwise,
        }
    }

    /// What is known of `chunk`. The source uses `wanted` of it.
    pub(super) fn of(&mut self, chunk: Extent, wanted: &[Extent]) -> Result<Knowledge> {
        let recorded = match &mut self.record {
            Some(record) => record.at(chunk, wanted)?,
            None => None,
        };
        if let Some((log, touched)) = &mut self.log {
            if let Some(digest) = log.at(chunk, wanted)? {
                return Ok(Knowledge::Digest(digest));
            }
            if touched.overlaps(chunk) {
                return Ok(Knowledge::Unknown);
            }
        }
        Ok(recorded.map_or(self.otherwise, Knowledge::Digest))
    }
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

    /// The digest of `chunk`, if there is one and it describes all of `wanted`.
    ///
    /// A block that is in use only now may be zero and leave the digest as it was, while the
    /// target holds something old there: so the digest alone is not enough.
    fn at(&mut self, chunk: Extent, wanted: &[Extent]) -> Result<Option<Digest>> {
        let digest = self.items.at(chunk::index(chunk))?;
        let is_described = || wanted.iter().all(|&extent| self.wanted.contains(extent));
        Ok(digest.filter(|_| is_described()))
    }
}
