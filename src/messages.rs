//! Messages for people on standard error.

use klon_partition::text::printable_lines;
use std::io::Write;

/// A line for people, on standard error, whatever of it is from a disk or a file escaped; nobody
/// reading it is no error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable_lines(text));
}
