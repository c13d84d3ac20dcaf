//! Volumes that are mounted for writing and can't be brought to rest: FAT on which a file is open for writing. They are
//! read twice.

use super::in_use::InUse;
use crate::error::refused;
use crate::named::open::OpenPlace;
use crate::still::{Freezer, Frozen, How, Moments, writers};
use anyhow::{Context as _, Result};
use klon_partition::device::{Overlay, Window};
use klon_partition::filesystem::{ClearedMark, cleared_mark};
use klon_partition::{Error, ReadAt, Shown as _, WriteAt as _};
use nix::unistd::syncfs;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// How often a volume is looked at until its files and tables fit together.
const LOOKS_MAX: u32 = 4;
/// How long is waited between two looks.
const PAUSE: Duration = Duration::from_millis(150);
/// Room for the sectors that are shown otherwise.
const CHANGED_BYTES_MAX: usize = 1 << 20;

/// Finds which of the volumes that klon would make read-only are to be read twice, as a file on them is open for
/// writing: each is made read-only once.
///
/// # Errors
/// A refusal when one can't be made read-only for another reason.
pub(super) fn settle(in_use: &mut InUse, moments: Moments) -> Result<()> {
    if !moments.may_read_twice() {
        return Ok(());
    }
    for mounted in &mut in_use.mounted {
        let Some(at) = mounted.mounts.first() else {
            continue;
        };
        if mounted.how != Some(How::ReadOnly) {
            continue;
        }
        let held = [(at.clone(), mounted.how)];
        let mut freezer = Freezer::holding(&held, moments.longest)?;
        let tried = freezer.freeze().and_then(Frozen::thaw);
        if let Err(error) = tried {
            if !freezer.is_open_for_writing() {
                return Err(error);
            }
            mounted.how = None;
        }
    }
    Ok(())
}

/// What a look found of a source.
pub(super) struct Looked<T> {
    pub(super) found: T,
    /// Why the map of a volume that is read twice can't be believed, if it can't.
    pub(super) misfit: Option<String>,
}

/// What `look` finds. Where volumes are read twice, it may meet an operation under way of which a part is on the device,
/// so it looks until all fits together.
///
/// # Errors
/// Those of `look`; a refusal when it never fits.
pub(super) fn fitting<T>(in_use: &InUse, look: &dyn Fn() -> Result<Looked<T>>) -> Result<T> {
    if in_use.read_twice().next().is_none() {
        return look().map(|looked| looked.found);
    }
    let mut why = String::new();
    for _ in 0..LOOKS_MAX {
        why = match look() {
            Ok(Looked {
                found,
                misfit: None,
            }) => return Ok(found),
            Ok(Looked {
                misfit: Some(misfit),
                ..
            }) => misfit,
            Err(error) => match error.downcast_ref() {
                Some(Error::Corrupt(corrupt)) => corrupt.to_string(),
                _ => return Err(error),
            },
        };
        sleep(PAUSE);
    }
    Err(misfit(in_use, &why))
}

/// The refusal of volumes that are read twice, and that never fit together.
fn misfit(in_use: &InUse, why: &str) -> anyhow::Error {
    let mounts = in_use.read_twice().filter_map(|it| it.mounts.first());
    let mounts: Vec<&PathBuf> = mounts.collect();
    let named: Vec<String> = mounts.iter().map(|at| at.shown()).collect();
    let open: Vec<String> = mounts.iter().flat_map(|at| writers(at)).collect();
    let open = match open.is_empty() {
        true => String::new(),
        false => format!(" Open for writing: {}.", open.join(", ")),
    };
    refused(format!(
        "the files and tables of {} do not fit together while it is written to ({why}).{open} End what writes to it; if \
         that does not help, unmount it and check it (fsck.fat)",
        named.join(" and ")
    ))
}

/// The source, with the volumes that are read twice as the kernel would leave them if it let go of them now; `None` where
/// it has none. What was written to them by now is brought to the device.
///
/// # Errors
/// When that is not possible, or the source can't be read; [`Error::Corrupt`] where files and tables do not fit together.
pub(super) fn shown(open: &OpenPlace, in_use: &InUse) -> Result<Option<OpenPlace>> {
    if in_use.read_twice().next().is_none() {
        return Ok(None);
    }
    let source: Arc<dyn ReadAt> = open.own()?.clone();
    let overlay = Overlay::new(Arc::clone(&source), CHANGED_BYTES_MAX);
    for mounted in in_use.read_twice() {
        let whole = source.geometry().extent();
        let (Some(part), Some(at)) = (mounted.part.or(whole), mounted.mounts.first()) else {
            continue;
        };
        let directory = File::open(at).with_context(|| at.shown())?;
        syncfs(directory).with_context(|| at.shown())?;
        let mark = cleared_mark(&Window::new(&*source, part)?).with_context(|| at.shown())?;
        if let Some(ClearedMark { offset_bytes, byte }) = mark {
            overlay.write_all_at(&[byte], part.offset_bytes() + offset_bytes)?;
        }
    }
    open.again_as(Arc::new(overlay)).map(Some)
}
