//! The program, run as a user runs it, with records of its own.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::{panicking, sleep};
use std::time::Duration;
use tempfile::TempDir;

/// A directory of its own with records, in which klon is run.
pub(crate) struct Klon {
    directory: TempDir,
}

impl Klon {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("klon-test-")
            .tempdir()
            .unwrap();
        Self { directory }
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the directory as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Where the records are.
    pub(crate) fn records(&self) -> PathBuf {
        self.path("records")
    }

    /// The file of the only record.
    pub(crate) fn only_record(&self) -> PathBuf {
        let entries = fs::read_dir(self.records()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_record = |path: &PathBuf| path.extension().is_some_and(|it| it == "klonrec");
        let paths: Vec<PathBuf> = paths.filter(is_record).collect();
        assert_eq!(paths.len(), 1, "{paths:?}");
        paths[0].clone()
    }

    /// The command line, in the directory, nobody at the keyboard.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klon"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("KLON_RECORDS", self.records())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::new(arguments, &self.command(arguments).output().unwrap())
    }

    /// Runs a line of bash in the directory, in which `$K` is the program.
    pub(crate) fn shell(&self, line: &str) -> Outcome {
        let output = Command::new("bash")
            .args(["-c", line])
            .current_dir(self.directory.path())
            .env("K", env!("CARGO_BIN_EXE_klon"))
            .env("KLON_RECORDS", self.records())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output();
        Outcome::new(&["in bash:", line], &output.unwrap())
    }

    /// The names in the directory that begin so.
    pub(crate) fn names(&self, start: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
        names.sort();
        names
    }

    /// Runs it to success.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Outcome {
        self.run(arguments).expect(0)
    }

    /// Runs it with `--json` to success and gives the last object.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        self.ok(&arguments).last()
    }

    /// Runs it and expects a refusal whose message contains all of `reasons`.
    pub(crate) fn refused(&self, arguments: &[&str], reasons: &[&str]) -> Outcome {
        let outcome = self.run(arguments).expect(3);
        outcome.says(reasons);
        outcome
    }
}

impl Drop for Klon {
    fn drop(&mut self) {
        // What a killed run has started may still be ending.
        let is_gone = (0..200).any(|_| {
            let removed = fs::remove_dir_all(self.directory());
            removed.is_ok() || !self.directory().exists() || {
                sleep(Duration::from_millis(50));
                false
            }
        });
        let place = self.directory().display();
        assert!(
            is_gone || panicking(),
            "{place} stays: is something mounted in it?"
        );
    }
}

/// What a run did.
pub(crate) struct Outcome {
    /// The command line, for messages.
    pub(crate) line: String,
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Outcome {
    /// Of a process that ended by itself.
    pub(crate) fn new(arguments: &[&str], output: &Output) -> Self {
        let code = output.status.code();
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        // Numbers of the system's errors say nothing to people.
        assert!(!stderr.contains("(os error "), "{arguments:?}: {stderr}");
        Self {
            line: format!("klon {}", arguments.join(" ")),
            code: code.unwrap_or_else(|| panic!("{arguments:?}: {}\n{stderr}", output.status)),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr,
        }
    }

    /// Checks the exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        let Self {
            line,
            stdout,
            stderr,
            ..
        } = &self;
        assert_eq!(self.code, code, "{line}\n{stdout}\n{stderr}");
        self
    }

    /// Checks that each of `parts` is in what was printed.
    pub(crate) fn shows(&self, parts: &[&str]) {
        for part in parts {
            let found = &self.stdout;
            assert!(
                found.contains(part),
                "{}: {part:?} is not in\n{found}",
                self.line
            );
        }
    }

    /// Checks that each of `parts` is in the message.
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            let Self { line, stderr, .. } = self;
            assert!(
                stderr.contains(part),
                "{line}: {part:?} is not in\n{stderr}"
            );
        }
    }

    /// All lines of standard output as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line:?}", self.line));
            assert!(value.is_object(), "{}: {line}", self.line);
            value
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The last line of standard output as JSON.
    pub(crate) fn last(&self) -> Value {
        let last = self.lines().pop();
        last.unwrap_or_else(|| panic!("{} printed nothing", self.line))
    }
}

/// A path as it is typed in a shell: where it has more than letters and signs, in quotes.
pub(crate) fn typed(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    match path.bytes().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{path}'"),
    }
}

/// A number of a JSON object.
pub(crate) fn number(value: &Value, key: &str) -> u64 {
    let found = value[key].as_u64();
    found.unwrap_or_else(|| panic!("{key} is no number in {value:#}"))
}
