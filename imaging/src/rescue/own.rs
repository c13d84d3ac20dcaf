//! The files that a rescue keeps: written as a whole, and never over somebody else's.

use crate::durable;
use crate::error::{Error, Result, io_error};
use klon_partition::Shown;
use klon_partition::device::open_plain;
use klon_partition::error::Remedy;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// Durably replaces the file at `path`.
///
/// # Errors
/// [`Error::RecordIo`].
pub(super) fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut output = BufWriter::new(durable::begin(path, ".map-")?);
        fill(&mut output)?;
        let file = output.into_inner()?;
        file.as_file().sync_all()?;
        durable::name(file, path).map(drop)
    };
    write().map_err(|source| io_error(path, "write the map", source))
}

/// Refuses a file at `path`, where one that begins with `start` is to be: it is somebody else's.
///
/// # Errors
/// [`Error::RefusedUnless`], [`Error::RecordIo`].
pub(super) fn check_own(path: &Path, start: &str) -> Result<()> {
    let looked = |source| io_error(path, "look at what is there", source);
    let is_own = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(looked(error)),
        Ok(found) if !found.is_file() => false,
        Ok(_) => {
            let mut found = Vec::new();
            let file = open_plain(path, false).map_err(looked)?;
            let mut begun = file.take(start.len() as u64);
            begun.read_to_end(&mut found).map_err(looked)?;
            found == start.as_bytes()
        }
    };
    match is_own {
        true => Ok(()),
        false => Err(Error::RefusedUnless {
            reason: format!(
                "{} is there, and klon has not written it; remove it, or name another map",
                path.shown()
            ),
            remedy: Remedy::AnotherMap,
        }),
    }
}

/// Removes a file, if there is one.
///
/// # Errors
/// [`Error::RecordIo`].
pub(super) fn remove_file(path: &Path) -> Result<()> {
    durable::remove_lazily(path)
        .map(drop)
        .map_err(|source| io_error(path, "remove the map", source))
}
