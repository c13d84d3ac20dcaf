//! Directories for small files that are written very often.

use std::path::Path;
use tempfile::TempDir;

/// A directory in memory, where a sync costs nothing; on the disk where there is none in memory.
pub(crate) fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}
