//! Directories in memory, for small files that are written very often, and on a disk.

use std::path::Path;
use tempfile::TempDir;

/// A directory where cargo builds, for tools that need a disk: the temporary folder may be in memory.
pub(crate) fn on_disk() -> TempDir {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(folder).unwrap();
    tempfile::tempdir_in(folder).unwrap()
}

/// A directory in memory, where a sync costs nothing; on the disk where there is none in memory.
pub(crate) fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}
