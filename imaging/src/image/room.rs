//! A bound for the memory that several threads take at once.

use klon_partition::locks::{lock, wait};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Room for a number of things at once.
pub(super) struct Room {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// A place in it, given back when dropped.
pub(super) struct Place<'a>(&'a Room);

impl Room {
    /// Room for `count`, of one at least.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            given_back: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        lock(&self.free)
    }

    /// Takes a place, as soon as there is one.
    pub(super) fn take(&self) -> Place<'_> {
        let mut free = self.lock();
        while *free == 0 {
            free = wait(&self.given_back, free);
        }
        *free -= 1;
        Place(self)
    }

    /// Takes a place, if there is one now.
    pub(super) fn try_take(&self) -> Option<Place<'_>> {
        let mut free = self.lock();
        *free = free.checked_sub(1)?;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn a_place_that_is_given_back_can_be_taken_again() {
        let room = Room::new(0);
        let place = room.take();
        assert!(room.try_take().is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(room.take()));
            drop(place);
            waiting.join().unwrap();
        });
        assert!(room.try_take().is_some());
    }
}
