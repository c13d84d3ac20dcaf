//! An XFS that is too large for its target: XFS can't be made smaller, so its files are copied to a new one, in an
//! overlay. What comes out is a copy of files and not of blocks.

use super::shrunk::{Shrinking, Shrunk};
use crate::error::refused;
use crate::human;
use crate::named::open::OpenPlace;
use crate::overlay::{Ended, Job, run_beside};
use anyhow::Result;
use klon_partition::device::Composed;
use klon_partition::filesystem::{Basis, Usage, usage as usage_of};
use klon_partition::{Geometry, ReadAt, Shown as _};
use nix::unistd::geteuid;
use std::sync::Arc;

/// What the kernel may write to the source's overlay: nothing but its own notes.
const CHANGES_BYTES: u64 = 32 << 20;
/// What mkfs.xfs makes at least, since xfsprogs 5.19.
const LEAST_BYTES: u64 = 300 << 20;
/// A new XFS has a log and trees of its own.
const OWN_BYTES: u64 = 96 << 20;

/// The volume that is open, of which `usage` is in use, as a new filesystem that is as large as the target.
///
/// # Errors
/// [`refused`] when its files have no room there, or can't be copied.
pub fn volume(open: &OpenPlace, usage: &Usage, to: Shrinking<'_>) -> Result<Shrunk> {
    let Shrinking {
        target_bytes,
        scratch,
    } = to;
    let given = &open.place.given;
    let not = |why: &str| {
        refused(format!(
            "the files of {given} can't be copied to an XFS of the size of the target ({}): {why}. Nothing was written",
            human::size(target_bytes)
        ))
    };
    if let Some(why) = obstacle(open, usage, target_bytes) {
        return Err(not(&why));
    }
    let used_bytes = usage.used_bytes();
    let own = open.device.geometry();
    let from_bytes = usage.end_bytes(own.size_bytes).unwrap_or(own.size_bytes);
    let geometry = Geometry {
        size_bytes: target_bytes,
        ..own
    };
    // All zero.
    let empty = Composed::new(open.device.clone(), geometry);
    let second = Arc::new(scratch.spill(empty, used_bytes.saturating_add(OWN_BYTES))?);
    let first = Arc::new(scratch.spill(open.device.clone(), CHANGES_BYTES)?);
    match run_beside(first, second.clone(), Job::CopyXfs, scratch)? {
        Ended::Done(_) => {}
        Ended::Failed(_) if second.is_full() => {
            let place = scratch.directory()?.shown();
            return Err(not(&format!(
                "{place} has no room left for them. --scratch names another directory"
            )));
        }
        Ended::Failed(why) => return Err(not(&why)),
    }
    let found = usage_of(&*second)?;
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &found.basis {
        return Err(not(&format!("what came out can't be relied on: {reason}")));
    }
    let usage = Usage {
        is_replayed: usage.is_replayed,
        shrunk_from_bytes: Some(from_bytes),
        ..found
    };
    Ok(Shrunk {
        device: second,
        usage,
    })
}

/// Why it is not tried.
fn obstacle(open: &OpenPlace, usage: &Usage, target_bytes: u64) -> Option<String> {
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &usage.basis {
        return Some(reason.clone());
    }
    if !geteuid().is_root() {
        return Some("the kernel mounts it, and only for root. Run klon as root".to_owned());
    }
    let bad = open.snapshot.as_ref();
    if bad.is_some_and(|snapshot| !snapshot.manifest().bad.is_empty()) {
        return Some("bytes of it could not be read when the image was made".to_owned());
    }
    if target_bytes < LEAST_BYTES {
        let least = human::size(LEAST_BYTES);
        return Some(format!("mkfs.xfs makes none smaller than {least}"));
    }
    let used_bytes = usage.used_bytes();
    (used_bytes > target_bytes).then(|| format!("{} are in use", human::size(used_bytes)))
}
