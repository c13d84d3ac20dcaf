//! What a ledger keeps, and how each event changes it. Nothing here reads a clock or a file.
//!
//! The ledger vouches for this: between two looks at it with the same count, in boots that it knows, no
//! boot that it counted ended without a mark. The mark of a boot is made when nothing of a disk can be
//! written to any more. A boot is counted before anything but the system's own volume is mounted, and
//! that takes the mark of the boot before away, as the mark names the boot that it belongs to.
//!
//! So a boot that is counted after one without a mark follows an unclean end. A doubt is taken for one:
//! a ledger of another machine, a damaged one, a boot that comes back after others were counted. A
//! hibernated system that resumes is still in the same boot; one that can't resume boots anew, without
//! a mark, and counts.

use serde::{Deserialize, Serialize};

/// Boots that are known by name. Of a record from before these the ledger says nothing.
const BOOTS_MAX: usize = 1024;
/// What clocks may differ by without being set: they are read one after the other, and in steps.
const JITTER_MILLISECONDS: i64 = 100;

/// What is seen of the machine at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which machine it is: a digest.
    pub machine: String,
    /// Which boot it is (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The clock of the day: milliseconds since 1970 UTC.
    pub unix_milliseconds: i64,
    /// Milliseconds since the boot, times of sleep included (`CLOCK_BOOTTIME`).
    pub up_milliseconds: i64,
}

/// What a ledger keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Which machine's it is: a digest.
    pub machine: String,
    /// How many unclean ends were counted.
    pub unclean_count: u64,
    /// When the present count began: the ledger was made, or an unclean end was found.
    pub since_unix_seconds: u64,
    /// The boots since then, the one that was counted last at the end.
    pub boots: Vec<String>,
    /// The boot that ended cleanly, or is about to.
    pub clean_boot: Option<String>,
    /// By how much the clock was set back in all.
    pub set_back_milliseconds: u64,
    /// The clock of the day when it was last looked at.
    pub unix_milliseconds: i64,
    /// How far it was ahead of the time since the boot then.
    pub offset_milliseconds: i64,
}

/// How a boot was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is the first one of this ledger.
    First,
    /// It had been counted.
    Again,
    /// The one before ended cleanly.
    Clean,
    /// The one before did not, or nothing shows that it did.
    Unclean,
    /// The ledger was another machine's.
    OtherMachine,
}

impl Moment {
    const fn offset_milliseconds(&self) -> i64 {
        self.unix_milliseconds.saturating_sub(self.up_milliseconds)
    }

    fn unix_seconds(&self) -> u64 {
        u64::try_from(self.unix_milliseconds / 1000).unwrap_or(0)
    }
}

impl State {
    /// A ledger that begins in this boot.
    pub fn new(now: &Moment) -> Self {
        Self {
            machine: now.machine.clone(),
            unclean_count: 0,
            since_unix_seconds: now.unix_seconds(),
            boots: vec![now.boot.clone()],
            clean_boot: None,
            set_back_milliseconds: 0,
            unix_milliseconds: now.unix_milliseconds,
            offset_milliseconds: now.offset_milliseconds(),
        }
    }

    /// Whether this boot was the last one to be counted, on this machine.
    pub fn has_counted(&self, now: &Moment) -> bool {
        self.machine == now.machine && self.boots.last() == Some(&now.boot)
    }

    /// Whether it was marked that this boot is over.
    pub fn is_closed(&self) -> bool {
        self.clean_boot.is_some() && self.clean_boot.as_ref() == self.boots.last()
    }

    /// Counts the boot. In a boot that was counted, a mark that it is over is taken back.
    pub fn count(self, now: &Moment) -> (Self, Counted) {
        if self.machine != now.machine {
            let unclean_count = self.unclean_count.saturating_add(1);
            let new = Self::new(now);
            let state = Self {
                unclean_count,
                ..new
            };
            return (state, Counted::OtherMachine);
        }
        if self.has_counted(now) {
            let mut state = self.noted(now);
            state.clean_boot = None;
            return (state, Counted::Again);
        }
        // One that was counted before comes back only when an earlier state of the machine does.
        let is_clean = self.is_closed() && !self.boots.contains(&now.boot);
        // What the clock showed when this boot began.
        let began = now.offset_milliseconds();
        let set_back = self.unix_milliseconds.saturating_sub(began);
        let mut state = self.set_back(set_back);
        state.unix_milliseconds = now.unix_milliseconds;
        state.offset_milliseconds = now.offset_milliseconds();
        state.clean_boot = None;
        if is_clean {
            let extra = (state.boots.len() + 1).saturating_sub(BOOTS_MAX);
            state.boots.drain(..extra);
            state.boots.push(now.boot.clone());
            return (state, Counted::Clean);
        }
        state.unclean_count = state.unclean_count.saturating_add(1);
        state.since_unix_seconds = now.unix_seconds();
        state.boots = vec![now.boot.clone()];
        (state, Counted::Unclean)
    }

    /// Marks that this boot, which was counted, is over.
    pub fn closed(self, now: &Moment) -> Self {
        let mut state = self.noted(now);
        state.clean_boot = Some(now.boot.clone());
        state
    }

    /// What it is after a look at the clock, in a boot that was counted.
    pub fn noted(self, now: &Moment) -> Self {
        let fallen = self
            .offset_milliseconds
            .saturating_sub(now.offset_milliseconds());
        let mut state = self;
        if fallen.abs() > JITTER_MILLISECONDS {
            state = state.set_back(fallen);
            state.offset_milliseconds = now.offset_milliseconds();
        }
        state.unix_milliseconds = now.unix_milliseconds;
        state
    }

    /// Whether the clock was set since it was last looked at.
    pub fn is_clock_set(&self, now: &Moment) -> bool {
        self.offset_milliseconds != self.clone().noted(now).offset_milliseconds
    }

    fn set_back(mut self, milliseconds: i64) -> Self {
        let milliseconds = u64::try_from(milliseconds).unwrap_or(0);
        self.set_back_milliseconds = self.set_back_milliseconds.saturating_add(milliseconds);
        self
    }

    /// How far the clock is ahead, in whole seconds: it only falls.
    pub fn clock_offset_seconds(&self) -> i64 {
        let seconds = self.set_back_milliseconds.div_ceil(1000);
        i64::try_from(seconds).map_or(i64::MIN, |seconds| -seconds)
    }
}

#[cfg(test)]
mod tests;
