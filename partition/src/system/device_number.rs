//! The numbers by which the kernel knows devices.

use std::fmt;

/// The number of a block device, or of a mounted filesystem, which is the one of its device where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// Which driver; 0 for filesystems without a device: Btrfs, network and memory filesystems.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// Splits a number of `stat` as glibc's `major` and `minor` do.
    pub(super) const fn split(number: u64) -> Self {
        let major = ((number >> 8) & 0xfff) | ((number >> 32) & !0xfff);
        let minor = (number & 0xff) | ((number >> 12) & !0xff);
        Self {
            major: major as u32,
            minor: minor as u32,
        }
    }

    /// Reads `major:minor`, as sysfs and mountinfo have it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
