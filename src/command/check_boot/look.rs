//! Looking at a volume's files. What can't be read is told in the report, and the search goes on.

use super::disk::Volume;
use super::report::Report;
use anyhow::Result;
use klon_partition::text::quoted;

/// The most names of one directory that are looked at. A volume to boot from has a few.
const NAMES_MAX: usize = 256;

/// The names in a directory; none where it is not there or can't be read.
///
/// # Errors
/// When the device fails.
pub fn names(volume: &Volume, path: &str, report: &mut Report) -> Result<Vec<String>> {
    let of = format!("{} on {}", quoted(path), volume.name());
    let Some(listing) = report.read(&of, volume.list(path, NAMES_MAX))?.flatten() else {
        return Ok(Vec::new());
    };
    if !listing.is_whole {
        report.unknown(&format!(
            "{of} has more than {NAMES_MAX} names, and the others were not looked at"
        ));
    }
    Ok(listing.names)
}

/// The text of a configuration; `None` where it is not there or can't be read.
///
/// # Errors
/// When the device fails.
pub fn text(volume: &Volume, path: &str, report: &mut Report) -> Result<Option<String>> {
    let of = format!("{} on {}", quoted(path), volume.name());
    let Some(text) = report.read(&of, volume.text(path))?.flatten() else {
        return Ok(None);
    };
    if text.is_cut {
        report.unknown(&format!(
            "{of} is longer than any such configuration, and the end of it was not looked at"
        ));
    }
    Ok(Some(text.lines))
}

/// Whether a file is at that path; `None` where that can't be told.
///
/// # Errors
/// When the device fails.
pub fn has_file(volume: &Volume, path: &str, report: &mut Report) -> Result<Option<bool>> {
    let of = format!("{} on {}", quoted(path), volume.name());
    report.read(&of, volume.has_file(path))
}
