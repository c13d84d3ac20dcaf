//! A device that is opened anew after an error: kernels slow down, or refuse, further reads through
//! a descriptor that has met a bad sector.

use super::{Geometry, ReadAt};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::locks::lock;
use std::fmt;
use std::sync::{Arc, Mutex};

/// How a device is opened again.
type Open = Box<dyn Fn() -> Result<Arc<dyn ReadAt>> + Send + Sync>;

/// A device that is closed when a read of it fails, and opened again for the next.
pub struct ReopenAt {
    geometry: Geometry,
    open: Open,
    /// `None` after an error.
    device: Mutex<Option<Arc<dyn ReadAt>>>,
}

impl ReopenAt {
    /// `device`, which `open` opens again.
    ///
    /// The device is let go before it is opened again, so that a claim on it can be renewed: nobody
    /// else may hold it.
    #[must_use]
    pub fn new(device: Arc<dyn ReadAt>, open: Open) -> Self {
        Self {
            geometry: device.geometry(),
            open,
            device: Mutex::new(Some(device)),
        }
    }

    fn device(&self) -> Result<Arc<dyn ReadAt>> {
        let mut device = lock(&self.device);
        if let Some(device) = &*device {
            return Ok(device.clone());
        }
        let opened = (self.open)()?;
        if opened.geometry() != self.geometry {
            return Err(Error::Refused(format!(
                "the device that was opened again after an error is another one: it has {} bytes, \
                 expected {}",
                opened.geometry().size_bytes,
                self.geometry.size_bytes
            )));
        }
        *device = Some(opened.clone());
        Ok(opened)
    }

    fn close(&self) {
        *lock(&self.device) = None;
    }
}

impl fmt::Debug for ReopenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReopenAt")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl ReadAt for ReopenAt {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let result = self.device()?.read_exact_at(buffer, offset_bytes);
        if matches!(result, Err(Error::Io { .. })) {
            self.close();
        }
        result
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device()?.data(within)
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        self.device()?.sha256(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::ReopenAt;
    use crate::device::{Fault, FaultAt, MemoryDevice, ReadAt};
    use crate::error::Error;
    use crate::extent::Extent;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn bad(size: usize) -> Arc<dyn ReadAt> {
        let fault = Fault::Unreadable(Extent::new(3, 2).unwrap());
        Arc::new(FaultAt::new(MemoryDevice::zeroed(size), Some(fault)))
    }

    #[test]
    fn each_error_opens_the_device_once_again() {
        let opened = Arc::new(AtomicU64::new(0));
        let count = opened.clone();
        let open = move || {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(bad(8))
        };
        let device = ReopenAt::new(bad(8), Box::new(open));
        let fails = |at, len| device.read_exact_at(&mut vec![0; len], at).is_err();
        assert!(!fails(0, 3));
        assert_eq!(opened.load(Ordering::SeqCst), 0);
        assert!(fails(2, 2) && !fails(5, 3) && fails(0, 8) && !fails(0, 1));
        assert_eq!(opened.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn another_device_in_its_place_is_refused() {
        let device = ReopenAt::new(bad(8), Box::new(|| Ok(bad(16))));
        assert!(device.read_exact_at(&mut [0; 8], 0).is_err());
        let error = device.read_exact_at(&mut [0; 1], 0).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
    }
}
