//! A lock on a disk that udev and partitioning tools respect.
//!
//! See <https://systemd.io/BLOCK_DEVICE_LOCKING>: whoever changes a disk takes an exclusive
//! `flock` on the whole disk's node, and udev waits with looking at it until that is released.

use super::System;
use crate::error::{Error, Result};
use crate::text::Shown;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// udev itself locks a disk while it looks at it, which is soon over.
const PATIENCE: Duration = Duration::from_secs(3);

/// A lock on a whole disk, released when dropped.
#[derive(Debug)]
pub struct DiskLock {
    // Closing it releases the lock. A plain file needs none: the open target has its own.
    _disk: Option<File>,
}

/// Locks the whole disk that `path` is, or is a partition of. A plain file is left alone.
///
/// # Errors
/// [`Error::Refused`] when another program keeps the lock, [`Error::Open`] when the disk can't be
/// opened, and as [`System::locate`].
pub fn lock(path: &Path) -> Result<DiskLock> {
    let Some(disk) = System::current()?.disk_of(path)? else {
        return Ok(DiskLock { _disk: None });
    };
    let open_error = |doing, source| Error::Open {
        path: disk.path.clone(),
        doing,
        source,
    };
    let node = File::open(&disk.path).map_err(|source| open_error("open to lock it", source))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.try_lock() {
            Ok(()) => return Ok(DiskLock { _disk: Some(node) }),
            Err(TryLockError::Error(source)) => return Err(open_error("lock", source)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!(
                    "{} is locked by another program, such as a partitioning tool; \
                     `fuser -v {0}` names it",
                    disk.path.shown()
                )));
            }
        }
    }
}
