//! A copy that has zeroes where its original could not be read, and says so when it is read there.

use super::{Geometry, ReadAt};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};

/// A device that fails where its bytes are known not to be the right ones.
#[derive(Clone, Debug)]
pub struct KnownBad<D> {
    device: D,
    bad: ExtentMap,
}

impl<D> KnownBad<D> {
    /// `device`, whose reads of any byte of `bad` fail.
    #[must_use]
    pub const fn new(device: D, bad: ExtentMap) -> Self {
        Self { device, bad }
    }
}

impl<D: ReadAt> ReadAt for KnownBad<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let len_bytes = buffer.len() as u64;
        let extent = Extent::new(offset_bytes, len_bytes);
        if extent.is_some_and(|extent| self.bad.overlaps(extent)) {
            let source = std::io::Error::other("could not be read from the source");
            return Err(Error::io(Operation::Read, offset_bytes, len_bytes, source));
        }
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device.data(within)
    }
}

#[cfg(test)]
mod tests {
    use super::KnownBad;
    use crate::device::{MemoryDevice, ReadAt};
    use crate::extent::{Extent, ExtentMap};

    #[test]
    fn only_reads_of_bad_bytes_fail() {
        let bad = ExtentMap::from(Extent::new(3, 2).unwrap());
        let device = KnownBad::new(MemoryDevice::zeroed(8), bad);
        let fails = |at, len| device.read_exact_at(&mut vec![0; len], at).is_err();
        assert!(!fails(0, 3) && !fails(5, 3) && !fails(4, 0));
        assert!(fails(0, 8) && fails(2, 2) && fails(4, 1));
    }
}
