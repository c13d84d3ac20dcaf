//! Ctrl-C and the signals by which the system ends a program.

use anyhow::{Context as _, Result};
use klon_partition::locks::lock;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// For commands that run until someone ends them: can be read from once that happens.
pub struct Stop(UnixStream);

impl Stop {
    /// Waits for SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn on_signals() -> Result<Self> {
        let register = || {
            let (stop, signal_end) = UnixStream::pair()?;
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                pipe::register(signal, signal_end.try_clone()?)?;
            }
            Ok(Self(stop))
        };
        register()
            .map_err(|error: std::io::Error| error)
            .context("signals")
    }

    /// Waits for the next signal.
    pub fn wait(&self) {
        // Its other end is never closed.
        let _ = (&self.0).read(&mut [0]);
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The flag that is set by Ctrl-C, SIGTERM and SIGHUP, the same one each time. A second Ctrl-C ends the program
/// at once.
///
/// # Errors
/// What the system says.
pub fn interrupt_flag() -> std::io::Result<Arc<AtomicBool>> {
    static SHARED: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);
    let mut shared = lock(&SHARED);
    if let Some(flag) = &*shared {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Registered first, so that it runs first: only the second signal finds the flag set.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    *shared = Some(Arc::clone(&flag));
    Ok(flag)
}
