//! What of a disk in use every pass reads again, as nothing shows it to be as the pass before found it.

use klon_partition::filesystem::{Basis, Kind, Usage};
use klon_partition::{Extent, ExtentMap};

/// What the kernel's account says of writes through a disk itself, past its partitions, since the look before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// There were none.
    Quiet,
    /// There were some.
    Written,
    /// Nobody counts them; of a single volume there is nothing to be counted.
    Uncounted,
}

impl Past {
    /// By the counts at the look before and now.
    pub(crate) const fn between(before: Option<u64>, now: Option<u64>) -> Self {
        match (before, now) {
            (Some(before), Some(now)) if before == now => Self::Quiet,
            (Some(_), Some(_)) => Self::Written,
            _ => Self::Uncounted,
        }
    }
}

/// What of `wanted` is in none of the `volumes` of a disk: the table, and the room that nobody proved free. Swap
/// belongs to it, as the kernel writes to it past all of this. Of the room only the ends are read again, where boot
/// loaders lie, when nothing was written there. What was written through the disk itself may have come to any
/// place, also within a volume: then it is all of `wanted`.
pub(crate) fn read_again<'a>(
    volumes: impl Iterator<Item = (Extent, &'a Usage)>,
    (wanted, usage): (&ExtentMap, &Usage),
    past: Past,
) -> ExtentMap {
    let others = volumes.filter(|(_, usage)| !is_swap(usage));
    let of_volumes: ExtentMap = others.map(|(part, _)| part).collect();
    let all = wanted.difference(&of_volumes);
    match past {
        Past::Written => wanted.clone(),
        Past::Uncounted => all,
        Past::Quiet => all.difference(&usage.unproven.difference(&usage.edges)),
    }
}

/// Whether it is swap of which only the header is needed.
fn is_swap(usage: &Usage) -> bool {
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    kind == Some(Kind::Swap) && usage.basis == Basis::Map
}

#[cfg(test)]
mod tests {
    use super::{Past, read_again};
    use klon_partition::filesystem::Usage;
    use klon_partition::{Extent, ExtentMap};

    fn map(extents: &[(u64, u64)]) -> ExtentMap {
        let extents = extents.iter();
        extents
            .filter_map(|&(at, len)| Extent::new(at, len))
            .collect()
    }

    #[test]
    fn all_is_read_again_where_something_was_written_through_the_disk() {
        let volume = Usage::mapped(map(&[(0, 100)]));
        let volumes = || [(Extent::new(100, 100).unwrap(), &volume)].into_iter();
        // A table, a gap with two ends, a volume, and another gap.
        let disk = Usage {
            unproven: map(&[(10, 90), (200, 50)]),
            edges: map(&[(10, 20), (80, 20), (200, 50)]),
            ..Usage::mapped(map(&[(0, 250)]))
        };
        let wanted = disk.extents.clone();
        let all = read_again(volumes(), (&wanted, &disk), Past::Written);
        assert_eq!(all, wanted);
        let outside = read_again(volumes(), (&wanted, &disk), Past::Uncounted);
        assert_eq!(outside, map(&[(0, 100), (200, 50)]));
        let ends = read_again(volumes(), (&wanted, &disk), Past::Quiet);
        assert_eq!(ends, map(&[(0, 30), (80, 20), (200, 50)]));
        let whole = [(Extent::new(0, 250).unwrap(), &disk)].into_iter();
        assert!(read_again(whole, (&wanted, &disk), Past::Uncounted).is_empty());
        assert_eq!(Past::between(Some(1), Some(1)), Past::Quiet);
        assert_eq!(Past::between(Some(1), Some(2)), Past::Written);
        assert_eq!(Past::between(None, None), Past::Uncounted);
    }
}
