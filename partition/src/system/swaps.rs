//! Swap areas, from `/proc/swaps`.

use super::mounts::unescape;
use crate::error::{Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An active swap area.
#[derive(Clone, Debug)]
pub(super) struct Swap {
    /// A device's node or a file's path.
    pub(super) path: PathBuf,
}

pub(super) fn read(path: &Path) -> Result<Vec<Swap>> {
    let bytes = match fs::read(path) {
        // A kernel without swap.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|source| Error::Open {
            path: path.to_owned(),
            doing: "read what is swapped to",
            source,
        })?,
    };
    // A header, then `path type size used priority`, padded with blanks and tabs.
    let lines = bytes.split(|&byte| byte == b'\n').skip(1);
    Ok(lines
        .filter_map(|line| line.split(|byte| b" \t".contains(byte)).next())
        .filter(|name| !name.is_empty())
        .map(|name| Swap {
            path: unescape(name),
        })
        .collect())
}
