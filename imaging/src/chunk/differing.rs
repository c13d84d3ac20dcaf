//! Where two chunks differ, in blocks.

use super::{BLOCK_BYTES, range_in};
use klon_partition::Extent;

/// The blocks of `wanted` in which `source` and `target`, both holding `chunk`, differ. Blocks are
/// 4 KiB, aligned to the volume, and cut where `wanted` is.
pub(crate) fn differing(
    chunk: Extent,
    wanted: &[Extent],
    source: &[u8],
    target: &[u8],
) -> Vec<Extent> {
    let mut found: Vec<Extent> = Vec::new();
    for block in wanted.iter().flat_map(|extent| extent.split(BLOCK_BYTES)) {
        let range = range_in(chunk, block);
        if source[range.clone()] == target[range] {
            continue;
        }
        let joined = found
            .last()
            .filter(|last| last.end_bytes() == block.offset_bytes())
            .and_then(|last| Extent::between(last.offset_bytes(), block.end_bytes()));
        match (joined, found.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => found.push(block),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::differing;
    use klon_partition::Extent;

    #[test]
    fn only_differing_blocks_are_named_and_neighbors_are_joined() {
        let chunk = Extent::new(1 << 20, 1 << 20).unwrap();
        let source = vec![0; 1 << 20];
        let mut target = source.clone();
        for at in [5000, 8192, 20_000, 40_000] {
            target[at] = 1;
        }
        let wanted = [
            Extent::new((1 << 20) + 512, 30_000).unwrap(),
            Extent::new((1 << 20) + 50_000, 100).unwrap(),
        ];
        let found = differing(chunk, &wanted, &source, &target);
        let expected = [(4096, 8192), (16384, 4096)]
            .map(|(offset, len)| Extent::new((1 << 20) + offset, len).unwrap());
        assert_eq!(found, expected);
    }
}
