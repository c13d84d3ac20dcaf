//! Standard output. JSON is one object a line. A reader that went away (`klon clone … | head -1`) stops
//! nothing: klon does what was asked for, and the exit code says how it went. A full disk stops nothing,
//! either: klon says at the end that it could not write its messages, with an exit code of its own.

use crate::error::{self, plain_words, refused, usage};
use crate::json;
use crate::messages::say;
use anyhow::{Context as _, Result};
use klon_partition::text::printable_lines;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::makedev;
use serde::Serialize;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::ExitCode;
use std::sync::OnceLock;

/// The first line that could not be written, and why.
static FAILED: OnceLock<String> = OnceLock::new();

/// Writes text for people to standard output, as one or more lines. Escapes what comes from a disk or a file.
/// [`ended`] tells of a line that could not be written.
///
/// # Errors
/// None at present.
pub fn line(text: &str) -> io::Result<()> {
    print(&printable_lines(text))
}

/// Writes a text that is for a file or a program as it is, unless it is shown on a terminal.
///
/// # Errors
/// As [`line()`].
pub fn document(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() {
        line(text)
    } else {
        print(text)
    }
}

fn print(text: &str) -> io::Result<()> {
    match write(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            FAILED.get_or_init(|| plain_words(&error.to_string()));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn write(text: &str) -> io::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // One line after the other, also from several threads.
    let _one = io::stdout().lock();
    descriptor()?.write_all(format!("{text}{end}").as_bytes())
}

/// The descriptor itself: `io::Stdout` takes one that can't be written to for a success.
fn descriptor() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Writes one object as one line of JSON.
///
/// # Errors
/// As [`line()`].
pub fn json(object: &impl Serialize) -> io::Result<()> {
    print(&json::text(object)?)
}

/// The exit code of a command that ended with `code`, after it is said when something could not be
/// printed. `done` says what is done all the same.
pub fn ended(code: ExitCode, done: &str) -> ExitCode {
    let Some(reason) = FAILED.get() else {
        return code;
    };
    if code != ExitCode::SUCCESS {
        say(&format!(
            "klon: can't write all messages to standard output: {reason}"
        ));
        return code;
    }
    say(&format!(
        "klon: {done}, but klon can't write its messages to standard output: {reason}"
    ));
    ExitCode::from(error::DEVICE)
}

/// Refuses an output that is closed, before a command whose whole result is what it prints reads anything.
///
/// # Errors
/// A refusal of an output that is closed or can't be written to.
pub fn check_read() -> Result<()> {
    if is_closed(&descriptor().context("standard output")?).context("standard output")? {
        return Err(refused(
            "standard output is closed, so nobody would see what this command shows. Send it to a file \
             (> FILE) or to a program. To throw it away on purpose, use > /dev/null",
        ));
    }
    Ok(())
}

/// Standard output as the place of a backup.
pub struct Stream(File);

impl Stream {
    /// Takes standard output for an image or for bytes of one.
    ///
    /// # Errors
    /// A refusal of what would keep nothing of it: a terminal, an output that is closed or can't be
    /// written to.
    pub fn open() -> Result<Self> {
        if io::stdout().is_terminal() {
            return Err(usage(
                "standard output is a terminal, which keeps nothing. Send it to a file (> FILE) or \
                 to a program (| ssh …)",
            ));
        }
        let file = descriptor().context("standard output")?;
        if is_closed(&file).context("standard output")? {
            return Err(refused(
                "standard output is closed, so nothing would be kept. Send it to a file (> FILE) \
                 or to a program (| ssh …). To throw it away on purpose, use > /dev/null",
            ));
        }
        Ok(Self(file))
    }
}

/// Whether standard output was closed when the program began, or can't be written to. The runtime of
/// Rust puts /dev/null in the place of a closed one, open for reading and writing; who throws
/// something away opens it for writing.
fn is_closed(file: &File) -> io::Result<bool> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    let access = flags & OFlag::O_ACCMODE;
    let metadata = file.metadata()?;
    // Documentation/admin-guide/devices.txt: character device 1:3.
    let is_null = metadata.file_type().is_char_device() && metadata.rdev() == makedev(1, 3);
    Ok(access == OFlag::O_RDONLY || (is_null && access == OFlag::O_RDWR))
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Makes a file durable; the end of a pipe is not ours.
    fn flush(&mut self) -> io::Result<()> {
        if !self.0.metadata()?.is_file() {
            return Ok(());
        }
        match self.0.sync_data() {
            // Not every filesystem can.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_closed;
    use std::fs::File;

    #[test]
    fn null_is_closed_only_as_the_runtime_opens_it() {
        let open = |read, write| {
            let opened = File::options().read(read).write(write).open("/dev/null");
            is_closed(&opened.unwrap()).unwrap()
        };
        assert!(open(true, true));
        assert!(!open(false, true));
        assert!(open(true, false));
        let file = tempfile::tempfile().unwrap();
        assert!(!is_closed(&file).unwrap());
        let full = File::options().read(true).write(true).open("/dev/full");
        assert!(!is_closed(&full.unwrap()).unwrap());
    }
}
