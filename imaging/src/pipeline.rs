//! One bounded, ordered pipeline: source → work × N → sink.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;

/// Takes items from `source` in one thread, does `work` on them in `threads` threads, and gives
/// the results to `sink` in the order of the source, in the calling thread.
///
/// At most `2 × threads + 1` items are anywhere between source and sink. The first error, in the
/// order of the source, stops all stages and is returned; `sink` sees no item after it.
///
/// # Errors
/// What `source`, `work` or `sink` return.
pub fn run<I: Send, O: Send, E: Send>(
    threads: NonZeroUsize,
    source: impl Iterator<Item = Result<I, E>> + Send,
    work: impl Fn(I) -> Result<O, E> + Sync,
    mut sink: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E> {
    let in_flight_max = threads.get().saturating_mul(2).saturating_add(1);
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
    use super::run;
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
