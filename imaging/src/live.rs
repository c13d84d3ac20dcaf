//! Sources that are in use: brought to rest for moments, and copied in passes. This room has what clones and
//! images of them share.

mod figures;
mod ice;
mod last_pass;
mod names;
mod outside;
mod restless;
mod schedule;
mod source;
mod twice;
mod walk;

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
pub use figures::{Freeze, RestFigures};
pub(crate) use ice::{Ice, Quiet};
pub(crate) use last_pass::{LastPass, Looking, Shown};
pub(crate) use names::{changing, give_up};
pub(crate) use restless::Restless;
pub(crate) use schedule::{Schedule, Step};
pub(crate) use source::is_apart;
pub use source::{LiveSource, LiveVolume};
use std::time::{Duration, SystemTime};
pub(crate) use twice::Twice;
pub(crate) use walk::unmapped;

/// What brings the sources of a run to rest, all of them at once.
pub trait Rest {
    /// Brings them to rest. Nothing may be written to them, nor printed, from here until they go on.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them can't be; then none of them is.
    fn rest(&mut self) -> Result<Box<dyn AtRest + Send + '_>>;

    /// The longest that they may be at rest at once.
    fn longest(&self) -> Duration;

    /// Who has files open for writing on those that can't be brought to rest, in words.
    fn writers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Sources at rest. Dropped they go on.
pub trait AtRest {
    /// This moment or an earlier one: nothing was written from then on.
    fn since(&self) -> SystemTime;

    /// How long they may stay at rest.
    fn left(&self) -> Duration;

    /// Lets them go on, and says how long they were at rest.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them was let go on before.
    fn end(self: Box<Self>) -> Result<Duration>;
}
