//! Sources that are in use: brought to rest for moments, and copied in passes. This room has what clones and
//! images of them share.

mod figures;
mod ice;
mod names;
mod outside;
mod schedule;
mod walk;

use crate::change::Rested;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
pub use figures::{Freeze, RestFigures};
pub(crate) use ice::{Ice, Quiet};
use klon_partition::Extent;
use klon_partition::filesystem::Usage;
pub(crate) use names::{Changing, give_up};
pub(crate) use outside::{Past, read_again};
pub(crate) use schedule::{Schedule, Step};
use std::time::{Duration, SystemTime};
pub(crate) use walk::{Earlier, again, unmapped};

/// A volume of a source that is in use, as it was found at rest.
pub struct LiveVolume {
    /// The number of its partition; 0 for all of the source.
    pub number: u32,
    /// Where it lies in the source.
    pub part: Extent,
    /// The bytes of it that are in use, at offsets from its own start.
    pub usage: Usage,
    /// How it is at rest; `None` of one that nobody has mounted for writing.
    pub rested: Option<Rested>,
}

/// What brings the sources of a run to rest, all of them at once.
pub trait Rest {
    /// Brings them to rest. Nothing may be written to them, nor printed, from here until they go on.
    ///
    /// # Errors
    /// [`Error::Refused`] when one of them can't be; then none of them is.
    fn rest(&mut self) -> Result<Box<dyn AtRest + Send + '_>>;

    /// The longest that they may be at rest at once.
    fn longest(&self) -> Duration;
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
