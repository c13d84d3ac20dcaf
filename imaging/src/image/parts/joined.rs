//! Several devices one behind the other, as one.

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};

/// Several devices one behind the other, as one.
pub(in crate::image) struct Joined<D> {
    parts: Vec<(u64, D)>,
    size_bytes: u64,
}

impl<D: ReadAt> Joined<D> {
    /// `parts` in order.
    pub(in crate::image) fn new(parts: Vec<D>) -> Self {
        let mut size_bytes = 0_u64;
        let place = |part: D| {
            let start = size_bytes;
            size_bytes = start.saturating_add(part.geometry().size_bytes);
            (start, part)
        };
        Self {
            parts: parts.into_iter().map(place).collect(),
            size_bytes,
        }
    }

    /// The parts of `within`.
    fn parts(&self, within: Extent) -> impl Iterator<Item = PartOf<'_, D>> {
        let first = self
            .parts
            .partition_point(|part| part.0 <= within.offset_bytes());
        let parts = self.parts[first.saturating_sub(1)..].iter();
        parts
            .take_while(move |part| part.0 < within.end_bytes())
            .filter_map(move |(start, device)| {
                let all = Extent::new(*start, device.geometry().size_bytes)?;
                let here = all.intersection(within)?;
                Some(PartOf {
                    device,
                    start_bytes: *start,
                    extent: Extent::new(here.offset_bytes() - start, here.len_bytes())?,
                })
            })
    }
}

/// What of a range is in one part.
struct PartOf<'a, D> {
    device: &'a D,
    /// Where the part begins in all.
    start_bytes: u64,
    /// What of the part is meant.
    extent: Extent,
}

impl<D: ReadAt> ReadAt for Joined<D> {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let Some(all) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        let mut rest = buffer;
        for PartOf { device, extent, .. } in self.parts(all) {
            let len = usize::try_from(extent.len_bytes()).unwrap_or(rest.len());
            let (out, behind) = rest.split_at_mut(len.min(rest.len()));
            device.read_exact_at(out, extent.offset_bytes())?;
            rest = behind;
        }
        Ok(())
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let mut all = Vec::new();
        for part in self.parts(within) {
            let data = part.device.data(part.extent)?;
            all.extend(data.shifted(part.start_bytes).iter());
        }
        Ok(all.into_iter().collect())
    }
}
