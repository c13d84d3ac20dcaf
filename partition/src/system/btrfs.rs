//! What the kernel's Btrfs knows of devices.

use crate::device::ioctl;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Lets the kernel's Btrfs forget a device that it has seen, by its name. Newer kernels do that by themselves
/// when a filesystem of one device is unmounted, so nothing is told where it can't be done.
pub fn forget_btrfs(device: &Path) {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/btrfs-control");
    if let Ok(control) = control {
        let _ = ioctl::forget_btrfs(&control, device.as_os_str().as_bytes());
    }
}

/// Whether a Btrfs with this UUID is mounted, from whichever device.
#[must_use]
pub fn is_btrfs_mounted(uuid: &str) -> bool {
    Path::new("/sys/fs/btrfs").join(uuid).exists()
}
