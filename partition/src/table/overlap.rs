//! Partitions that share a byte.

use crate::extent::Extent;

/// The first two of `items` (number and extent) that share a byte, in order of their start.
pub(super) fn overlap(items: impl Iterator<Item = (u32, Extent)>) -> Option<[(u32, Extent); 2]> {
    let mut sorted: Vec<(u32, Extent)> = items.collect();
    sorted.sort_unstable_by_key(|(_, extent)| *extent);
    sorted.windows(2).find_map(|pair| match pair {
        [one, other] if one.1.overlaps(other.1) => Some([*one, *other]),
        _ => None,
    })
}
