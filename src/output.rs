//! Standard output: a closed pipe is a quiet end, not a panic; JSON is one object a line.

use serde::Serialize;
use std::io::{self, Write};

/// Writes one line to standard output.
///
/// # Errors
/// What the system says; [`is_broken_pipe`] tells a reader that went away.
pub fn line(text: &str) -> io::Result<()> {
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

/// Whether an error is a reader of our output that went away (`klon devices | head`).
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
