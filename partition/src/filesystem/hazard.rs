//! What keeps a volume from being copied by its own map of used blocks.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What makes a volume's own records of used blocks unfit for copying by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "hazard", content = "detail")]
#[non_exhaustive]
pub enum Hazard {
    /// A journal or log must be replayed first; the bitmaps lag behind it. How it was seen.
    NeedsRecovery(String),
    /// The volume was not unmounted cleanly. How it was seen.
    NotCleanlyUnmounted(String),
    /// The filesystem has recorded errors of its own. How it was seen.
    Errors(String),
    /// A system hibernated with the volume mounted.
    Hibernated(String),
    /// Other devices hold parts of this filesystem. Which.
    MultiDevice(String),
    /// The journal is on another device. Which.
    ExternalJournal(String),
    /// A structure that fails its check or contradicts itself.
    Damaged(String),
    /// A feature that klon does not know. Which.
    UnknownFeature(String),
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsRecovery(how) => write!(f, "needs journal recovery ({how})"),
            Self::NotCleanlyUnmounted(how) => write!(f, "not cleanly unmounted ({how})"),
            Self::Errors(how) => write!(f, "has recorded errors ({how})"),
            Self::Hibernated(how) => write!(f, "hibernated ({how})"),
            Self::MultiDevice(which) => write!(f, "spans several devices ({which})"),
            Self::ExternalJournal(which) => write!(f, "has its journal elsewhere ({which})"),
            Self::Damaged(how) => write!(f, "damaged ({how})"),
            Self::UnknownFeature(which) => {
                write!(f, "has a feature that klon doesn't know ({which})")
            }
        }
    }
}
