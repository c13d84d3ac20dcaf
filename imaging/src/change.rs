//! How changes since the last clone are found, and why that way.

mod approach;
pub(crate) mod audit;
pub mod drift;
pub mod evidence;
mod figures;
pub mod look;
pub(crate) mod outlook;
pub mod proven;
pub mod ranges;
mod reliance;
mod resemblance;
pub mod sectors;
mod select;
pub(crate) mod sums;
mod tracked;
mod unchanged;

pub use crate::rung::Rung;
pub use approach::{Approach, Proof, Resume};
pub use evidence::Bitmap;
pub use figures::{AuditResult, MetadataFigures};
pub use look::Rested;
pub use reliance::{Audit, FullEvery, Reliance};
pub use resemblance::resembles;
pub use select::{Recorded, Selection, Situation, distrust, select};
pub(crate) use select::{doubted, not_possible};
pub use tracked::{Since, Tracked};
pub use unchanged::{InPart, Unchanged};

/// Which rung is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RungChoice {
    /// The one that reads and writes least among those that can be shown to be exact.
    #[default]
    Auto,
    /// This one; [`Rung::Digest`] still needs a record that can be trusted, else
    /// [`Rung::Compare`] runs instead and says why. [`Rung::Metadata`] needs more than
    /// [`Rung::Digest`], which runs instead. [`Rung::Tracked`] is never asked for: [`RungChoice::Auto`]
    /// takes it where a job has a [`Tracked`] that can be believed.
    Only(Rung),
    /// As [`RungChoice::Auto`], but where no record is of use this one, for this reason.
    Else(Rung, &'static str),
}
