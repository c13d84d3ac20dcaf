//! The mark of a clean end: made when nothing of a disk can be written to any more.
//!
//! At that time the ledger's own volume is read-only, too. It is made writable for the mark, which is
//! synced, and read-only again. A power cut in between is harmless: all other volumes are unmounted,
//! and of this one everything but the ledger was durable before. The ledger is replaced as a whole,
//! so there is the one without the mark, which counts as unclean, or the one with it, which is true. When
//! the volume can't be made read-only, someone writes to it: then there is no mark.

use super::state::Moment;
use super::{Ledger, file};
use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use klon_partition::durable::directory_of;
use klon_partition::system::DiskMounts;
use nix::mount::{MsFlags, mount};
use std::fs;
use std::path::{Path, PathBuf};

impl Ledger {
    /// Marks that this boot is over. The volume with the ledger is read-only afterwards.
    ///
    /// # Errors
    /// A refusal when something can still be written to: there is no mark then, and the next boot counts an
    /// unclean end.
    pub fn close(&self) -> Result<()> {
        let now = self.moment()?;
        let mounts = DiskMounts::read(&self.root)?;
        let place = self.place()?;
        let own = mounts.of(&place).filter(|point| mounts.is_on_disk(point));
        let own_root = own.map(|point| self.real(&point.at));
        let own_root = own_root.as_deref();
        // A remount loses options of the mount, so a system that goes on is left alone.
        let is_read_only = own.is_some_and(|point| point.is_read_only);
        if is_read_only {
            remount(own_root, Access::Full)?;
        }
        // A boot that was not counted is, before it can end cleanly.
        let counted = self.count();
        let writable = mounts.writable(own);
        if !writable.is_empty() {
            if is_read_only {
                remount(own_root, Access::Read)?;
            }
            let names: Vec<String> = writable.iter().map(|path| path.shown()).collect();
            return Err(refused(format!(
                "{} can still be written to, so the ledger gets no mark that this boot ended cleanly. \
                 Unmount first",
                names.join(", ")
            )));
        }
        remount(own_root, Access::Read)?;
        counted?;
        remount(own_root, Access::Full)?;
        let marked = self.mark(&now);
        let closed = remount(own_root, Access::Read);
        if closed.is_err() {
            self.count()?;
        }
        marked.and(closed)
    }

    fn mark(&self, now: &Moment) -> Result<()> {
        let _lock = self.lock().with_context(|| self.path.shown())?;
        let state = file::read(&self.path)?;
        file::write(&self.path, &state.closed(now)).with_context(|| self.path.shown())
    }

    /// The ledger's directory, as the system names it.
    pub(super) fn place(&self) -> Result<PathBuf> {
        let real = |path: &Path| fs::canonicalize(path).with_context(|| path.shown());
        let directory = real(directory_of(&self.path))?;
        let within = directory.strip_prefix(real(&self.root)?);
        let within = within.with_context(|| format!("{} is elsewhere", self.path.shown()))?;
        Ok(Path::new("/").join(within))
    }

    /// A path of the system as one of ours.
    fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// What may be done to a volume.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Full,
}

/// Lets a mounted volume be read alone, or written to. One that somebody has open for writing can't be made
/// read-only.
fn remount(at: Option<&Path>, access: Access) -> Result<()> {
    let Some(at) = at else {
        return Ok(());
    };
    let (flags, doing) = match access {
        Access::Read => (MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, "read-only"),
        Access::Full => (MsFlags::MS_REMOUNT, "writable"),
    };
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).with_context(|| {
        format!(
            "{}: can't be made {doing}, so the ledger gets no mark",
            at.shown()
        )
    })
}
