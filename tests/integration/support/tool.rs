//! Outside tools.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

/// Sends a signal to a program that was started; `kill`, which does that too, is no part of a bare system.
pub(crate) fn signal(process: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    kill(pid, signal).unwrap();
}

/// The process of the watchdog that a running klon has started, if it has started that yet.
pub(crate) fn watchdog_of(klon: u32) -> Option<Pid> {
    let parent = klon.to_string();
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // proc_pid_stat(5): the state and the parent come behind the name in brackets.
        let behind = stat.rsplit_once(") ")?.1;
        let is_child = behind.split(' ').nth(1)? == parent;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let is_it = line.split(|byte| *byte == 0).nth(1) == Some(b"watchdog");
        (is_child && is_it).then_some(Pid::from_raw(pid))
    })
}

/// A tool to be run with the same language and letters everywhere: tests read what tools print, and
/// mtools takes names of files in the locale's letters.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    set_locale(&mut command);
    command
}

fn set_locale(command: &mut Command) {
    command
        .env("LC_ALL", "C.UTF-8")
        .env_remove("LANGUAGE")
        .env("MTOOLS_SKIP_CHECK", "1");
}

/// Runs a tool and gives what it did. A missing tool fails the test.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Output {
    command(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"))
}

/// Runs a tool to success and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    printed(program, arguments, &output(program, arguments))
}

/// The same of a tool that reads `input`.
pub(crate) fn run_with_input(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    printed(program, arguments, &child.wait_with_output().unwrap())
}

fn printed(program: &str, arguments: &[&str], output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}\n{errors}",
        output.status
    );
    text
}

/// Runs a command to success, in the language of the other tools.
pub(crate) fn run_command(command: &mut Command) {
    set_locale(command);
    let name = command.get_program().display().to_string();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} is needed for this test: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}
