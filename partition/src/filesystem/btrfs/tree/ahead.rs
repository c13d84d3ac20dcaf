//! Leaves read before they are asked for, many at a time.

use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::Extent;
use std::collections::HashMap;

/// Bytes of leaves that are read ahead.
const AHEAD_BYTES: u64 = 2 << 20;
/// A gap between leaves that is read along with them: it costs less than another request.
const GAP_BYTES: u64 = 128 << 10;
/// What is read at once.
const RUN_BYTES_MAX: u64 = 2 << 20;

/// Leaves of one tree by where they lie on the volume.
pub(super) struct Ahead(Option<HashMap<Extent, Vec<u8>>>);

impl Ahead {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// The bytes of the leaf at `wanted`. If they are not there yet, they are read together with
    /// those of the leaves at `next`, which follow it in the tree.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device can't read the leaf. Failures with the leaves that
    /// follow are left to when these are wanted.
    pub(super) fn read(
        &mut self,
        device: &dyn ReadAt,
        wanted: Extent,
        next: &mut dyn Iterator<Item = Extent>,
    ) -> Result<Vec<u8>> {
        let leaves = self.0.get_or_insert_default();
        if let Some(raw) = leaves.remove(&wanted) {
            return Ok(raw);
        }
        leaves.clear();
        let count = AHEAD_BYTES / wanted.len_bytes();
        let next = next.take(usize::try_from(count).unwrap_or(1));
        let mut places: Vec<Extent> = std::iter::once(wanted).chain(next).collect();
        places.sort_unstable();
        let mut rest = places.as_slice();
        while let Some(first) = rest.first() {
            let (run, behind) = rest.split_at(run_len(first, rest));
            // The leaf alone is read below, once.
            if run != [wanted] {
                read_run(device, run, leaves);
            }
            rest = behind;
        }
        match leaves.remove(&wanted) {
            Some(raw) => Ok(raw),
            None => read_one(device, wanted),
        }
    }
}

fn read_one(device: &dyn ReadAt, extent: Extent) -> Result<Vec<u8>> {
    let len = usize::try_from(extent.len_bytes()).unwrap_or_default();
    read_vec(device, extent.offset_bytes(), len)
}

/// How many of the leaves are read together with the first one.
fn run_len(first: &Extent, leaves: &[Extent]) -> usize {
    let is_near = |pair: &[Extent]| {
        let [last, next] = pair else { return false };
        let gap_bytes = next.offset_bytes().checked_sub(last.end_bytes());
        let len_bytes = next.end_bytes().abs_diff(first.offset_bytes());
        gap_bytes.is_some_and(|bytes| bytes <= GAP_BYTES) && len_bytes <= RUN_BYTES_MAX
    };
    1 + leaves.windows(2).take_while(|pair| is_near(pair)).count()
}

/// Reads leaves that lie close to each other, in ascending order.
fn read_run(device: &dyn ReadAt, run: &[Extent], leaves: &mut HashMap<Extent, Vec<u8>>) {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return;
    };
    let all = Extent::between(first.offset_bytes(), last.end_bytes());
    let Some(Ok(raw)) = all.map(|all| read_one(device, all)) else {
        return;
    };
    for leaf in run {
        let start = usize::try_from(leaf.offset_bytes().abs_diff(first.offset_bytes()));
        let len = usize::try_from(leaf.len_bytes());
        let (Ok(start), Ok(len)) = (start, len) else {
            continue;
        };
        let bytes = raw.get(start..).and_then(|rest| rest.get(..len));
        leaves.extend(bytes.map(|bytes| (*leaf, bytes.to_vec())));
    }
}

#[cfg(test)]
mod tests {
    use super::Ahead;
    use crate::device::{Fault, FaultAt, MemoryDevice};
    use crate::extent::Extent;

    const LEAF_BYTES: u64 = 4096;

    fn leaf(index: u64) -> Extent {
        Extent::new(index * LEAF_BYTES, LEAF_BYTES).unwrap()
    }

    /// Leaves are filled with their index.
    fn device(fault: Option<Fault>) -> FaultAt<MemoryDevice> {
        let bytes = (0..=255).flat_map(|index| [index; LEAF_BYTES as usize]);
        FaultAt::new(MemoryDevice::new(bytes.collect(), 512), fault)
    }

    /// Two that are near each other in any order, one alone, and two with a gap.
    const LEAVES: [u64; 5] = [9, 8, 100, 200, 202];

    /// The first byte of each leaf, or none where it can't be read.
    fn read_all(device: &FaultAt<MemoryDevice>) -> Vec<Option<u8>> {
        let mut ahead = Ahead::new();
        let read = |index: usize| {
            let mut next = LEAVES[index + 1..].iter().map(|&next| leaf(next));
            let raw = ahead.read(device, leaf(LEAVES[index]), &mut next).ok()?;
            assert!(raw.len() == LEAF_BYTES as usize && raw.iter().all(|&byte| byte == raw[0]));
            Some(raw[0])
        };
        (0..LEAVES.len()).map(read).collect()
    }

    #[test]
    fn near_leaves_are_read_at_once() {
        let device = device(None);
        let expected = LEAVES.map(|index| u8::try_from(index).ok());
        assert_eq!(read_all(&device), expected);
        assert_eq!(device.operations(), 3);
    }

    #[test]
    fn what_is_bad_between_leaves_does_not_matter() {
        let device = device(Some(Fault::Unreadable(leaf(201))));
        let expected = LEAVES.map(|index| u8::try_from(index).ok());
        assert_eq!(read_all(&device), expected);
        assert!(device.has_tripped());
    }

    #[test]
    fn a_bad_leaf_fails_alone() {
        for bad in LEAVES {
            let device = device(Some(Fault::Unreadable(leaf(bad))));
            let byte = |index: u64| u8::try_from(index).ok().filter(|_| index != bad);
            assert_eq!(read_all(&device), LEAVES.map(byte), "{bad}");
        }
    }
}
