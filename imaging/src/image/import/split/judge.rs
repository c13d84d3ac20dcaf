//! Whether files with names as parts have are parts of one file.

use super::{Parts, is_beginning, len_of};
use crate::foreign;
use klon_partition::device::look_at;
use klon_partition::filesystem::{is_cut, probe};
use klon_partition::inspect::inspect;
use klon_partition::{Error, ReadAt, Result};
use std::path::{Path, PathBuf};

/// What the first of the files shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// A disk or volume, and nothing of it is missing.
    Whole,
    /// A disk or volume that goes on behind the end of the file.
    Cut,
    /// A file of another program.
    Foreign,
    Nothing,
}

/// Whether files that are counted can only be parts: the first is incomplete by itself, no other begins like
/// a disk or an image, and none is longer than a part may be.
pub(super) fn are_counted(paths: &[PathBuf]) -> Result<bool> {
    let [first, others @ ..] = paths else {
        return Ok(false);
    };
    if others.is_empty() {
        return Ok(false);
    }
    let others = match start_of(first)? {
        // What tells nothing of itself may be anything.
        Start::Whole | Start::Nothing => return Ok(false),
        // Within a disk any part may begin with a file: the next one alone counts.
        Start::Cut => &others[..1],
        Start::Foreign => others,
    };
    let most_bytes = len_of(first)?.saturating_add(paths.len() as u64);
    for other in others {
        if len_of(other)? > most_bytes || is_beginning(other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether files whose names are those of parts are parts. Some names tell more than others: who names two
/// files `xaa` and `xab` means parts, who names them `sda` and `sdb` need not.
///
/// # Errors
/// [`Error::Invalid`] where much speaks for it, and something against it.
pub(super) fn are_parts(parts: &Parts, is_telling: bool) -> Result<bool> {
    let [first, second, ..] = paths(parts)[..] else {
        return Ok(false);
    };
    if !is_telling {
        let paths: Vec<PathBuf> = parts.paths.iter().cloned().collect();
        return Ok(are_counted(&paths)? && parts.check_lengths().is_ok());
    }
    let is_own = is_beginning(second)?;
    let fits = parts.check_lengths().is_ok();
    match start_of(first)? {
        Start::Whole if is_own || !fits => Ok(false),
        Start::Whole => Err(parts.doubtful("the first seems to be whole by itself")),
        _ if is_own => Err(parts.doubtful("the next begins like a disk or an image by itself")),
        _ if !fits => Err(parts.doubtful("their sizes are not those of parts")),
        _ => Ok(true),
    }
}

fn paths(parts: &Parts) -> Vec<&Path> {
    parts.paths.iter().map(PathBuf::as_path).collect()
}

/// What a file shows of itself.
fn start_of(path: &Path) -> Result<Start> {
    let file = look_at(path)?;
    match foreign::recognize(&file) {
        Ok(None) => {}
        Err(error @ Error::Io { .. }) => return Err(error),
        _ => return Ok(Start::Foreign),
    }
    if let Ok(layout) = inspect(&file) {
        if layout.doubt().is_some() {
            return Ok(Start::Cut);
        }
        if layout.table.is_some() {
            return Ok(Start::Whole);
        }
    }
    let size_bytes = file.geometry().size_bytes;
    Ok(match probe(&file) {
        Ok(None) => Start::Nothing,
        Ok(Some(found)) => {
            let summary = found.summary();
            match summary.size_bytes > size_bytes || is_cut(&file, summary) {
                true => Start::Cut,
                false => Start::Whole,
            }
        }
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(_) => Start::Cut,
    })
}
