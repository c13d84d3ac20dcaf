//! One bounded, ordered pipeline: source → work × N → sink.

mod batches;

pub use batches::Batches;

use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;

/// How many threads work at once, and how many items are anywhere between source and sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    threads: NonZeroUsize,
    in_flight_max: usize,
}

/// The most bytes of items in the pipeline, those in work included.
const IN_FLIGHT_BYTES: usize = 48 << 20;
const AT_WORK_BYTES: usize = 32 << 20;
/// Bytes that workers have for themselves at most, all together.
const OWN_BYTES: usize = 64 << 20;

impl Flow {
    /// Up to `threads`, fewer where items are so large that they would take much memory. Each thread
    /// needs `own_bytes` beside its item.
    #[must_use]
    pub fn of_items(threads: NonZeroUsize, item_bytes: usize, own_bytes: usize) -> Self {
        let item_bytes = item_bytes.max(1);
        let at_work = (AT_WORK_BYTES / item_bytes).max(2);
        let room = (OWN_BYTES / own_bytes.max(1)).max(1);
        let threads = NonZeroUsize::new(threads.get().min(at_work).min(room));
        let all = Self::from(threads.unwrap_or(NonZeroUsize::MIN));
        Self {
            in_flight_max: all.in_flight_max.min((IN_FLIGHT_BYTES / item_bytes).max(2)),
            ..all
        }
    }
}

impl From<NonZeroUsize> for Flow {
    /// For items that are small: at most `2 × threads + 1` of them.
    fn from(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            in_flight_max: threads.get().saturating_mul(2).saturating_add(1),
        }
    }
}

/// Takes items from `source` in one thread, does `work` on them in the threads of `flow`, and gives
/// the results to `sink` in the order of the source, in the calling thread.
///
/// No more items than `flow` says are anywhere between source and sink. The first error, in the
/// order of the source, stops all stages and is returned; `sink` sees no item after it.
///
/// # Errors
/// What `source`, `work` or `sink` return.
pub fn run<I: Send, O: Send, E: Send>(
    flow: impl Into<Flow>,
    source: impl Iterator<Item = Result<I, E>> + Send,
    work: impl Fn(I) -> Result<O, E> + Sync,
    mut sink: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E> {
    let Flow {
        threads,
        in_flight_max,
    } = flow.into();
    let (permit_sender, permits) = bounded::<()>(in_flight_max);
    let (task_sender, tasks) = bounded(in_flight_max);
    let (result_sender, results) = bounded(in_flight_max);
    for _ in 0..in_flight_max {
        // The channel holds as many as it is filled with, so this never blocks or fails.
        let _ = permit_sender.send(());
    }
    let work = &work;
    thread::scope(|scope| {
        scope.spawn(move || feed(source, &permits, &task_sender));
        for _ in 0..threads.get() {
            let (tasks, result_sender) = (tasks.clone(), result_sender.clone());
            scope.spawn(move || {
                for (sequence, task) in tasks {
                    let result = Result::and_then(task, work);
                    if result_sender.send((sequence, result)).is_err() {
                        return;
                    }
                }
            });
        }
        // Only the threads hold these now, so that the ends of the channels are seen.
        drop((tasks, result_sender));
        drain(results, permit_sender, &mut sink)
    })
}

/// The same for items of which many ask for next to no work. A thread takes several of those at once, as handing
/// over each takes longer than the work.
///
/// # Errors
/// What `source`, `work` or `sink` return.
pub fn run_in_batches<I: Send, O: Send, E: Send, S, L>(
    flow: impl Into<Flow>,
    source: Batches<S, L>,
    work: impl Fn(I) -> Result<O, E> + Sync,
    mut sink: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E>
where
    S: Iterator<Item = Result<I, E>> + Send,
    L: Fn(&I) -> bool + Send,
{
    let source = source.map(Ok);
    let each = |batch: Vec<Result<I, E>>| Ok(batches::work_on(batch, &work));
    run(flow, source, each, |results| {
        results.into_iter().try_for_each(|result| sink(result?))
    })
}

type Numbered<T> = (u64, T);

fn feed<I, E>(
    source: impl Iterator<Item = Result<I, E>>,
    permits: &Receiver<()>,
    tasks: &Sender<Numbered<Result<I, E>>>,
) {
    for (sequence, item) in (0_u64..).zip(source) {
        let is_last = item.is_err();
        if permits.recv().is_err() || tasks.send((sequence, item)).is_err() || is_last {
            return;
        }
    }
}

/// Owns its channel ends: dropping them on an error is what stops the other stages.
fn drain<O, E>(
    results: Receiver<Numbered<Result<O, E>>>,
    permits: Sender<()>,
    sink: &mut impl FnMut(O) -> Result<(), E>,
) -> Result<(), E> {
    let mut early = BTreeMap::new();
    let mut next = 0_u64;
    for (sequence, result) in results {
        early.insert(sequence, result);
        while let Some(result) = early.remove(&next) {
            sink(result?)?;
            next = next.saturating_add(1);
            // The source may have ended and hung up already.
            let _ = permits.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Flow, run};
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

    fn slow_for_some(item: u32) -> u32 {
        if item.is_multiple_of(7) {
            std::thread::sleep(Duration::from_millis(2));
        }
        item * 2
    }

    #[test]
    fn results_come_in_the_order_of_the_source() {
        let mut seen = Vec::new();
        let source = (0..200).map(Ok::<u32, ()>);
        run(
            THREADS,
            source,
            |item| Ok(slow_for_some(item)),
            |item| {
                seen.push(item);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, (0..200).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_in_order_stops_everything() {
        for stage in ["source", "work", "sink"] {
            let mut seen = Vec::new();
            let source = (0..1000).map(|item| {
                if stage == "source" && item == 50 {
                    Err(item)
                } else {
                    Ok(item)
                }
            });
            let work = |item| {
                if stage == "work" && item >= 50 {
                    Err(item)
                } else {
                    Ok(item)
                }
            };
            let result = run(THREADS, source, work, |item| {
                if stage == "sink" && item == 50 {
                    return Err(item);
                }
                seen.push(item);
                Ok(())
            });
            assert_eq!(result, Err(50), "{stage}");
            assert_eq!(seen, (0..50).collect::<Vec<_>>(), "{stage}");
        }
    }

    #[test]
    fn of_large_items_there_are_few() {
        let flow = |threads, item_mib: usize, own_mib: usize| {
            let threads = NonZeroUsize::new(threads).unwrap();
            let flow = Flow::of_items(threads, item_mib << 20, own_mib << 20);
            (flow.threads.get(), flow.in_flight_max)
        };
        assert_eq!(flow(4, 1, 0), (4, 9));
        assert_eq!(flow(16, 1, 2), (16, 33));
        assert_eq!(flow(16, 4, 2), (8, 12));
        assert_eq!(flow(16, 16, 2), (2, 3));
        assert_eq!(flow(16, 1, 16), (4, 9));
        assert_eq!(flow(16, 16, 80), (1, 3));
        assert_eq!(flow(1, 0, 0), (1, 3));
    }

    #[test]
    fn what_is_in_flight_is_bounded_however_slow_the_sink() {
        let (started, sunk) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let source = (0..100).map(|item| {
            let in_flight = started.fetch_add(1, Ordering::SeqCst) - sunk.load(Ordering::SeqCst);
            assert!(in_flight <= 2 * THREADS.get() + 2, "{in_flight}");
            Ok::<u32, ()>(item)
        });
        run(THREADS, source, Ok, |_| {
            std::thread::sleep(Duration::from_micros(200));
            sunk.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
        assert_eq!(sunk.into_inner(), 100);
    }
}
