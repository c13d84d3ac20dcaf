//! Recently used values, up to a number of bytes.

use klon_partition::locks::lock;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

/// Values by number. The least recently used ones are dropped first.
pub(super) struct Recent<T> {
    bytes_max: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    entries: HashMap<u64, Entry<T>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, u64>,
    clock: u64,
    bytes: usize,
}

struct Entry<T> {
    value: T,
    bytes: usize,
    used: u64,
}

impl<T: Clone> Recent<T> {
    /// Keeps values of up to `bytes_max`, and the last one however large it is.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            inner: Mutex::new(Inner {
                entries: HashMap::new(),
                order: BTreeMap::new(),
                clock: 0,
                bytes: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        lock(&self.inner)
    }

    /// The value of that number, if it is at hand.
    pub(super) fn get(&self, key: u64) -> Option<T> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let entry = inner.entries.get_mut(&key)?;
        inner.order.remove(&entry.used);
        inner.clock += 1;
        entry.used = inner.clock;
        inner.order.insert(entry.used, key);
        Some(entry.value.clone())
    }

    /// Keeps a value, in place of the one of that number.
    pub(super) fn put(&self, key: u64, value: T, bytes: usize) {
        let mut inner = self.lock();
        inner.remove(key);
        inner.clock += 1;
        let used = inner.clock;
        inner.order.insert(used, key);
        inner.entries.insert(key, Entry { value, bytes, used });
        inner.bytes = inner.bytes.saturating_add(bytes);
        while inner.bytes > self.bytes_max && inner.entries.len() > 1 {
            let Some((_, &oldest)) = inner.order.first_key_value() else {
                return;
            };
            inner.remove(oldest);
        }
    }
}

impl<T> Inner<T> {
    fn remove(&mut self, key: u64) {
        if let Some(entry) = self.entries.remove(&key) {
            self.order.remove(&entry.used);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let recent = Recent::new(10);
        recent.put(1, 'a', 4);
        recent.put(2, 'b', 4);
        assert_eq!(recent.get(1), Some('a'));
        recent.put(3, 'c', 4);
        assert_eq!(
            [1, 2, 3].map(|key| recent.get(key)),
            [Some('a'), None, Some('c')]
        );
        // Another value in the same place counts once.
        recent.put(3, 'd', 6);
        assert_eq!([1, 3].map(|key| recent.get(key)), [Some('a'), Some('d')]);
        recent.put(4, 'e', 100);
        assert_eq!(
            [1, 3, 4].map(|key| recent.get(key)),
            [None, None, Some('e')]
        );
    }
}
