//! Filesystems that are frozen together, and thawed whatever happens.

use super::keeper::{Keeper, Since};
use super::mounted;
use super::volume::How;
use anyhow::Result;
use klon_partition::system::System;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Filesystems that can be brought to rest together. Made once for a run: everything is opened, memory is
/// locked and the watchdog started before anything is frozen.
#[derive(Debug)]
pub struct Freezer {
    /// What holds them; `None` where there are none.
    keeper: Option<Keeper>,
}

/// How long there is where nothing is held.
const UNLIMITED: Duration = Duration::from_hours(24 * 365);

impl Freezer {
    /// Makes everything ready for the filesystems that are mounted at `mounts`. One mount of each filesystem is
    /// enough. `max` is the longest time that they may be at rest.
    ///
    /// # Errors
    /// A refusal of a filesystem that can't be frozen, or when memory can't be locked or the watchdog can't be
    /// started.
    pub fn begin(mounts: &[PathBuf], max: Duration) -> Result<Self> {
        let frozen = mounts.iter().map(|at| (at.clone(), Some(How::Frozen)));
        Self::holding(&frozen.collect::<Vec<_>>(), max)
    }

    /// As [`begin`](Self::begin), for filesystems of which some can't be frozen: klon makes those read-only. Those that
    /// can't be held at all are left as they are.
    ///
    /// # Errors
    /// As [`begin`](Self::begin). [`freeze`](Self::freeze) refuses when a file on a filesystem that klon makes
    /// read-only is open for writing.
    pub fn holding(mounts: &[(PathBuf, Option<How>)], max: Duration) -> Result<Self> {
        let held = mounts.iter();
        let held = held.filter_map(|(at, how)| Some((at.clone(), (*how)?)));
        let held: Vec<(PathBuf, How)> = held.collect();
        if held.is_empty() {
            return Ok(Self { keeper: None });
        }
        let system = System::current()?;
        let volumes = mounted::opened(&system, &held)?;
        Ok(Self {
            keeper: Some(Keeper::begin(volumes, max)?),
        })
    }

    /// Whether the last [`freeze`](Self::freeze) failed only because a file is open for writing on a filesystem that klon
    /// makes read-only.
    pub fn is_open_for_writing(&self) -> bool {
        let keeper = self.keeper.as_ref();
        keeper.is_some_and(Keeper::is_open_for_writing)
    }

    /// Freezes all, top of the stack first; released in reverse. On any error, all are thawed.
    ///
    /// It may take longer than `max` when the devices are slow: the kernel ends no freeze that it has begun. The
    /// watchdog thaws then as soon as it can, and this fails.
    ///
    /// # Errors
    /// A refusal when one is frozen already or can't be, when the watchdog is gone, or when they were thawed
    /// meanwhile.
    pub fn freeze(&mut self) -> Result<Frozen<'_>> {
        let keeper = self.keeper.as_ref();
        let since = keeper.map_or_else(|| Ok(Since::now()), Keeper::hold)?;
        Ok(Frozen { keeper, since })
    }
}

/// Frozen filesystems, thawed when dropped. As long as there is one, this process must write to none of them, nor
/// wait for anyone who does, nor start programs.
#[derive(Debug)]
pub struct Frozen<'a> {
    keeper: Option<&'a Keeper>,
    since: Since,
}

impl Frozen<'_> {
    /// The wall clock just before the first was frozen. What was written by a call that had returned by then is
    /// on the devices. A write that was under way may be there or not, and one that came later, but before its
    /// filesystem was frozen, may be there with a later stamp: each filesystem shows its own instant, all of them
    /// between `since` and the return of [`Freezer::freeze`]. From that return until the thaw nothing is written to
    /// any of them through its filesystem, but to files that are swapped to.
    pub fn since(&self) -> SystemTime {
        self.since.wall
    }

    /// How long they are frozen.
    pub fn elapsed(&self) -> Duration {
        self.since.clock.elapsed()
    }

    /// The time that is left before the watchdog thaws the volumes. None is left when they are thawed
    /// already: whoever reads can stop then.
    pub fn left(&self) -> Duration {
        self.keeper.map_or(UNLIMITED, Keeper::left)
    }

    /// Thaws, and says how long they were frozen.
    ///
    /// # Errors
    /// A refusal when one was thawed by someone else before (the watchdog, an administrator): then nothing that
    /// was read counts. What nobody can notice: that someone thawed it and froze it again. When one can't be
    /// thawed.
    pub fn thaw(self) -> Result<Duration> {
        let Some(keeper) = self.keeper else {
            return Ok(Duration::ZERO);
        };
        keeper.let_go()?;
        Ok(self.since.clock.elapsed())
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper {
            keeper.let_go_or_say();
        }
    }
}
