//! Standard output: JSON is one object a line. A reader that went away (`klon clone … | head -1`)
//! stops nothing: what was asked for is done, and the exit code says how it went.

use serde::Serialize;
use std::io::{self, Write};

/// Writes one line to standard output.
///
/// # Errors
/// What the system says, but that nobody reads it.
pub fn line(text: &str) -> io::Result<()> {
    match write(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn write(text: &str) -> io::Result<()> {
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
    line(&serde_json::to_string(object)?)
}
