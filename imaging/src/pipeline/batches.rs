//! Items of a pipeline that ask for next to no work, gathered so that several are handed over at once.

/// The most items of a batch. All of them are in memory.
const BATCH_MAX: usize = 256;

/// Batches of the items of `source`, in order: each ends with an item that asks for work, with an error, or when it is full.
pub struct Batches<S, L> {
    source: S,
    is_light: L,
}

impl<S, L> Batches<S, L> {
    /// `is_light` says which items ask for next to no work.
    pub const fn of(source: S, is_light: L) -> Self {
        Self { source, is_light }
    }
}

impl<I, E, S, L> Iterator for Batches<S, L>
where
    S: Iterator<Item = Result<I, E>>,
    L: Fn(&I) -> bool,
{
    type Item = Vec<Result<I, E>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX {
            let Some(item) = self.source.next() else {
                break;
            };
            let is_light = item.as_ref().is_ok_and(&self.is_light);
            batch.push(item);
            if !is_light {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}

/// Works on the items of a batch, up to the first error, which is the last result.
pub(super) fn work_on<I, O, E>(
    batch: Vec<Result<I, E>>,
    work: impl Fn(I) -> Result<O, E>,
) -> Vec<Result<O, E>> {
    let mut results = Vec::with_capacity(batch.len());
    for item in batch {
        let result = item.and_then(&work);
        let is_last = result.is_err();
        results.push(result);
        if is_last {
            break;
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::{BATCH_MAX, Batches};
    use crate::pipeline::run_in_batches;
    use std::num::NonZeroUsize;

    const THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

    const fn is_light(item: &usize) -> bool {
        !item.is_multiple_of(700)
    }

    #[test]
    fn a_batch_ends_with_work_or_an_error_or_when_it_is_full() {
        let source = (1..2000).map(|item| if item == 1900 { Err(()) } else { Ok(item) });
        let lens: Vec<usize> = Batches::of(source, is_light)
            .map(|batch| batch.len())
            .collect();
        let full = BATCH_MAX;
        let up_to_work = 700 - 2 * full;
        assert_eq!(
            lens,
            [
                full,
                full,
                up_to_work,
                full,
                full,
                up_to_work,
                full,
                500 - full,
                99
            ]
        );
    }

    #[test]
    fn results_come_in_the_order_of_the_source() {
        let mut seen = Vec::new();
        let batches = Batches::of((0..5000).map(Ok::<usize, ()>), is_light);
        run_in_batches(
            THREADS,
            batches,
            |item| Ok(item * 2),
            |item| {
                seen.push(item);
                Ok(())
            },
        )
        .unwrap();
        assert!(seen.into_iter().eq((0..5000).map(|item| item * 2)));
    }

    #[test]
    fn the_first_error_in_order_stops_everything() {
        for stage in ["source", "work", "sink"] {
            let fails_in = |name: &str, item: usize| match stage == name && item == 1000 {
                true => Err(item),
                false => Ok(item),
            };
            let mut seen = 0;
            let source = (0..5000).map(|item| fails_in("source", item));
            let result = run_in_batches(
                THREADS,
                Batches::of(source, is_light),
                |item| fails_in("work", item),
                |item| {
                    fails_in("sink", item)?;
                    seen += 1;
                    Ok(())
                },
            );
            assert_eq!((result, seen), (Err(1000), 1000), "{stage}");
        }
    }
}
