//! Where records are kept.

use crate::cli::Common;
use crate::error::{Advice, usage};
use anyhow::Result;
use klon_imaging::RecordStore;
use std::io;
use std::path::PathBuf;

/// The records that the options and the user's system name.
///
/// # Errors
/// [`usage`] when no directory is named and the user has none.
pub fn store(common: &Common) -> Result<RecordStore> {
    // Read here: what an option takes from the environment stands in every usage line as required.
    let named = std::env::var_os("KLON_RECORDS").filter(|name| !name.is_empty());
    let named = common.records.clone().or_else(|| named.map(PathBuf::from));
    if let Some(directory) = named {
        return at(directory);
    }
    if nix::unistd::geteuid().is_root() {
        return at("/var/lib/klon".into());
    }
    // XDG base directory specification: a relative path there is to be ignored.
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .ok_or_else(|| usage("neither HOME nor XDG_STATE_HOME is set; use --records DIR"))?;
    at(state.join("klon"))
}

/// The records in a directory, which need not be there yet. Anything else would be taken for no records.
fn at(directory: PathBuf) -> Result<RecordStore> {
    let source = match directory.metadata() {
        Ok(found) if !found.is_dir() => io::ErrorKind::NotADirectory.into(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => error,
        _ => return Ok(RecordStore::new(directory)),
    };
    let error = klon_imaging::Error::RecordIo {
        path: directory,
        doing: "look for records in",
        source,
    };
    let advice = "klon keeps its records in a directory. Name one with --records DIR";
    Err(anyhow::Error::from(error).context(Advice(advice.to_owned())))
}
