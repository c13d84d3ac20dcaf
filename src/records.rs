//! Where records are kept.

use crate::cli::Common;
use crate::error::usage;
use anyhow::Result;
use klon_imaging::RecordStore;
use std::path::PathBuf;

/// The records that the options and the user's system name.
pub fn store(common: &Common) -> Result<RecordStore> {
    if let Some(directory) = &common.records {
        return Ok(RecordStore::new(directory.clone()));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(RecordStore::new("/var/lib/klon".into()));
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
    Ok(RecordStore::new(state.join("klon")))
}
