//! The algebra against a naive model: one `bool` per byte.

use super::{Extent, ExtentMap, ExtentMapBuilder};
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

const SIZE_BYTES: u64 = 96;

fn extents() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0..SIZE_BYTES, 1..12_u64), 0..12)
}

fn map(ranges: &[(u64, u64)]) -> ExtentMap {
    ranges
        .iter()
        .filter_map(|&(start, len)| Extent::between(start, (start + len).min(SIZE_BYTES)))
        .collect()
}

fn model(map: &ExtentMap) -> Vec<bool> {
    let mut bytes = vec![false; SIZE_BYTES as usize];
    for extent in map.iter() {
        bytes[extent.offset_bytes() as usize..extent.end_bytes() as usize].fill(true);
    }
    bytes
}

fn combine(a: &ExtentMap, b: &ExtentMap, law: impl Fn(bool, bool) -> bool) -> Vec<bool> {
    model(a)
        .into_iter()
        .zip(model(b))
        .map(|(a, b)| law(a, b))
        .collect()
}

fn is_canonical(map: &ExtentMap) -> bool {
    map.extents()
        .windows(2)
        .all(|pair| pair[0].end_bytes() < pair[1].offset_bytes())
}

proptest! {
    #[test]
    fn set_operations_match_the_model(a in extents(), b in extents()) {
        let (a, b) = (map(&a), map(&b));
        for (result, law) in [
            (a.union(&b), (|x, y| x || y) as fn(bool, bool) -> bool),
            (a.intersection(&b), |x, y| x && y),
            (a.difference(&b), |x, y| x && !y),
        ] {
            prop_assert_eq!(model(&result), combine(&a, &b, law));
            prop_assert!(is_canonical(&result));
        }
        let complement = a.complement(SIZE_BYTES);
        prop_assert_eq!(model(&complement), combine(&a, &a, |x, _| !x));
        prop_assert_eq!(complement.total_bytes() + a.total_bytes(), SIZE_BYTES);
    }

    #[test]
    fn queries_match_the_model(a in extents(), start in 0..SIZE_BYTES, len in 1..20_u64) {
        let a = map(&a);
        let window = Extent::between(start, (start + len).min(SIZE_BYTES)).unwrap();
        let bytes = &model(&a)[window.offset_bytes() as usize..window.end_bytes() as usize];
        prop_assert_eq!(a.contains(window), bytes.iter().all(|&used| used));
        prop_assert_eq!(a.overlaps(window), bytes.iter().any(|&used| used));
        let within: ExtentMap = a.within(window).collect();
        prop_assert_eq!(within, a.intersection(&window.into()));
    }

    #[test]
    fn aligning_out_keeps_every_byte(a in extents(), unit in 1..16_u64) {
        let a = map(&a);
        let aligned = a.aligned_out(unit, SIZE_BYTES);
        prop_assert!(a.difference(&aligned).is_empty());
        prop_assert!(is_canonical(&aligned));
        for extent in aligned.iter() {
            prop_assert_eq!(extent.offset_bytes() % unit, 0);
            prop_assert!(extent.end_bytes() % unit == 0 || extent.end_bytes() == SIZE_BYTES);
        }
    }

    #[test]
    fn splitting_covers_an_extent_in_aligned_pieces(start in 0..500_u64, len in 1..500_u64, size in 1..64_u64) {
        let extent = Extent::new(start, len).unwrap();
        let pieces: Vec<Extent> = extent.split(size).collect();
        prop_assert_eq!(pieces.iter().copied().collect::<ExtentMap>(), extent.into());
        for piece in pieces {
            prop_assert_eq!(piece.offset_bytes() / size, (piece.end_bytes() - 1) / size);
        }
    }

    #[test]
    fn a_bounded_builder_never_loses_a_byte(a in extents(), limit in 1..6_usize) {
        let a = map(&a);
        let mut builder = ExtentMapBuilder::with_limit(limit);
        for extent in a.iter() {
            builder.push(extent);
        }
        let bounded = builder.finish();
        prop_assert!(bounded.extents().len() <= limit);
        prop_assert!(a.difference(&bounded).is_empty());
    }
}

#[test]
fn extents_at_the_end_of_the_address_space_do_not_overflow() {
    assert!(Extent::new(u64::MAX, 1).is_none());
    let last = Extent::new(u64::MAX - 1, 1).unwrap();
    assert_eq!(last.split(4096).collect::<Vec<_>>(), [last]);
    assert_eq!(
        ExtentMap::from(last)
            .aligned_out(4096, u64::MAX)
            .end_bytes(),
        u64::MAX
    );
}
