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

/// Says which two overlap, and where they lie; number 0 is a record of the chain of logical partitions.
pub(super) fn overlap_told(pair: [(u32, Extent); 2], sector_bytes: u32) -> String {
    let sector_bytes = u64::from(sector_bytes.max(1));
    let [one, other] = pair.map(|(number, extent)| {
        let first = extent.offset_bytes() / sector_bytes;
        let last = (extent.end_bytes() / sector_bytes).saturating_sub(1);
        match number {
            0 => format!("the extended boot record in sector {first}"),
            _ => format!("partition {number} (sectors {first} to {last})"),
        }
    });
    format!("{one} and {other} overlap")
}
