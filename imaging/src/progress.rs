//! What a run tells while it goes on, and how it is asked to stop.

use crate::error::{Error, Result};
use crate::rung::Rung;
use std::num::NonZeroUsize;

/// Something that happened during a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work on a volume begins.
    Started {
        /// The volume's name.
        name: &'a str,
        /// How changes are found; `None` where nothing is brought up to date.
        rung: Option<Rung>,
        /// Why that way; without a rung, what is done.
        reason: &'a str,
        /// How many bytes will be gone through.
        total_bytes: u64,
    },
    /// A source in use is gone through once more, as it changed meanwhile: what was said of the volume's total is
    /// done.
    Again {
        /// The volume's name.
        name: &'a str,
        /// How many bytes will be gone through this time.
        total_bytes: u64,
    },
    /// That many more bytes have been gone through.
    Advanced {
        /// Bytes since the last event.
        bytes: u64,
    },
    /// Everything is written and is now made durable.
    Committing,
    /// All of an update is staged, and waits for the rest of its group.
    Staged,
    /// Work on the volume is done.
    Finished,
    /// Work is done on a volume of a group, which is not the one that began last.
    FinishedOf {
        /// The volume's name.
        name: &'a str,
        /// How many bytes were gone through.
        total_bytes: u64,
    },
}

/// Receives events, and is asked now and then whether the run shall go on.
pub trait Observer: Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);

    /// Whether the run shall stop at the next safe place.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Who does a piece of work that is told of while it goes on.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// What the work is called in events.
    pub name: &'a str,
    /// On how many threads it is done.
    pub threads: NonZeroUsize,
    /// Who is told of progress, and may cancel.
    pub observer: &'a dyn Observer,
}

/// The item that is next, unless the run shall stop.
///
/// # Errors
/// [`Error::Interrupted`] then.
pub(crate) fn unless_cancelled<T>(observer: &dyn Observer, item: T) -> Result<T> {
    match observer.is_cancelled() {
        true => Err(Error::Interrupted),
        false => Ok(item),
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: &Event<'_>) {}
}
