//! The room: a process of its own in which programs and the kernel work on what klon serves.

use super::{Job, namespace, work};
use crate::error::{message, usage};
use crate::output;
use anyhow::{Context as _, Result, anyhow};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

/// Does one job, and writes the answer or the failure to standard output. The klon with the process ID `klon`
/// waits for it.
///
/// # Errors
/// When klon did not start it.
pub fn run(job: &str, klon: i32, covered: &Path) -> Result<ExitCode> {
    let job: Job = job.parse().map_err(usage)?;
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let socket = UnixStream::from(socket.context("standard input")?);
    if socket.peer_addr().is_err() {
        return Err(usage("klon starts this itself"));
    }
    // This process is useless once klon is gone: nobody would answer its reads.
    set_pdeathsig(Signal::SIGKILL).context("an end with klon's")?;
    if getppid().as_raw() != klon {
        return Err(anyhow!("klon is gone"));
    }
    std::env::set_current_dir("/").context("/")?;
    let done = namespace::enter(covered, &socket).and_then(|place| work::run(job, &place));
    match done {
        Ok(answer) => {
            if let Some(answer) = answer {
                output::line(&answer.to_string())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            output::line(&message(&error))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
