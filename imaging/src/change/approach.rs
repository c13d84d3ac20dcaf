//! The ways in which a run finds what must be written, each with what it needs.

use super::Unchanged;
use crate::intent::{Interrupted, Untouched};
use crate::record::Record;
use crate::rung::Rung;
use klon_partition::ExtentMap;
use std::sync::Arc;

/// A way to find what must be written, with all that it needs.
#[derive(Debug)]
pub enum Approach {
    /// Write everything in use, without looking at the target.
    Full,
    /// Read both sides and write what differs.
    Compare,
    /// Compare the source with the digests of this record, which describes the target.
    Digest(Arc<Record>),
    /// By digests, except what the metadata of its files proves to be as that record says.
    Metadata(Box<Proof>),
    /// By digests, except what nobody names as changed since.
    Tracked(Box<Proof>),
    /// Go on with a run that was interrupted while it wrote in place.
    Resume(Box<Resume>),
}

/// What need not be read.
#[derive(Debug)]
pub struct Proof {
    /// The record that describes the target.
    pub record: Arc<Record>,
    /// The bytes of the source that are as that record says.
    pub unchanged: Unchanged,
    /// Where the runs before found signatures of what is written past the filesystem.
    pub signatures: ExtentMap,
}

/// A run to be gone on with.
#[derive(Debug)]
pub struct Resume {
    /// What its log says.
    pub interrupted: Interrupted,
    /// The record that describes the chunks which the run did not touch, if there is one.
    pub record: Option<Arc<Record>>,
}

impl Approach {
    /// The name of the way.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        match self {
            Self::Full => Rung::Full,
            Self::Compare => Rung::Compare,
            Self::Digest(_) => Rung::Digest,
            Self::Metadata(_) => Rung::Metadata,
            Self::Tracked(_) => Rung::Tracked,
            Self::Resume(_) => Rung::Resume,
        }
    }

    /// The run to be gone on with.
    pub(crate) const fn resumed(&self) -> Option<&Interrupted> {
        match self {
            Self::Resume(resume) => Some(&resume.interrupted),
            Self::Full | Self::Compare | Self::Digest(_) | Self::Metadata(_) | Self::Tracked(_) => {
                None
            }
        }
    }

    /// The bytes of the source that need not be read.
    pub(crate) const fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Metadata(proof) | Self::Tracked(proof) => Some(proof),
            Self::Full | Self::Compare | Self::Digest(_) | Self::Resume(_) => None,
        }
    }
}

impl Resume {
    /// Goes on with `interrupted`. `record` is used only when the run began with it.
    pub(super) fn new(interrupted: Interrupted, record: Option<&Arc<Record>>) -> Self {
        let record = match interrupted.meta.untouched {
            Untouched::Record(digest) => record.filter(|record| record.digest == digest.0),
            Untouched::Nothing | Untouched::Unknown => None,
        };
        Self {
            record: record.cloned(),
            interrupted,
        }
    }
}
