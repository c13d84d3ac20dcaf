//! Programs that the room runs.

use anyhow::{Context as _, Result, anyhow};
use klon_partition::text::sealed_bytes;
use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};

/// Where they are.
pub(super) const PLACES: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin";
/// What is kept of what one says: its last lines.
const LINES_MAX: usize = 6;

/// A program, and the package of Debian that has it.
#[derive(Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    package: &'static str,
}

impl Program {
    pub(super) const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }
}

/// Runs a program of that package to its end; what it asks is answered with nothing.
///
/// # Errors
/// When it can't be started.
pub(super) fn output<A: AsRef<OsStr>>(
    program: Program,
    arguments: impl IntoIterator<Item = A>,
) -> Result<Output> {
    let Program {
        name: program,
        package,
    } = program;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", PLACES)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    let output = command.output();
    match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(anyhow!(
            "the program {program} is missing: apt install {package}"
        )),
        output => output.with_context(|| format!("starting {program}")),
    }
}

/// As [`output`], for a program that must succeed.
///
/// # Errors
/// As [`output`], and what it says when it fails.
pub(super) fn run<A: AsRef<OsStr>>(
    program: Program,
    arguments: impl IntoIterator<Item = A>,
) -> Result<()> {
    let output = output(program, arguments)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(program.name, &output)),
    }
}

/// What a program that failed says of it.
pub(super) fn failed(program: &str, output: &Output) -> anyhow::Error {
    let said = match output.stderr.trim_ascii().is_empty() {
        true => &output.stdout,
        false => &output.stderr,
    };
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES_MAX)..];
    let said = last.join("; ");
    let said = sealed_bytes(said.trim_end_matches('.').as_bytes());
    anyhow!("{program} failed ({}): {said}", output.status)
}
