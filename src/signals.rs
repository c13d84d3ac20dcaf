//! Commands that run until someone ends them: Ctrl-C, or a signal of the system.

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Can be read from once the program shall end.
pub struct Stop(UnixStream);

impl Stop {
    /// Waits for SIGINT, SIGTERM and SIGHUP from now on.
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
