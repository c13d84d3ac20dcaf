//! The way in which a run finds what changed.

use super::CaptureJob;
use crate::change::RungChoice;
use crate::rung::Rung;

/// How a run finds what changed, and why that way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) rung: Rung,
    pub(super) reason: String,
}

impl Selected {
    pub(super) fn new(rung: Rung, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { rung, reason }
    }

    /// What the snapshot before allows, and the user asked for. The files of the source are not looked at yet.
    pub(super) fn by_snapshot(job: &CaptureJob<'_>, choice: RungChoice) -> Self {
        match (job.previous, choice) {
            (_, RungChoice::Only(Rung::Full)) => {
                Self::new(Rung::Full, "all of it is stored, as asked for")
            }
            (None, _) => Self::new(Rung::Full, "the first snapshot of this source"),
            (Some(_), RungChoice::Only(Rung::Compare)) => {
                Self::new(Rung::Compare, "compared byte for byte, as asked for")
            }
            (Some(previous), _) => {
                let number = previous.number();
                Self::new(Rung::Digest, format!("compared with snapshot {number}"))
            }
        }
    }
}
