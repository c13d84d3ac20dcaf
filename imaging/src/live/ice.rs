//! Sources at rest, until they go on: at the end of what is to be done at rest, or when the time for it
//! runs out.

use super::AtRest;
use crate::error::Result;
use crate::progress::{Event, Observer};
use klon_partition::locks::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Sources that were brought to rest.
pub(crate) struct Ice<'a> {
    since: SystemTime,
    /// When less time is left, they have to go on.
    reserve: Duration,
    state: Mutex<State<'a>>,
    read_bytes: AtomicU64,
}

struct State<'a> {
    at_rest: Option<Box<dyn AtRest + Send + 'a>>,
    /// How long they were at rest, once they go on.
    ended: Option<Duration>,
}

impl<'a> Ice<'a> {
    pub(crate) fn new(at_rest: Box<dyn AtRest + Send + 'a>, reserve: Duration) -> Self {
        Self {
            since: at_rest.since(),
            reserve,
            state: Mutex::new(State {
                at_rest: Some(at_rest),
                ended: None,
            }),
            read_bytes: AtomicU64::new(0),
        }
    }

    /// When they came to rest, or earlier.
    pub(crate) const fn since(&self) -> SystemTime {
        self.since
    }

    /// Whether they are at rest, as far as klon knows.
    pub(crate) fn is_whole(&self) -> bool {
        lock(&self.state).at_rest.is_some()
    }

    /// How long they may stay at rest; `None` when they are not.
    pub(crate) fn left(&self) -> Option<Duration> {
        lock(&self.state)
            .at_rest
            .as_ref()
            .map(|at_rest| at_rest.left())
    }

    /// Lets them go on when less time is left than the reserve.
    ///
    /// # Errors
    /// As [`AtRest::end`].
    pub(crate) fn mind_the_time(&self) -> Result<()> {
        match self.left() {
            Some(left) if left < self.reserve => self.end().map(drop),
            _ => Ok(()),
        }
    }

    /// What a look at them came to. If they went on meanwhile, the look is void, and so is its error.
    ///
    /// # Errors
    /// As [`AtRest::end`], and those of the look.
    pub(crate) fn looked<T>(&self, looked: Result<T>) -> Result<T> {
        if self.left().is_none_or(|left| left.is_zero()) {
            self.end()?;
        }
        looked
    }

    /// Lets them go on. How long they were at rest; `None` when they went on before.
    ///
    /// # Errors
    /// As [`AtRest::end`].
    pub(crate) fn end(&self) -> Result<Option<Duration>> {
        let mut state = lock(&self.state);
        let Some(at_rest) = state.at_rest.take() else {
            return Ok(None);
        };
        let seconds = at_rest.end()?;
        state.ended = Some(seconds);
        Ok(Some(seconds))
    }

    /// How long they were at rest, once they go on.
    pub(crate) fn ended(&self) -> Option<Duration> {
        lock(&self.state).ended
    }

    /// Notes what was read while they may have been at rest.
    pub(crate) fn read(&self, bytes: u64) {
        if self.is_whole() {
            self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn read_at_rest(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

/// An observer that is told nothing while sources are at rest: it may want to write to one of them, or
/// to a terminal that is kept from going on by one. What begins is told before anything else of it.
pub(crate) struct Quiet<'a, 'r> {
    observer: &'a dyn Observer,
    ice: &'a Ice<'r>,
    begins: &'a Event<'a>,
    held: Mutex<HeldBack>,
}

/// What was not told yet.
#[derive(Default)]
struct HeldBack {
    bytes: u64,
    has_begun: bool,
}

impl<'a, 'r> Quiet<'a, 'r> {
    /// Tells that something `begins`, if the sources go on already.
    pub(crate) fn begin(
        observer: &'a dyn Observer,
        ice: &'a Ice<'r>,
        begins: &'a Event<'a>,
    ) -> Self {
        let quiet = Self {
            observer,
            ice,
            begins,
            held: Mutex::default(),
        };
        if !ice.is_whole() {
            quiet.tell(&mut lock(&quiet.held));
        }
        quiet
    }

    /// The sources.
    pub(crate) const fn ice(&self) -> &'a Ice<'r> {
        self.ice
    }

    /// Tells what was held back, once the sources go on.
    pub(crate) fn catch_up(self) {
        self.tell(&mut lock(&self.held));
    }

    fn tell(&self, held: &mut HeldBack) {
        if !std::mem::replace(&mut held.has_begun, true) {
            self.observer.event(self.begins);
        }
        let bytes = std::mem::take(&mut held.bytes);
        self.observer.event(&Event::Advanced { bytes });
    }
}

impl Observer for Quiet<'_, '_> {
    fn event(&self, event: &Event<'_>) {
        let Event::Advanced { bytes } = event else {
            return;
        };
        let mut held = lock(&self.held);
        held.bytes = held.bytes.saturating_add(*bytes);
        if !self.ice.is_whole() {
            self.tell(&mut held);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.observer.is_cancelled()
    }
}
