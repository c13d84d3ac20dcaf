//! Runs of ones in bitmaps.

/// Calls `visit` with (first, length) of the runs of ones among the first `count` bits,
/// which start at the lowest of the first byte.
pub(super) fn for_each_run(bytes: &[u8], count: u64, visit: &mut impl FnMut(u64, u64)) {
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
            let byte = chunk.get((bit / 8) as usize).copied().unwrap_or(0xff);
            see(
                first.saturating_add(bit),
                byte >> (bit % 8) & 1 == 1,
                &mut start,
            );
        }
    }
    see(end, false, &mut start);
}

#[cfg(test)]
mod tests {
    use super::for_each_run;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn runs_are_the_ones(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![any::<u8>(), proptest::strategy::Just(0), proptest::strategy::Just(0xff)],
                0..40
            ),
            cut in 0_u64..20
        ) {
            let count = (bytes.len() as u64 * 8).saturating_sub(cut);
            let is_one = |bit: &u64| bytes[(*bit / 8) as usize] >> (bit % 8) & 1 == 1;
            let expected: Vec<u64> = (0..count).filter(is_one).collect();
            let mut found = Vec::new();
            for_each_run(&bytes, count, &mut |first, len| found.extend(first..first + len));
            prop_assert_eq!(found, expected);
        }
    }
}
