//! How far a run had come when it stopped.

use crate::error::Error;
use std::fmt;

/// The steps of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// The plan is made, and what is known of the target is read. Nothing is written but the log.
    Planning,
    /// What differs is written: into its place on a target that is marked, or to free room.
    Copying,
    /// Everything is durable, and the source is looked at once more.
    Checking,
    /// The last step: the target becomes the new clone.
    Committing,
    /// What was staged and committed is brought into its place.
    Applying,
    /// The clone is complete, and its record is replaced.
    Recording,
}

/// A run that stopped: when, and why.
///
/// It reads like its error, which [`Error::from`] takes out of it.
#[derive(Debug)]
pub struct Stopped {
    /// What the run was doing.
    pub phase: Phase,
    /// Why it stopped.
    pub error: Error,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The error's own words are those of `Display` already.
        self.error.source()
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

/// Results that are given the phase they came from.
pub(super) trait During<T> {
    fn during(self, phase: Phase) -> Result<T, Stopped>;
}

impl<T> During<T> for Result<T, Error> {
    fn during(self, phase: Phase) -> Result<T, Stopped> {
        self.map_err(|error| Stopped { phase, error })
    }
}
