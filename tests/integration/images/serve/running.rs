//! klon while it serves.

use crate::support::Klon;
use crate::support::tool;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};

/// A klon that runs until it is ended; ended when dropped.
pub(in super::super) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it said once it was ready.
    pub(in super::super) said: Value,
}

impl Running {
    /// Starts it with `--json`, and waits until it says that it is ready.
    pub(in super::super) fn start(klon: &Klon, arguments: &[&str]) -> Self {
        let mut command = klon.command(arguments);
        command.arg("--json").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line:?}"));
        Self {
            child,
            stdout,
            said,
        }
    }

    /// The address that it gives.
    pub(in super::super) fn uri(&self) -> &str {
        self.said["uri"].as_str().unwrap()
    }

    /// Its process.
    pub(in super::super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself, and gives the exit code.
    pub(in super::super) fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Ends it by a signal; gives the exit code and what else it printed.
    pub(in super::super) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (code, rest)
    }

    /// Sends it a signal.
    pub(in super::super) fn signal(&self, signal: &str) {
        let signal: Signal = format!("SIG{signal}").parse().unwrap();
        tool::signal(&self.child, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
            let _ = self.child.wait();
        }
    }
}
