//! Descriptors of extents, as block status tells them.

use klon_partition::{Extent, ExtentMap};

/// Descriptors of one answer; a client asks again for the rest.
pub(super) const DESCRIPTORS_MAX: usize = 1 << 15;
/// How much is looked at at once, so that a long request takes no more memory than a short one.
const STEP_BYTES: u64 = 64 << 20;

/// So many bytes, and their flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) len: u32,
    pub(super) flags: u32,
}

/// The flags of what is looked for.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    /// Flags of the matching extents.
    pub(super) inside: u32,
    /// Flags of all others.
    pub(super) outside: u32,
}

/// Consecutive descriptors from the start of `within` on, at most `max` of them. `look` finds what is inside.
pub(super) fn describe(
    within: Extent,
    flags: Flags,
    max: usize,
    look: impl Fn(Extent) -> ExtentMap,
) -> Vec<Descriptor> {
    let Flags { inside, outside } = flags;
    let mut list = List::default();
    for step in within.split(STEP_BYTES) {
        let mut at = step.offset_bytes();
        for found in look(step).iter().filter_map(|one| one.intersection(step)) {
            list.push(found.offset_bytes().saturating_sub(at), outside);
            list.push(found.len_bytes(), inside);
            at = found.end_bytes();
        }
        list.push(step.end_bytes().saturating_sub(at), outside);
        // The last one may go on in the next step.
        if list.0.len() > max {
            break;
        }
    }
    list.0.truncate(max);
    list.0
}

#[derive(Default)]
struct List(Vec<Descriptor>);

impl List {
    fn push(&mut self, len_bytes: u64, flags: u32) {
        // A request is no longer than this.
        let len = u32::try_from(len_bytes).unwrap_or(u32::MAX);
        if len == 0 {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.flags == flags
            && let Some(sum) = last.len.checked_add(len)
        {
            last.len = sum;
            return;
        }
        self.0.push(Descriptor { len, flags });
    }
}

#[cfg(test)]
mod tests {
    use super::{Descriptor, Flags, STEP_BYTES, describe};
    use klon_partition::{Extent, ExtentMap};

    fn map(extents: &[(u64, u64)]) -> ExtentMap {
        let extent = |&(offset, len): &(u64, u64)| Extent::new(offset, len).unwrap();
        extents.iter().map(extent).collect()
    }

    #[test]
    fn extents_are_joined_over_steps() {
        let data = map(&[(100, 50), (STEP_BYTES - 10, 20), (3 * STEP_BYTES, 5)]);
        let within = Extent::new(120, 3 * STEP_BYTES).unwrap();
        let look = |step: Extent| data.within(step).collect();
        let step = STEP_BYTES as u32;
        let all = [
            (30, 1),
            (step - 160, 2),
            (20, 1),
            (2 * step - 10, 2),
            (5, 1),
            (115, 2),
        ];
        let all = all.map(|(len, flags)| Descriptor { len, flags });
        let flags = Flags {
            inside: 1,
            outside: 2,
        };
        assert_eq!(describe(within, flags, 99, look), all);
        assert_eq!(describe(within, flags, 1, look), all[..1]);
        let look = |_: Extent| map(&[]);
        let rest = Descriptor {
            len: 3 * step,
            flags: 2,
        };
        assert_eq!(describe(within, flags, 1, look), [rest]);
    }
}
