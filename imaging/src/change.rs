//! How changes since the last clone are found, and why that way.

mod approach;
pub mod metadata;
pub mod proven;
mod resemblance;
mod select;

pub use crate::rung::Rung;
pub use approach::{Approach, Resume};
pub use resemblance::resembles;
pub use select::{Recorded, Selection, Situation, distrust, select};

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
