//! The plan of a run: what of the target is copied, made zero, or left as it is. Pure.

use crate::chunk::HELD_BYTES;
use crate::error::{Error, Result};
use klon_partition::filesystem::Usage;
use klon_partition::planner::human_size;
use klon_partition::{Extent, ExtentMap};
use serde::Serialize;

/// The split of a whole target into three disjoint parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Size of the source.
    pub source_bytes: u64,
    /// Size of the target, at least the source's.
    pub target_bytes: u64,
    /// Read from the source and written to the target where it differs.
    pub copy: ExtentMap,
    /// Known to be zero on the source without reading (holes of a sparse file); made zero on the
    /// target.
    pub zero: ExtentMap,
    /// Not in use on the source; the target keeps what it has.
    pub leave: ExtentMap,
    /// The part of `copy` and `zero` that is not proven free, and not known to be used.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub unproven: ExtentMap,
    /// The part of `leave` that is not proven free, and is left out by choice.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub left_out: ExtentMap,
}

impl Plan {
    /// Plans the clone of a source of `source_bytes` to a target of `target_bytes`. `usage` says what of the
    /// source is in use, and `data` what may be anything but zero.
    ///
    /// The first mebibyte is always copied, because it is held back until everything else is durable.
    ///
    /// # Errors
    /// [`Error::Refused`] when the target is smaller than the source.
    pub fn new(
        usage: &Usage,
        data: &ExtentMap,
        source_bytes: u64,
        target_bytes: u64,
    ) -> Result<Self> {
        if target_bytes < source_bytes {
            return Err(Error::Refused(format!(
                "the target ({}) is smaller than the source ({}), and klon can't make a filesystem smaller \
                 yet. Choose a target of at least the source's size",
                human_size(target_bytes),
                human_size(source_bytes)
            )));
        }
        let source = ExtentMap::whole(source_bytes);
        let held: ExtentMap = Extent::new(0, HELD_BYTES.min(source_bytes))
            .into_iter()
            .collect();
        let wanted = usage.extents.union(&held).intersection(&source);
        let copy = wanted.intersection(&data.union(&held));
        let zero = wanted.difference(&copy);
        let leave = wanted.complement(target_bytes);
        let plan = Self {
            source_bytes,
            target_bytes,
            unproven: usage.unproven.intersection(&wanted),
            left_out: usage.left_out.intersection(&source).difference(&wanted),
            copy,
            zero,
            leave,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Everything that the target will share with the source.
    #[must_use]
    pub fn wanted(&self) -> ExtentMap {
        self.copy.union(&self.zero)
    }

    /// Checks that copy, zero and leave are disjoint and together the whole target.
    ///
    /// # Errors
    /// [`Error::Internal`] naming the part that is wrong.
    pub fn check(&self) -> Result<()> {
        // The three are computed from each other. A writer relies on them, so whatever is wrong with that is
        // found before the first write.
        self.fault()
            .map_or(Ok(()), |fault| Err(Error::Internal(fault)))
    }

    /// What is wrong with it, in words.
    fn fault(&self) -> Option<String> {
        let overlapping = [
            ("copy and zero", self.copy.intersection(&self.zero)),
            ("copy and leave", self.copy.intersection(&self.leave)),
            ("zero and leave", self.zero.intersection(&self.leave)),
        ];
        for (names, common) in overlapping {
            if let Some(extent) = common.iter().next() {
                return Some(format!("{names} share {extent}"));
            }
        }
        let all = self.wanted().union(&self.leave);
        (all != ExtentMap::whole(self.target_bytes)).then(|| {
            format!(
                "copy, zero and leave are {} of the target's {} bytes",
                all.total_bytes(),
                self.target_bytes
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use klon_partition::filesystem::Usage;
    use klon_partition::{Extent, ExtentMap};
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    const MIB: u64 = 1 << 20;

    fn usage(extents: ExtentMap) -> Usage {
        Usage::mapped(extents)
    }

    fn map() -> impl Strategy<Value = ExtentMap> {
        proptest::collection::vec((0..32_u64, 1..6_u64), 0..10).prop_map(|ranges| {
            ranges
                .into_iter()
                .filter_map(|(start, len)| Extent::new(start * MIB / 4, len * MIB / 4))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn every_used_byte_is_copied_or_made_zero(used in map(), data in map(), extra in 0..3_u64) {
            let source_bytes = 10 * MIB;
            let source = ExtentMap::whole(source_bytes);
            let plan = Plan::new(&usage(used.clone()), &data, source_bytes, source_bytes + extra * MIB).unwrap();
            prop_assert!(plan.check().is_ok());
            prop_assert!(used.intersection(&source).difference(&plan.wanted()).is_empty());
            prop_assert!(plan.zero.intersection(&data).is_empty());
            prop_assert!(plan.copy.contains(Extent::new(0, MIB).unwrap()));
            let all = plan.copy.total_bytes() + plan.zero.total_bytes() + plan.leave.total_bytes();
            prop_assert_eq!(all, plan.target_bytes);
        }
    }

    #[test]
    fn a_smaller_target_is_refused() {
        let error = Plan::new(&usage(ExtentMap::new()), &ExtentMap::new(), 10, 9).unwrap_err();
        assert!(
            error.to_string().contains("at least the source's size"),
            "{error}"
        );
    }
}
