//! Names of files that outlive a power cut.

use std::fs::File;
use std::io;
use std::path::Path;

/// The directory that holds a file. A path without a directory means the current one.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes the name of a file durable that was just created, replaced or removed: a name is part of
/// its directory.
///
/// # Errors
/// What the system says.
pub fn sync_name(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}
