//! Runs of ones in bitmaps.

/// Calls `visit` with (first, length) of the runs of ones among the first `count` bits,
/// which start at the lowest of the first byte.
pub(super) fn for_each_run(bytes: &[u8], count: u64, visit: &mut impl FnMut(u64, u64)) {
    let end = (bytes.len() as u64).saturating_mul(8).min(count);
    let mut start = None;
    for (first, chunk) in (0..end).step_by(64).zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        word.iter_mut()
            .zip(chunk)
            .for_each(|(to, byte)| *to = *byte);
        let word = u64::from_le_bytes(word);
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
