//! Bringing a mounted filesystem to rest, and letting it go. These are the bare calls: who uses them sees to
//! it that nothing stays frozen (`src/still` of the program does).

use crate::device::ioctl;
use std::fs::File;
use std::io;

/// Freezes the filesystem that `file` is on (`FIFREEZE`): what was written is brought to its device, in a
/// consistent state, and whoever writes waits from then on. It can't be interrupted, and takes as long as
/// the device needs.
///
/// # Errors
/// `EBUSY` when it is frozen already, `EOPNOTSUPP` when this kind of filesystem can't be frozen, `EPERM`
/// without the rights of root.
pub fn freeze(file: &File) -> io::Result<()> {
    ioctl::freeze(file)
}

/// Thaws the filesystem that `file` is on (`FITHAW`), whoever has frozen it.
///
/// # Errors
/// `EINVAL` when it is not frozen, or is just being frozen; `EPERM` without the rights of root.
pub fn thaw(file: &File) -> io::Result<()> {
    ioctl::thaw(file)
}

/// Makes the filesystem read-only that is mounted where `root` was opened, or lets it be written to again;
/// all other options stay. It is written to its device as an unmount would.
///
/// # Errors
/// `EBUSY` when a file is open for writing, `EINVAL` when `root` is not where it is mounted, `EPERM`
/// without the rights of root.
pub fn set_read_only(root: &File, is_read_only: bool) -> io::Result<()> {
    ioctl::set_read_only(root, is_read_only)
}

/// Writes what the page cache of a block device has and drops it (`BLKFLSBUF`), so that buffered reads show
/// what is on the medium. The cache of a mounted device is not that of its filesystem's files.
///
/// # Errors
/// What the system says; `EACCES` without the rights of root.
pub fn drop_cache(device: &File) -> io::Result<()> {
    ioctl::flush_buffers(device)
}
