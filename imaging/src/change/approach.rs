//! How a run finds what must be written, together with what that way needs.

use crate::intent::{Interrupted, Untouched};
use crate::record::Record;
use crate::rung::Rung;
use std::sync::Arc;

/// A way to find what must be written, with all that it needs.
///
/// A way that needs more, such as proof that files did not change, is a variant that holds the
/// proof.
#[derive(Debug)]
pub enum Approach {
    /// Write everything in use, without looking at the target.
    Full,
    /// Read both sides and write what differs.
    Compare,
    /// Compare the source with the digests of this record, which describes the target.
    Digest(Arc<Record>),
    /// Go on with a run that was interrupted while it wrote in place.
    Resume(Box<Resume>),
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
            Self::Resume(_) => Rung::Resume,
        }
    }

    /// The run to be gone on with.
    pub(crate) const fn resumed(&self) -> Option<&Interrupted> {
        match self {
            Self::Resume(resume) => Some(&resume.interrupted),
            Self::Full | Self::Compare | Self::Digest(_) => None,
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
