//! A device with parts that are never read: they hold nothing that is needed, and may fail.

use super::{Geometry, ReadAt};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// A device with zeroes where it is not read.
#[derive(Clone, Debug)]
pub struct Unread<D> {
    device: D,
    unread: ExtentMap,
}

impl<D> Unread<D> {
    /// `device`. No byte of `unread` is asked for.
    #[must_use]
    pub const fn new(device: D, unread: ExtentMap) -> Self {
        Self { device, unread }
    }
}

impl<D: ReadAt> ReadAt for Unread<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let extent = Extent::new(offset_bytes, buffer.len() as u64);
        let Some(extent) = extent.filter(|extent| self.unread.overlaps(*extent)) else {
            return self.device.read_exact_at(buffer, offset_bytes);
        };
        buffer.fill(0);
        for piece in ExtentMap::from(extent).difference(&self.unread).iter() {
            // Within the buffer, so it fits.
            let start = usize::try_from(piece.offset_bytes().saturating_sub(offset_bytes));
            let len = usize::try_from(piece.len_bytes());
            let (start, len) = (start.unwrap_or(usize::MAX), len.unwrap_or(usize::MAX));
            if let Some(part) = buffer.get_mut(start..start.saturating_add(len)) {
                self.device.read_exact_at(part, piece.offset_bytes())?;
            }
        }
        Ok(())
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(self.device.data(within)?.difference(&self.unread))
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        if self.unread.overlaps(extent) {
            return Ok(None);
        }
        self.device.sha256(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::Unread;
    use crate::device::{KnownBad, MemoryDevice, ReadAt};
    use crate::extent::{Extent, ExtentMap};

    #[test]
    fn what_fails_is_not_asked_for_and_everything_else_is_there() {
        let bad: ExtentMap = [(3, 2), (9, 3)]
            .iter()
            .filter_map(|&(at, len)| Extent::new(at, len))
            .collect();
        let device = MemoryDevice::new((1..=12).collect(), 512);
        let device = Unread::new(KnownBad::new(device, bad.clone()), bad);
        for (at, expected) in [
            (0, &[1, 2, 3, 0, 0, 6, 7, 8, 9, 0, 0, 0][..]),
            (4, &[0, 6]),
            (5, &[6, 7]),
            (10, &[0]),
        ] {
            let mut bytes = vec![0xff; expected.len()];
            device.read_exact_at(&mut bytes, at).unwrap();
            assert_eq!(bytes, expected);
        }
        assert!(device.read_exact_at(&mut [0; 2], 12).is_err());
        let data: ExtentMap = [(0, 3), (5, 4)]
            .iter()
            .filter_map(|&(at, len)| Extent::new(at, len))
            .collect();
        let whole = Extent::new(0, 12).unwrap();
        assert_eq!(device.data(whole).unwrap(), data, "known to be zero");
    }
}
