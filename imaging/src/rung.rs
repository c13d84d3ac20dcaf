//! Ways to find what must be written.

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
    /// As [`Rung::Digest`], without reading what the metadata of the source's files proves to be as
    /// the record says.
    Metadata,
    /// As [`Rung::Digest`], without reading what someone else's account of changes does not name: a list,
    /// or a bitmap of a server.
    Tracked,
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
            Self::Metadata => "metadata",
            Self::Tracked => "tracked",
            Self::Resume => "resume",
        })
    }
}
