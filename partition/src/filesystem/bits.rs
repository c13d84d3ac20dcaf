//! Runs of ones in a bitmap.

/// Which bit of a byte comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The bit of value 1.
    LeastFirst,
    /// The bit of value 128.
    MostFirst,
}

/// Calls `visit` with (first, length) of the runs of ones among the first `count` bits.
pub(super) fn for_each_run(
    bytes: &[u8],
    order: Order,
    count: u64,
    visit: &mut impl FnMut(u64, u64),
) {
    let end = (bytes.len() as u64).saturating_mul(8).min(count);
    let mut start = None;
    let mut see = |bit: u64, is_one: bool, start: &mut Option<u64>| match (is_one, *start) {
        (true, None) => *start = Some(bit),
        (false, Some(first)) => {
            visit(first, bit.saturating_sub(first));
            *start = None;
        }
        _ => {}
    };
    for (index, chunk) in bytes.chunks(8).enumerate() {
        let first = (index as u64).saturating_mul(64);
        let is_uniform = |value: u8| chunk.iter().all(|&byte| byte == value);
        let is_whole = first.saturating_add(64) <= end;
        if is_whole && (is_uniform(0) || is_uniform(0xff)) {
            see(first, is_uniform(0xff), &mut start);
            continue;
        }
        let bits = (chunk.len() as u64).saturating_mul(8);
        for bit in 0..bits.min(end.saturating_sub(first)) {
            let is_one = is_set(chunk, order, bit).unwrap_or(true);
            see(first.saturating_add(bit), is_one, &mut start);
        }
    }
    see(end, false, &mut start);
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
    use super::{Order, for_each_run};
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
}
