//! Volumes whose log only the kernel replays: it does so in an overlay.

use super::Place;
use super::journal::{Journal, Waiting};
use crate::overlay::{Ended, Job, Scratch, run};
use anyhow::Result;
use klon_partition::device::Window;
use klon_partition::filesystem::{Kind, Summary, doubt};
use klon_partition::system::{System, Use, is_btrfs_mounted};
use klon_partition::{ReadAt, WriteAt};
use nix::unistd::geteuid;
use std::sync::Arc;

/// The changes of a replay are hardly more than the log itself. These are the largest logs.
const CHANGES_LEAST_BYTES: u64 = 16 << 20;
const CHANGES_MOST_BYTES: u64 = 2 << 30;
/// A log is at most this part of its volume, but for the smallest.
const CHANGES_PART: u64 = 32;

/// What is read of a place once the kernel has replayed the logs that wait, and what became of each.
///
/// # Errors
/// When there is no room for the changes, or no process can be started.
pub(super) fn by_kernel(
    place: &Place,
    scratch: &Scratch,
    device: Arc<dyn ReadAt>,
    waiting: Vec<Waiting>,
    system: &System,
) -> Result<(Arc<dyn ReadAt>, Vec<Journal>)> {
    let mut shown = device;
    let mut journals = Vec::new();
    for one in waiting {
        let Some(job) = job(one.summary.kind) else {
            continue;
        };
        if let Some(why) = forbidden(place, &one.summary, system)? {
            journals.push(one.impossible(why));
            continue;
        }
        let part_bytes = one.extent.len_bytes() / CHANGES_PART;
        let needed_bytes = part_bytes.clamp(CHANGES_LEAST_BYTES, CHANGES_MOST_BYTES);
        // One for each: what a failed replay has changed is forgotten.
        let spill = Arc::new(scratch.spill(shown.clone(), needed_bytes)?);
        let volume: Arc<dyn WriteAt> = Arc::new(Window::new(spill.clone(), one.extent)?);
        let why = match run(volume.clone(), job, scratch)? {
            Ended::Failed(_) if spill.is_full() => Some(format!(
                "{} has no room left for the changes (--scratch names another directory)",
                klon_partition::Shown::shown(scratch.directory()?.as_path())
            )),
            Ended::Failed(why) => Some(format!("the kernel could not: {why}")),
            Ended::Done(_) => doubt(&*volume)?,
        };
        journals.push(match why {
            Some(why) => one.impossible(why),
            None => one.replayed(spill.changed_bytes()),
        });
        if journals.last().is_some_and(Journal::is_replayed) {
            shown = spill;
        }
    }
    Ok((shown, journals))
}

/// What the kernel has to do, of a filesystem whose recovery of a volume alone is known to be whole.
const fn job(kind: Kind) -> Option<Job> {
    match kind {
        Kind::Xfs => Some(Job::ReplayXfs),
        Kind::Btrfs => Some(Job::ReplayBtrfs),
        _ => None,
    }
}

/// Why the kernel is not asked.
fn forbidden(place: &Place, summary: &Summary, system: &System) -> Result<Option<String>> {
    if !geteuid().is_root() {
        let why = "the kernel does that, and only for root. Run klon as root";
        return Ok(Some(why.to_owned()));
    }
    let uses = match place.is_export() {
        true => Vec::new(),
        false => system.uses(&place.path)?,
    };
    if let Some(found) = uses.iter().find(|found| Use::changes_source(found)) {
        return Ok(Some(found.to_string()));
    }
    let uuid = summary.uuid.as_deref().unwrap_or_default();
    Ok((summary.kind == Kind::Btrfs && is_btrfs_mounted(uuid)).then(|| {
        format!(
            "a Btrfs with the same UUID ({uuid}) is mounted, and the kernel could take one for the other. \
             Unmount it first"
        )
    }))
}
