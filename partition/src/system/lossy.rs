//! Paths as JSON strings: a name that is not UTF-8 is shown as far as it can be.

use serde::Serializer;
use std::path::{Path, PathBuf};

/// Serializes a path, which serde by itself refuses to do for every name.
pub(super) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// As [`path`], for one that may be missing.
pub(super) fn maybe_path<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_some(&path.to_string_lossy()),
        None => serializer.serialize_none(),
    }
}
