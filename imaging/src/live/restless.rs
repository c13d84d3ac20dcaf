//! How often what can't be brought to rest was read twice, and was not the same.

use super::Rest;
use super::names::never_same;
use crate::error::{Error, Result};
use crate::progress::Observer;
use std::thread::sleep;
use std::time::Duration;

/// How often it is tried.
const TIMES_MAX: u32 = 6;
/// How long is waited before the second time; before each later one that much more.
const PAUSE: Duration = Duration::from_millis(400);
/// How often it is looked whether the run shall stop meanwhile.
const STEP: Duration = Duration::from_millis(50);

/// The times so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restless {
    /// In a row.
    differing: u32,
}

impl Restless {
    /// Notes whether all was the same.
    pub(crate) const fn read_twice(&mut self, is_same: bool) {
        self.differing = match is_same {
            true => 0,
            false => self.differing + 1,
        };
    }

    /// Whether all was the same the last time.
    pub(crate) const fn is_same(self) -> bool {
        self.differing == 0
    }

    /// Gives what writes to it some time.
    ///
    /// # Errors
    /// [`Error::Refused`] when it was tried often enough, [`Error::Interrupted`].
    pub(crate) fn wait(self, name: &str, rest: &dyn Rest, observer: &dyn Observer) -> Result<()> {
        if self.differing >= TIMES_MAX {
            return Err(never_same(name, self.differing, &rest.writers()));
        }
        let steps = (PAUSE * self.differing).as_millis() / STEP.as_millis();
        for _ in 0..steps {
            if observer.is_cancelled() {
                return Err(Error::Interrupted);
            }
            sleep(STEP);
        }
        Ok(())
    }
}
