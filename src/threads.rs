//! How many threads to use.

use std::num::NonZeroUsize;

/// What was asked for, else two more than there are processors: while some wait for a device,
/// the others digest.
pub fn count(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(processors.saturating_add(2).min(16)).unwrap_or(NonZeroUsize::MIN)
    })
}
