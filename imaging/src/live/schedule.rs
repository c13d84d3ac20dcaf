//! When what is left is copied at rest, and when another pass copies it while the source goes on. Pure.

use std::time::Duration;

/// Bytes a second that are taken for granted before anything was measured.
const RATE_BYTES: f64 = (64_u64 << 20) as f64;
/// What takes no longer at rest need not become less.
const SHORT: Duration = Duration::from_secs(1);
/// Passes after which what can be copied at rest is, and passes after which none comes any more.
const PATIENT_PASSES: u32 = 6;
const PASSES_MAX: u32 = 12;
/// How often the time at rest may run out.
const LATE_MAX: u32 = 3;

/// What a pass does with what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is read at rest.
    ReadNow,
    /// It is read while the source goes on.
    ReadLive,
    /// It will never be little enough.
    GiveUp,
}

/// The passes of a run so far.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    longest: Duration,
    passes: u32,
    /// How often it was too much after all.
    late: u32,
    is_reading_now: bool,
    unproven_bytes: Option<u64>,
    bytes_a_second: Option<f64>,
}

impl Schedule {
    pub(crate) const fn new(longest: Duration) -> Self {
        Self {
            longest,
            passes: 0,
            late: 0,
            is_reading_now: false,
            unproven_bytes: None,
            bytes_a_second: None,
        }
    }

    /// The longest that sources may be at rest.
    pub(crate) const fn longest(&self) -> Duration {
        self.longest
    }

    /// When less time is left, a source has to go on: what is under way takes its time, too.
    pub(crate) fn reserve(&self) -> Duration {
        self.longest / 5
    }

    /// How long that would take to copy.
    pub(crate) fn estimate(&self, bytes: u64) -> Duration {
        let rate = self.bytes_a_second.unwrap_or(RATE_BYTES).max(1.0);
        Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX)
    }

    /// What to do with so many bytes that nothing shows to be as they were copied, when the source may
    /// stay at rest for so long.
    pub(crate) fn next(&mut self, unproven_bytes: u64, left: Duration) -> Step {
        let estimate = self.estimate(unproven_bytes);
        let room = left.saturating_sub(self.reserve());
        let fits = estimate <= room * 3 / 4;
        let shrinks = self
            .unproven_bytes
            .is_none_or(|before| unproven_bytes < before / 10 * 7);
        let is_patient = shrinks && self.passes < PATIENT_PASSES;
        let step = match fits {
            true if estimate <= SHORT || !is_patient => Step::ReadNow,
            false if self.late > LATE_MAX || self.passes >= PASSES_MAX => Step::GiveUp,
            false if !shrinks && self.passes > 2 => Step::GiveUp,
            _ => Step::ReadLive,
        };
        self.is_reading_now = step == Step::ReadNow;
        self.unproven_bytes = Some(unproven_bytes);
        self.passes = self.passes.saturating_add(1);
        step
    }

    /// A pass read that much, and was not the last.
    pub(crate) fn passed(&mut self, read_bytes: u64, took: Duration) {
        if self.is_reading_now {
            self.late = self.late.saturating_add(1);
        }
        let seconds = took.as_secs_f64();
        if read_bytes >= 1 << 20 && seconds > 0.0 {
            self.bytes_a_second = Some(read_bytes as f64 / seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, Step};
    use std::time::Duration;

    const GIB: u64 = 1 << 30;
    const LEFT: Duration = Duration::from_secs(10);

    fn passed(schedule: &mut Schedule, unproven_bytes: u64) -> Step {
        let step = schedule.next(unproven_bytes, LEFT);
        // 100 MiB a second.
        let took = Duration::from_secs_f64(unproven_bytes as f64 / (100 << 20) as f64);
        schedule.passed(unproven_bytes, took);
        step
    }

    #[test]
    fn what_is_short_is_read_at_once_and_what_shrinks_is_waited_for() {
        let mut schedule = Schedule::new(LEFT);
        assert_eq!(schedule.next(10 << 20, LEFT), Step::ReadNow);
        let mut schedule = Schedule::new(LEFT);
        let steps = [20 * GIB, GIB, 300 << 20, 60 << 20].map(|bytes| passed(&mut schedule, bytes));
        let expected = [
            Step::ReadLive,
            Step::ReadLive,
            Step::ReadLive,
            Step::ReadNow,
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_does_not_shrink_is_read_when_it_fits_and_given_up_when_it_does_not() {
        let mut schedule = Schedule::new(LEFT);
        let steps = [20 * GIB, 400 << 20, 390 << 20].map(|bytes| passed(&mut schedule, bytes));
        assert_eq!(steps, [Step::ReadLive, Step::ReadLive, Step::ReadNow]);
        let mut schedule = Schedule::new(LEFT);
        let steps = [20 * GIB, 5 * GIB, 5 * GIB, 5 * GIB].map(|it| passed(&mut schedule, it));
        let live = Step::ReadLive;
        assert_eq!(steps, [live, live, live, Step::GiveUp]);
    }

    #[test]
    fn a_source_that_is_slower_each_time_is_given_up() {
        let mut schedule = Schedule::new(LEFT);
        let mut step = Step::ReadLive;
        for _ in 0..30 {
            step = schedule.next(50 << 20, LEFT);
            if step == Step::GiveUp {
                break;
            }
            schedule.passed(50 << 20, Duration::from_secs(60));
        }
        assert_eq!(step, Step::GiveUp);
    }
}
