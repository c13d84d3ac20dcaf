//! The bytes of a disk in use that each pass reads again, because nothing shows them unchanged.

use super::source::LiveSource;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Kind, Usage};

/// What the kernel's account says of writes through a disk itself, past its partitions, since the look before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// There were none.
    Quiet,
    /// There were some.
    Written,
    /// Nobody counts them; of a single volume there is nothing to be counted.
    Uncounted,
}

impl Past {
    /// By the counts at the look before and now. What was not counted all the while may have been written.
    pub(super) fn between(before: Option<u64>, now: Option<u64>) -> Self {
        match (before, now) {
            (None, None) => Self::Uncounted,
            _ if before == now => Self::Quiet,
            _ => Self::Written,
        }
    }
}

/// What of `wanted` is in no volume of a disk: the table, and the room that nobody proved free. Swap
/// belongs to it, as the kernel writes to it past all of this. Of the room only the ends are read again, where boot
/// loaders lie, when nothing was written there. What was written through the disk itself may have come to any
/// place, also within a volume: then it is all of `wanted`.
pub(super) fn read_again(found: &LiveSource, wanted: &ExtentMap, past: Past) -> ExtentMap {
    let others = found.volumes.iter().filter(|it| !is_swap(&it.usage));
    let of_volumes: ExtentMap = others.map(|it| it.part).collect();
    let all = wanted.difference(&of_volumes);
    let usage = &found.usage;
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
    use crate::live::{LiveSource, LiveVolume};
    use crate::record::Consistency;
    use klon_partition::device::MemoryDevice;
    use klon_partition::filesystem::Usage;
    use klon_partition::{Extent, ExtentMap};
    use std::sync::Arc;

    fn map(extents: &[(u64, u64)]) -> ExtentMap {
        let extents = extents.iter();
        extents
            .filter_map(|&(at, len)| Extent::new(at, len))
            .collect()
    }

    /// A source of 250 bytes with such volumes.
    fn source(usage: Usage, parts: &[Extent]) -> LiveSource {
        let volume = |&part: &Extent| LiveVolume {
            number: 1,
            part,
            usage: Usage::mapped(map(&[(0, 100)])),
            rested: None,
        };
        LiveSource {
            source: Arc::new(MemoryDevice::zeroed(250)),
            usage,
            consistency: Consistency::Frozen,
            volumes: parts.iter().map(volume).collect(),
            written_past: None,
        }
    }

    #[test]
    fn all_is_read_again_where_something_was_written_through_the_disk() {
        // A table, a gap with two ends, a volume, and another gap.
        let usage = Usage {
            unproven: map(&[(10, 90), (200, 50)]),
            edges: map(&[(10, 20), (80, 20), (200, 50)]),
            ..Usage::mapped(map(&[(0, 250)]))
        };
        let wanted = usage.extents.clone();
        let disk = source(usage.clone(), &[Extent::new(100, 100).unwrap()]);
        assert_eq!(read_again(&disk, &wanted, Past::Written), wanted);
        let outside = read_again(&disk, &wanted, Past::Uncounted);
        assert_eq!(outside, map(&[(0, 100), (200, 50)]));
        let ends = read_again(&disk, &wanted, Past::Quiet);
        assert_eq!(ends, map(&[(0, 30), (80, 20), (200, 50)]));
        let whole = source(usage, &[Extent::new(0, 250).unwrap()]);
        assert!(read_again(&whole, &wanted, Past::Uncounted).is_empty());
    }

    #[test]
    fn what_was_not_counted_all_the_while_may_have_been_written() {
        assert_eq!(Past::between(Some(1), Some(1)), Past::Quiet);
        assert_eq!(Past::between(Some(1), Some(2)), Past::Written);
        assert_eq!(Past::between(Some(1), None), Past::Written);
        assert_eq!(Past::between(None, Some(1)), Past::Written);
        assert_eq!(Past::between(None, None), Past::Uncounted);
    }
}
