//! Standard output: JSON is one object a line. A reader that went away (`klon clone … | head -1`)
//! stops nothing: what was asked for is done, and the exit code says how it went.

use crate::json;
use klon_partition::text::printable_lines;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Writes text for people to standard output, as one or more lines; whatever of it is from a disk
/// or a file escaped.
///
/// # Errors
/// What the system says, but that nobody reads it.
pub fn line(text: &str) -> io::Result<()> {
    write(&printable_lines(text))
}

/// Writes a text that is for a file or a program as it is, unless it is shown on a terminal.
///
/// # Errors
/// As [`line()`].
pub fn document(text: &str) -> io::Result<()> {
    match io::stdout().is_terminal() {
        true => line(text),
        false => write(text),
    }
}

fn write(text: &str) -> io::Result<()> {
    match write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn write_all(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Writes one object as one line of JSON.
///
/// # Errors
/// As [`line()`].
pub fn json(object: &impl Serialize) -> io::Result<()> {
    write(&json::text(object)?)
}
