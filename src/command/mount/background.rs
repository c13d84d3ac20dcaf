//! `klon mount --background`: a second klon mounts and stays; the first ends when that is done.

use super::MountedLine;
use crate::cli::{Common, MountArgs};
use crate::error::Failure;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, ExitCode, Stdio};

/// Starts the klon that stays, and waits until it has mounted.
///
/// # Errors
/// When the process that serves the mount could not begin.
pub fn run(args: &MountArgs, common: &Common) -> Result<ExitCode> {
    let program = std::env::current_exe().context("klon itself")?;
    let mut command = Command::new(program);
    command.args(["mount", "--json", "--detached"]);
    if args.allow_other {
        command.arg("--allow-other");
    }
    // Nobody waits for what holds none of the caller's files.
    command
        .arg("--")
        .args([&args.image, &args.directory])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("klon itself")?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if let Ok(mounted) = serde_json::from_str::<MountedLine>(&line) {
        mounted.report(args, common)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut message = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut message)?;
    }
    let code = child.wait()?.code();
    let message = message.trim().trim_start_matches("klon: ").to_owned();
    Err(Failure {
        message,
        code: code
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(crate::error::DEVICE),
    }
    .into())
}

/// Lets go of the terminal and the directory that klon was started from.
///
/// # Errors
/// When the system refuses a session of its own.
pub fn leave() -> Result<()> {
    nix::unistd::setsid().context("a session of its own")?;
    std::env::set_current_dir("/").context("/")?;
    Ok(())
}
