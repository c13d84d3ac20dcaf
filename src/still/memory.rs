//! Keeps klon in memory. While the volume that klon runs from, or a volume with swap, is frozen, klon must not need
//! to read or write it to go on.

use crate::error::refused;
use anyhow::Result;
use klon_partition::locks;
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use std::io;
use std::sync::Mutex;

/// How many want it.
static LOCKS: Mutex<u32> = Mutex::new(0);

/// As long as there is one, all pages of this process are and stay in memory: code, stacks of all threads, and
/// what is allocated meanwhile.
#[derive(Debug)]
pub struct Locked(());

impl Locked {
    /// Brings all pages to memory.
    ///
    /// # Errors
    /// A refusal when there is not enough of it, or klon may not.
    pub fn all() -> Result<Self> {
        let mut locks = locks::lock(&LOCKS);
        if *locks == 0 {
            lock().map_err(|error| {
                refused(format!(
                    "klon's memory can't be locked ({error}), and without that a frozen volume could stop \
                     klon itself. Let klon run as root, with more free memory or more locked memory \
                     allowed (ulimit -l unlimited)"
                ))
            })?;
        }
        *locks += 1;
        Ok(Self(()))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut locks = locks::lock(&LOCKS);
        *locks -= 1;
        if *locks == 0 {
            // Nothing is held any more, so pages that stay locked do no harm.
            let _ = munlockall();
        }
    }
}

/// Locks all pages that there are and all that will come. The stacks of threads are then in memory as a
/// whole.
///
/// # Errors
/// What the system says.
pub fn lock() -> io::Result<()> {
    Ok(mlockall(
        MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE,
    )?)
}
