//! Runs of ones in a bitmap.

/// Which bit of a byte comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The bit of value 1.
    LeastFirst,
    /// The bit of value 128.
    MostFirst,
}

/// Calls `visit` with the first bit and the length of each run of ones among the first `count` bits.
pub(super) fn for_each_run(
    bytes: &[u8],
    order: Order,
    count: u64,
    visit: &mut impl FnMut(u64, u64),
) {
    let end = (bytes.len() as u64).saturating_mul(8).min(count);
    let mut start = None;
    for (first, chunk) in (0..end).step_by(64).zip(bytes.chunks(8)) {
        let word = word(chunk, order);
        let bits = end.saturating_sub(first).min(64);
        let mut at = 0;
        while at < bits {
            let rest = word >> at;
            let here = first.saturating_add(at);
            let (is_one, len) = match rest.trailing_ones() {
                0 => (false, rest.trailing_zeros()),
                ones => (true, ones),
            };
            match (is_one, start) {
                (true, None) => start = Some(here),
                (false, Some(begun)) => {
                    visit(begun, here.saturating_sub(begun));
                    start = None;
                }
                _ => {}
            }
            at = at.saturating_add(u64::from(len));
        }
    }
    if let Some(begun) = start {
        visit(begun, end.saturating_sub(begun));
    }
}

/// As [`for_each_run`], but the bits beyond the end of `bytes` are ones. A run may come in two parts.
pub(super) fn for_each_run_or_missing(
    bytes: &[u8],
    order: Order,
    count: u64,
    visit: &mut impl FnMut(u64, u64),
) {
    for_each_run(bytes, order, count, visit);
    let there = (bytes.len() as u64).saturating_mul(8).min(count);
    if there < count {
        visit(there, count - there);
    }
}

/// Up to 64 bits, the first one lowest.
fn word(chunk: &[u8], order: Order) -> u64 {
    let mut word = [0; 8];
    for (to, &byte) in word.iter_mut().zip(chunk) {
        *to = match order {
            Order::LeastFirst => byte,
            Order::MostFirst => byte.reverse_bits(),
        };
    }
    u64::from_le_bytes(word)
}

/// Whether a bit is set; `None` beyond the end.
pub(super) fn is_set(bytes: &[u8], order: Order, bit: u64) -> Option<bool> {
    let byte = bytes.get(usize::try_from(bit / 8).ok()?)?;
    let shift = match order {
        Order::LeastFirst => bit % 8,
        Order::MostFirst => 7 - bit % 8,
    };
    Some(byte >> shift & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::{Order, for_each_run, for_each_run_or_missing};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn runs_are_the_ones(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![any::<u8>(), proptest::strategy::Just(0), proptest::strategy::Just(0xff)],
                0..40
            ),
            cut in 0_u64..20,
            is_most_first in any::<bool>()
        ) {
            let count = (bytes.len() as u64 * 8).saturating_sub(cut);
            let order = if is_most_first { Order::MostFirst } else { Order::LeastFirst };
            let is_one = |bit: &u64| {
                let byte = bytes[(*bit / 8) as usize];
                let byte = if is_most_first { byte.reverse_bits() } else { byte };
                byte >> (bit % 8) & 1 == 1
            };
            let expected: Vec<u64> = (0..count).filter(is_one).collect();
            let mut found = Vec::new();
            for_each_run(&bytes, order, count, &mut |first, len| found.extend(first..first + len));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn bits_that_are_missing_are_ones() {
        for (bytes, count, expected) in [
            (&[0xff, 0xff][..], 10, vec![(0, 10)]),
            (&[0, 0], 16, vec![]),
            (&[0x81], 20, vec![(0, 1), (7, 1), (8, 12)]),
            (&[], 300, vec![(0, 300)]),
            (&[], 0, vec![]),
        ] {
            let mut found = Vec::new();
            let visit = &mut |first, len| found.push((first, len));
            for_each_run_or_missing(bytes, Order::LeastFirst, count, visit);
            assert_eq!(found, expected);
        }
    }
}
