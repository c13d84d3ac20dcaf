//! One hook: a program, or a command for a shell, that may take only so long.

use crate::error::plain_words;
use klon_partition::Shown as _;
use klon_partition::text::{quoted, sealed};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a hook may take to end once it is told to.
const END_MAX: Duration = Duration::from_secs(3);

/// How often it is looked whether a hook has ended.
const LOOK: Duration = Duration::from_millis(10);

/// When a hook is run.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Before anything is frozen.
    Before,
    /// After everything is thawed.
    After,
}

impl Kind {
    /// Its name, as directories and `KLON_HOOK` have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before-freeze",
            Self::After => "after-thaw",
        }
    }
}

/// What is run.
#[derive(Debug)]
pub enum Hook {
    /// A file.
    Program(PathBuf),
    /// What a shell understands.
    Command(OsString),
}

impl Hook {
    /// A file.
    pub const fn program(path: PathBuf) -> Self {
        Self::Program(path)
    }

    /// What a shell understands.
    pub fn command(text: &OsString) -> Self {
        Self::Command(text.clone())
    }

    /// For messages.
    pub fn shown(&self) -> String {
        match self {
            Self::Program(path) => path.shown(),
            Self::Command(text) => quoted(&sealed(text)),
        }
    }

    /// Whether both are for the same: files of one name, or both commands.
    pub fn is_namesake(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Program(one), Self::Program(other)) => one.file_name() == other.file_name(),
            (Self::Command(_), Self::Command(_)) => true,
            _ => false,
        }
    }

    /// Runs it, until it ends, the time is over or someone interrupts. What it prints comes to standard error, as
    /// standard output may be a program's.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence about the hook.
    pub fn run(
        &self,
        kind: Kind,
        environment: &[(&'static str, OsString)],
        timeout: Duration,
        interrupt: Option<&AtomicBool>,
    ) -> Result<(), String> {
        let failed =
            |error: io::Error| format!("can't be run: {}", plain_words(&error.to_string()));
        let stderr = io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        let mut command = match self {
            Self::Program(path) => Command::new(path),
            Self::Command(text) => {
                let mut shell = Command::new("sh");
                shell.args([OsStr::new("-c"), text]);
                shell
            }
        };
        let mut child = command
            .env("KLON_HOOK", kind.name())
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::from(stderr))
            // So that what it has started ends with it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let began = Instant::now();
        loop {
            match child.try_wait().map_err(failed)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(how_it_ended(status)),
                None => {}
            }
            if began.elapsed() >= timeout {
                end(&mut child);
                let timeout = humantime::format_duration(timeout);
                return Err(format!("took longer than {timeout} and was ended"));
            }
            if interrupt.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                end(&mut child);
                return Err("was ended, as klon was told to end".to_owned());
            }
            sleep(LOOK);
        }
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// Ends a hook with all that it has started in its group.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let Ok(group) = group else {
        return;
    };
    let _ = killpg(group, Signal::SIGTERM);
    let told = Instant::now();
    while told.elapsed() < END_MAX {
        if !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        sleep(LOOK);
    }
    // Kills the rest of the process group, and the first process if it still runs.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}
