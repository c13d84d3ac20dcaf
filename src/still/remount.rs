//! A filesystem that can't be frozen, made read-only for the moment, and writable again whatever happens.

use super::keeper::{Keeper, Since};
use super::mounted;
use super::volume::How;
use anyhow::Result;
use klon_partition::system::System;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A filesystem that is read-only for the moment, for FAT as an EFI system partition has it. It is writable again
/// when this is dropped, with the options that it had: nothing else of it is touched.
#[derive(Debug)]
pub struct Remount {
    keeper: Keeper,
    since: Since,
}

impl Remount {
    /// Makes the filesystem that is mounted at `at` read-only, for `max` at the most. Its own mount must be one
    /// that can be written through.
    ///
    /// # Errors
    /// A refusal when it is read-only already, when a file on it is open for writing, or when memory can't be
    /// locked or the watchdog can't be started.
    pub fn begin(at: &Path, max: Duration) -> Result<Self> {
        let system = System::current()?;
        let volumes = mounted::opened(&system, &[(at.to_owned(), How::ReadOnly)])?;
        let keeper = Keeper::begin(volumes, max)?;
        let since = keeper.hold()?;
        Ok(Self { keeper, since })
    }

    /// The wall clock just before it was made read-only.
    pub fn since(&self) -> SystemTime {
        self.since.wall
    }

    /// Time that is left before the watchdog makes it writable again.
    pub fn left(&self) -> Duration {
        self.keeper.left()
    }

    /// Makes the mount writable again, and says for how long it was read-only.
    ///
    /// # Errors
    /// A refusal when someone else did before: then nothing that was read counts. When it can't be made
    /// writable.
    pub fn put_back(self) -> Result<Duration> {
        self.keeper.let_go()?;
        Ok(self.since.clock.elapsed())
    }
}
