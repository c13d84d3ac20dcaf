//! A part of a device as a device of its own: a partition inside a disk.

use super::{Geometry, ReadAt, WriteAt, check_range};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};

/// The bytes of `extent` of another device; position 0 is its first.
#[derive(Clone, Debug)]
pub struct Window<D> {
    device: D,
    extent: Extent,
}

impl<D: ReadAt> Window<D> {
    /// A window on `extent` of `device`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the extent does not lie on the device.
    pub fn new(device: D, extent: Extent) -> Result<Self> {
        let size_bytes = device.geometry().size_bytes;
        if extent.end_bytes() > size_bytes {
            return Err(Error::Invalid(format!(
                "the range {extent} does not lie on a device of {size_bytes} bytes"
            )));
        }
        Ok(Self { device, extent })
    }

    /// Where the window lies on the device beneath.
    #[must_use]
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    fn position(&self, operation: Operation, offset_bytes: u64, len: usize) -> Result<u64> {
        check_range(self.geometry(), operation, offset_bytes, len)?;
        Ok(self.extent.offset_bytes() + offset_bytes)
    }

    /// What is known of the window's extents on the device beneath, with offsets in the window.
    fn inner(&self, outer: &ExtentMap) -> ExtentMap {
        let start_bytes = self.extent.offset_bytes();
        let inner = |extent: Extent| {
            let offset_bytes = extent.offset_bytes().checked_sub(start_bytes)?;
            Extent::new(offset_bytes, extent.len_bytes())
        };
        outer.iter().filter_map(inner).collect()
    }

    fn outer(&self, operation: Operation, extent: Extent) -> Result<Extent> {
        let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
        self.position(operation, extent.offset_bytes(), len)?;
        extent
            .shifted(self.extent.offset_bytes())
            .ok_or_else(|| Error::Invalid(format!("the range {extent} overflows")))
    }
}

impl<D: ReadAt> ReadAt for Window<D> {
    fn geometry(&self) -> Geometry {
        Geometry {
            size_bytes: self.extent.len_bytes(),
            ..self.device.geometry()
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let position = self.position(Operation::Read, offset_bytes, buffer.len())?;
        self.device.read_exact_at(buffer, position)
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        self.device.sha256(self.outer(Operation::Read, extent)?)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let data = self.device.data(self.outer(Operation::Read, within)?)?;
        Ok(self.inner(&data))
    }
}

impl<D: WriteAt> WriteAt for Window<D> {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        let position = self.position(Operation::Write, offset_bytes, data.len())?;
        self.device.write_all_at(data, position)
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.device.zero(self.outer(Operation::Zero, extent)?)
    }

    fn discard(&self, extent: Extent) -> Result<()> {
        self.device.discard(self.outer(Operation::Discard, extent)?)
    }

    fn sync(&self) -> Result<()> {
        self.device.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use crate::device::{MemoryDevice, ReadAt, WriteAt};
    use crate::extent::Extent;

    fn window(device: &MemoryDevice) -> Window<&MemoryDevice> {
        Window::new(device, Extent::new(100, 50).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_lands_at_the_shifted_place() {
        let disk = MemoryDevice::new(vec![7; 200], 512);
        let window = window(&disk);
        window.write_all_at(&[1, 2], 48).unwrap();
        window.zero(Extent::new(0, 10).unwrap()).unwrap();
        let bytes = disk.to_vec();
        assert_eq!(
            (&bytes[98..111], &bytes[147..151]),
            (
                &[7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
                &[7, 1, 2, 7][..]
            )
        );
    }

    #[test]
    fn nothing_outside_can_be_reached() {
        let disk = MemoryDevice::zeroed(200);
        let window = window(&disk);
        assert!(window.write_all_at(&[1, 2], 49).is_err());
        assert!(window.read_exact_at(&mut [0; 2], u64::MAX).is_err());
        assert!(window.zero(Extent::new(50, 1).unwrap()).is_err());
        assert!(Window::new(&disk, Extent::new(190, 11).unwrap()).is_err());
    }
}
