//! Leaves read before they are asked for, many at a time.

use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::Extent;
use std::collections::HashMap;

/// Bytes of leaves that are read ahead.
const AHEAD_BYTES: u64 = 1 << 20;
/// A gap between leaves that is read along with them: it costs less than another request.
const GAP_BYTES: u64 = 32 << 10;

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
        let near = |last: &Extent, next: &Extent| {
            let gap_bytes = next.offset_bytes().checked_sub(last.end_bytes());
            gap_bytes.is_some_and(|bytes| bytes <= GAP_BYTES)
        };
        for run in places.chunk_by(near) {
            read_run(device, run, leaves);
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
