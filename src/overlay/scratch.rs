//! Where the changes of overlays are kept while klon runs.

use crate::error::{refused, usage};
use crate::human;
use anyhow::{Context as _, Result};
use klon_partition::device::Spill;
use klon_partition::{ReadAt, Shown as _};
use std::path::{Path, PathBuf};

/// What stays free beside the changes.
const KEPT_FREE_BYTES: u64 = 16 << 20;

/// A directory for files without a name. It need not be there before it is needed.
#[derive(Clone, Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// The directory that the user names, or the system's for large temporary files.
    pub fn new(given: Option<&Path>) -> Self {
        let usual = || {
            let set = std::env::var_os("TMPDIR").filter(|set| !set.is_empty());
            set.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
        };
        Self(given.map_or_else(usual, Path::to_owned))
    }

    /// The directory, with all links followed.
    ///
    /// # Errors
    /// When it is not there.
    pub fn directory(&self) -> Result<PathBuf> {
        let missing = || {
            usage(format!(
                "{} is no directory. Name one for the changes of overlays by --scratch",
                self.0.shown()
            ))
        };
        let directory = self.0.canonicalize().map_err(|_| missing())?;
        match directory.is_dir() {
            true => Ok(directory),
            false => Err(missing()),
        }
    }

    /// An overlay over `base` with room for about `needed_bytes` of changes. Its file has no name, or loses it
    /// at once; no link is followed, and nobody else can open it.
    ///
    /// # Errors
    /// [`refused`] when there is less room; when no file can be made.
    pub fn spill<D: ReadAt>(&self, base: D, needed_bytes: u64) -> Result<Spill<D>> {
        let directory = self.directory()?;
        let shown = directory.shown();
        let found = rustix::fs::statvfs(&directory).with_context(|| shown.clone())?;
        let free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
        if free_bytes < needed_bytes.saturating_add(KEPT_FREE_BYTES) {
            return Err(refused(format!(
                "{shown} has {} free, and the changes of the overlay may need {}. Name a directory with more \
                 room by --scratch",
                human::size(free_bytes),
                human::size(needed_bytes)
            )));
        }
        let file = tempfile::tempfile_in(&directory).with_context(|| shown.clone())?;
        let spill = Spill::new(base, file);
        spill.with_context(|| format!("{shown}: a sparse file as large as the source"))
    }
}
