//! The moment from which on a file's stamp says nothing.

use klon_partition::filesystem::files::Stamp;

const NANOSECONDS: u32 = 1_000_000_000;
/// Two ticks of the slowest clock of a kernel (100 Hz), which stamps files.
const TICKS_NANOSECONDS: u32 = 20_000_000;

/// The moment from which on a file's stamp says nothing: a change in the same tick of the clock
/// leaves it as it is. A file that changed no earlier than that is read by the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Horizon(Stamp);

impl Horizon {
    /// Nothing is believed.
    pub const NEVER: Self = Self(Stamp {
        seconds: i64::MIN,
        nanoseconds: 0,
    });

    /// The horizon of a volume that nobody has mounted, whose metadata is read from `begin` on. Later changes
    /// have another stamp. The exception is a change in the same tick, by a mount that follows at once.
    #[must_use]
    pub const fn unmounted(begin: Stamp) -> Self {
        Self(earlier(begin, 0, TICKS_NANOSECONDS))
    }

    /// The horizon of a mounted volume that was frozen at `begin`. Stamps of the last second may repeat.
    #[must_use]
    pub const fn frozen(begin: Stamp) -> Self {
        Self(earlier(begin, 1, 0))
    }

    /// The horizon when the clock was set back by `seconds` meanwhile: stamps of this time may come again.
    #[must_use]
    pub const fn set_back(self, seconds: u64) -> Self {
        let seconds = self.0.seconds.saturating_sub_unsigned(seconds);
        Self(Stamp { seconds, ..self.0 })
    }

    /// The horizon at this moment exactly, as it was kept.
    #[must_use]
    pub const fn at(stamp: Stamp) -> Self {
        Self(stamp)
    }

    /// The moment, to be kept.
    #[must_use]
    pub const fn stamp(self) -> Stamp {
        self.0
    }

    /// Whether a file of this stamp changed before. A stamp without nanoseconds may be one of a
    /// filesystem that stores none, and then stands for all of its second.
    #[must_use]
    pub fn is_after(self, changed: Stamp) -> bool {
        let last = match changed.nanoseconds {
            0 => Stamp {
                seconds: changed.seconds,
                nanoseconds: NANOSECONDS,
            },
            _ => changed,
        };
        last < self.0
    }
}

/// Whether a file's stamp can be one of a clock. Boot loaders and other drivers write the same one each
/// time, and make the file anew: U-Boot writes 0, which is before the filesystem was `made`. What kernels
/// write has nanoseconds. A stamp without counts only where the file changed, or was made, no earlier than
/// the filesystem.
pub(super) fn is_of_clock(changed: Stamp, made_seconds: Option<i64>, made: Option<u64>) -> bool {
    let made = made.filter(|&seconds| seconds > 0);
    let is_younger = |seconds: i64| {
        let seconds = u64::try_from(seconds).ok();
        made.zip(seconds)
            .is_some_and(|(made, seconds)| seconds >= made)
    };
    changed.nanoseconds > 0 || is_younger(changed.seconds) || made_seconds.is_some_and(is_younger)
}

const fn earlier(stamp: Stamp, seconds: i64, nanoseconds: u32) -> Stamp {
    let total = match stamp.nanoseconds.checked_sub(nanoseconds) {
        Some(left) => (0, left),
        None => (
            1,
            stamp
                .nanoseconds
                .saturating_add(NANOSECONDS)
                .saturating_sub(nanoseconds),
        ),
    };
    Stamp {
        seconds: stamp
            .seconds
            .saturating_sub(seconds)
            .saturating_sub(total.0),
        nanoseconds: total.1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Horizon, Stamp, is_of_clock};

    const fn at(seconds: i64, nanoseconds: u32) -> Stamp {
        Stamp {
            seconds,
            nanoseconds,
        }
    }

    #[test]
    fn stamps_of_the_last_ticks_are_not_believed() {
        let horizon = Horizon::unmounted(at(100, 10_000_000));
        assert_eq!(horizon.stamp(), at(99, 990_000_000));
        assert!(horizon.is_after(at(99, 989_999_999)));
        assert!(!horizon.is_after(at(99, 990_000_000)));
        assert!(!horizon.is_after(at(200, 5)), "a stamp of the future");
    }

    #[test]
    fn a_stamp_of_seconds_stands_for_all_of_its_second() {
        let horizon = Horizon::unmounted(at(100, 900_000_000));
        assert!(horizon.is_after(at(100, 1)));
        assert!(!horizon.is_after(at(100, 0)));
        assert!(horizon.is_after(at(99, 0)));
        let horizon = Horizon::unmounted(at(100, 0));
        assert!(!horizon.is_after(at(99, 0)));
    }

    #[test]
    fn a_frozen_volume_and_a_clock_set_back_cost_more() {
        let horizon = Horizon::frozen(at(100, 5));
        assert!(horizon.is_after(at(99, 4)) && !horizon.is_after(at(99, 5)));
        let horizon = horizon.set_back(3600);
        assert!(horizon.is_after(at(99 - 3600, 4)) && !horizon.is_after(at(99 - 3600, 5)));
        assert!(!Horizon::NEVER.set_back(1).is_after(at(i64::MIN, 0)));
    }

    #[test]
    fn a_stamp_that_no_clock_made_says_nothing() {
        let made = Some(1000);
        assert!(is_of_clock(at(5, 1), None, made));
        assert!(is_of_clock(at(1000, 0), None, made));
        assert!(is_of_clock(at(5, 0), Some(1000), made));
        assert!(!is_of_clock(at(0, 0), Some(0), made));
        assert!(!is_of_clock(at(999, 0), None, made));
        assert!(!is_of_clock(at(-1, 0), Some(-1), made));
        assert!(!is_of_clock(at(5000, 0), None, None));
        assert!(!is_of_clock(at(5000, 0), None, Some(0)));
    }
}
