//! A device that is read up to a limit: structures of a hostile disk may lead to the same bytes again and again.

use klon_partition::ReadAt;
use klon_partition::device::Geometry;
use klon_partition::error::{Error, Result};
use klon_partition::extent::{Extent, ExtentMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is read of one disk for directories and configurations. A hundred kernels of a sound one take 64 MiB.
pub const LIMIT_BYTES: u64 = 512 << 20;
/// What a read counts for at least.
const READ_BYTES_MIN: u64 = 4096;

/// How much may still be read, of all volumes together.
#[derive(Clone)]
pub struct Left(Arc<AtomicU64>);

impl Left {
    /// That many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }
}

/// A device that is read up to a limit.
pub struct Metered<D> {
    /// What is read.
    pub device: D,
    /// How much of it.
    pub left: Left,
}

impl<D: ReadAt> ReadAt for Metered<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let spent_bytes = READ_BYTES_MIN.max(buffer.len() as u64);
        let spend = |left: u64| left.checked_sub(spent_bytes);
        let spent = self
            .left
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        if spent.is_err() {
            return Err(Error::Refused(
                "the directories and configurations on this disk take longer to read than those of any sound one, so \
                 klon reads no more of them"
                    .to_owned(),
            ));
        }
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device.data(within)
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        self.device.sha256(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::{Left, Metered};
    use klon_partition::ReadAt;
    use klon_partition::device::MemoryDevice;

    #[test]
    fn all_devices_share_what_may_be_read() {
        let left = Left::new(3 * 4096);
        let metered = || Metered {
            device: MemoryDevice::new(vec![7; 1 << 16], 512),
            left: left.clone(),
        };
        let (first, second) = (metered(), metered());
        let mut byte = [0];
        first.read_exact_at(&mut byte, 0).unwrap();
        second.read_exact_at(&mut [0; 5000], 0).unwrap();
        assert!(first.read_exact_at(&mut byte, 0).is_err());
        assert_eq!(byte, [7]);
    }
}
