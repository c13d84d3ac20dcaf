//! How changes since the last clone are found, and why that way.

mod diff;
pub mod metadata;
pub mod proven;
mod select;

pub(crate) use diff::differing;
pub use select::{Selection, Situation, distrust, select};

use serde::{Deserialize, Serialize};
use std::fmt;

/// A way to find what must be written, weakest need first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// Write everything in use, without looking at the target.
    Full,
    /// Read both sides, write what differs. Needs no record.
    Compare,
    /// Read the source, compare it with the record's digests, and look at the target only where
    /// they differ.
    Digest,
    /// Go on with a run that was interrupted while it wrote in place: as [`Rung::Digest`], with
    /// what its log shows to be done. Never asked for, only found.
    Resume,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Compare => "compare",
            Self::Digest => "digest",
            Self::Resume => "resume",
        })
    }
}

/// Which rung is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RungChoice {
    /// The one that reads and writes least among those that can be shown to be exact.
    #[default]
    Auto,
    /// This one; [`Rung::Digest`] still needs a record that can be trusted, else
    /// [`Rung::Compare`] runs instead and says why.
    Only(Rung),
    /// As [`RungChoice::Auto`], but where no record is of use this one, for this reason.
    Else(Rung, &'static str),
}
