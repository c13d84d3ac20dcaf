//! Where data and holes of a device are, as `lseek` tells it.

use klon_partition::{Extent, ExtentMap, ReadAt, Result};

/// Looked at first; what follows doubles up to the most.
const STEP_BYTES: u64 = 64 << 10;
const STEP_BYTES_MAX: u64 = 1 << 30;

/// The first byte of data at `offset_bytes` or behind it; `None` when none follows.
///
/// # Errors
/// What the device says.
pub fn data(device: &dyn ReadAt, offset_bytes: u64) -> Result<Option<u64>> {
    let mut found = None;
    walk(device, offset_bytes, |_, data| {
        found = data.iter().next().map(Extent::offset_bytes);
        found.is_some()
    })?;
    Ok(found)
}

/// The first byte of a hole at `offset_bytes` or behind it: the device's end, if there is no other.
///
/// # Errors
/// What the device says.
pub fn hole(device: &dyn ReadAt, offset_bytes: u64) -> Result<u64> {
    let mut at = offset_bytes;
    walk(device, offset_bytes, |step, data| {
        for extent in data.iter() {
            if extent.offset_bytes() > at {
                break;
            }
            at = extent.end_bytes();
        }
        at < step.end_bytes()
    })?;
    Ok(at)
}

/// Shows what is known of one step after the other, until `is_found` says so.
fn walk(
    device: &dyn ReadAt,
    offset_bytes: u64,
    mut is_found: impl FnMut(Extent, ExtentMap) -> bool,
) -> Result<()> {
    let size_bytes = device.geometry().size_bytes;
    let (mut start, mut len) = (offset_bytes, STEP_BYTES);
    while let Some(step) = Extent::between(start, start.saturating_add(len).min(size_bytes)) {
        if is_found(step, device.data(step)?) {
            break;
        }
        start = step.end_bytes();
        len = (len * 2).min(STEP_BYTES_MAX);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{data, hole};
    use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};

    struct Sparse(ExtentMap);

    impl ReadAt for Sparse {
        fn geometry(&self) -> Geometry {
            Geometry::new(10 << 20, 512)
        }

        fn read_exact_at(&self, _: &mut [u8], _: u64) -> Result<()> {
            Ok(())
        }

        fn data(&self, within: Extent) -> Result<ExtentMap> {
            Ok(self.0.within(within).collect())
        }
    }

    #[test]
    fn data_and_holes_are_found_over_steps() {
        let mib = 1 << 20;
        let extents = [(100, 50), (2 * mib, 3 * mib)];
        let extents = extents.map(|(offset, len)| Extent::new(offset, len).unwrap());
        let device = Sparse(extents.into_iter().collect());
        for (at, data_at, hole_at) in [
            (0, Some(100), 0),
            (100, Some(100), 150),
            (149, Some(149), 150),
            (150, Some(2 * mib), 150),
            (3 * mib, Some(3 * mib), 5 * mib),
            (5 * mib, None, 5 * mib),
            (10 * mib, None, 10 * mib),
        ] {
            assert_eq!(data(&device, at).unwrap(), data_at, "{at}");
            assert_eq!(hole(&device, at).unwrap(), hole_at, "{at}");
        }
        let full = Sparse(ExtentMap::whole(10 * mib));
        assert_eq!(hole(&full, 7).unwrap(), 10 * mib);
    }
}
