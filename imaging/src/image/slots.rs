//! A bound for the memory that several threads take at once.

use klon_partition::locks::{lock, wait};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Slots for a number of things at once.
pub(super) struct Slots {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// A slot that was taken. It is given back when dropped.
pub(super) struct Slot<'a>(&'a Slots);

impl Slots {
    /// `count` slots, but at least one.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            given_back: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        lock(&self.free)
    }

    /// Takes a slot, as soon as one is free.
    pub(super) fn take(&self) -> Slot<'_> {
        let mut free = self.lock();
        while *free == 0 {
            free = wait(&self.given_back, free);
        }
        *free -= 1;
        Slot(self)
    }

    /// Takes a slot, if one is free now.
    pub(super) fn try_take(&self) -> Option<Slot<'_>> {
        let mut free = self.lock();
        *free = free.checked_sub(1)?;
        Some(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn a_slot_that_is_given_back_can_be_taken_again() {
        let slots = Slots::new(0);
        let slot = slots.take();
        assert!(slots.try_take().is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(slots.take()));
            drop(slot);
            waiting.join().unwrap();
        });
        assert!(slots.try_take().is_some());
    }
}
