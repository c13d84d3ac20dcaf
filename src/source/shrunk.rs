//! Sources whose filesystem klon shrinks for a target. The filesystem's own program works in an overlay, and
//! the source stays as it is.

use super::adapted::is_own;
use crate::error::refused;
use crate::human;
use crate::named::open::OpenPlace;
use crate::overlay::{Ended, Job, Scratch, run};
use anyhow::{Context as _, Result};
use klon_imaging::image::Snapshot;
use klon_partition::device::{Window, read_vec};
use klon_partition::filesystem::{Basis, Kind, Usage, usage as usage_of};
use klon_partition::system::is_btrfs_mounted;
use klon_partition::{Extent, ExtentMap, ReadAt, Shown as _, WriteAt};
use nix::unistd::geteuid;
use std::sync::Arc;

/// Beside what is moved, a part of what is in use is written: bitmaps, tables, trees.
const METADATA_PART: u64 = 25;
const CHANGES_LEAST_BYTES: u64 = 32 << 20;
/// The largest sector of NTFS, and the smallest.
const SECTOR_MOST_BYTES: u64 = 4096;
const SECTOR_LEAST_BYTES: u64 = 512;

/// A shrunken volume.
pub struct Shrunk {
    /// What is read, as large as the target.
    pub device: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub usage: Usage,
}

/// What can be done if a target is too small for a filesystem of this kind, as the end of a sentence.
pub const fn way_out(kind: Kind) -> &'static str {
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 | Kind::Ntfs | Kind::Btrfs => {
            ", unless klon shrinks it on its way (--shrink), which it can if it is not mounted"
        }
        Kind::Fat12 | Kind::Fat16 | Kind::Fat32 => {
            ", unless klon lays it out anew on its way (--shrink)"
        }
        Kind::Xfs => {
            ": an XFS can't be made smaller. With --shrink, klon makes a new one, as root, and copies its files by xfsdump, if \
             it is not mounted"
        }
        _ => ": klon can't shrink it",
    }
}

/// How a filesystem is shrunk.
#[derive(Clone, Copy)]
pub struct Shrinking<'a> {
    /// The size of the target.
    pub target_bytes: u64,
    /// Where klon keeps what the tool writes.
    pub scratch: &'a Scratch,
}

/// The volume that is open, of which `usage` is in use, with its filesystem shrunk.
///
/// # Errors
/// [`refused`] when it can't be shrunk, or not so far.
pub fn volume(open: &OpenPlace, usage: &Usage, kind: Kind, to: Shrinking<'_>) -> Result<Shrunk> {
    let Shrinking {
        target_bytes,
        scratch,
    } = to;
    let given = &open.place.given;
    let size = human::size(target_bytes);
    let not = |why: &str| {
        refused(format!(
            "{given} can't be shrunk to the size of the target ({size}): {why}. Nothing was written"
        ))
    };
    let job = job(kind, target_bytes).ok_or_else(|| not(way_out(kind).trim_start_matches(": ")))?;
    if let Some(why) = forbidden(open, usage, kind) {
        return Err(not(&why));
    }
    let from_bytes = usage.end_bytes(open.device.geometry().size_bytes);
    let from_bytes = from_bytes.unwrap_or_else(|| open.device.geometry().size_bytes);
    let shown =
        Arc::new(scratch.spill(open.device.clone(), needed_bytes(usage, kind, target_bytes))?);
    match run(shown.clone(), job, scratch)? {
        Ended::Done(_) => {}
        Ended::Failed(_) if shown.is_full() => {
            let place = scratch.directory()?.shown();
            return Err(not(&format!(
                "{place} has no room left for the changes. --scratch names another directory"
            )));
        }
        Ended::Failed(why) => return Err(not(&why)),
    }
    let extent = Extent::new(0, target_bytes).context("the target has no bytes")?;
    let device = Arc::new(Window::new(shown, extent)?);
    let found = match kind {
        Kind::Ntfs => ntfs_usage(device.clone(), scratch)?,
        _ => usage_of(&*device)?,
    };
    let end_bytes = found.end_bytes(target_bytes).unwrap_or(target_bytes);
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &found.basis {
        return Err(not(&format!("what came out can't be relied on: {reason}")));
    }
    // Behind its new end are remains of what it was; nobody needs them.
    if let Some(rest) = Extent::between(end_bytes, target_bytes) {
        device.zero(rest)?;
    }
    if kind == Kind::Ntfs {
        copy_boot_sector(&*device, end_bytes)?;
    }
    let usage = Usage {
        is_replayed: usage.is_replayed,
        shrunk_from_bytes: Some(from_bytes),
        ..found
    };
    Ok(Shrunk { device, usage })
}

/// What klon says of a volume whose filesystem it shrank.
pub fn note(name: &str, size_bytes: u64, usage: &Usage) -> Option<String> {
    let from_bytes = usage.shrunk_from_bytes?;
    let kind = usage.summary.as_ref()?.kind;
    if kind == Kind::Xfs {
        return Some(format!(
            "{name}: the files of its xfs ({}) were copied to a new one of {} with the same UUID, label and features, so \
             this is a copy of files and not of blocks. Files that shared blocks have their own. Nothing is written to it. \
             klon copies all files each time",
            human::size(from_bytes),
            human::size(size_bytes)
        ));
    }
    let size = human::size(size_bytes);
    let how = match is_own(kind) {
        true => format!("is laid out anew in {size}"),
        false => format!("was shrunk to {size} in an overlay"),
    };
    Some(format!(
        "{name}: its {kind} ({}) {how}, so nothing is written to it. klon reads all {} in use each time",
        human::size(from_bytes),
        human::size(usage.used_bytes())
    ))
}

const fn job(kind: Kind, target_bytes: u64) -> Option<Job> {
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => Some(Job::ShrinkExt(target_bytes)),
        // The copy of its boot sector lies behind it.
        Kind::Ntfs => Some(Job::ShrinkNtfs(
            target_bytes.saturating_sub(SECTOR_MOST_BYTES),
        )),
        Kind::Btrfs => Some(Job::ShrinkBtrfs(target_bytes)),
        _ => None,
    }
}

/// Why it is not tried.
fn forbidden(open: &OpenPlace, usage: &Usage, kind: Kind) -> Option<String> {
    let uuid = usage.summary.as_ref()?.uuid.clone().unwrap_or_default();
    let has_gaps = |snapshot: &Arc<Snapshot>| !snapshot.manifest().bad.is_empty();
    if open.snapshot.as_ref().is_some_and(has_gaps) {
        return Some("bytes of it could not be read when the image was made".to_owned());
    }
    if kind != Kind::Btrfs {
        return None;
    }
    if !geteuid().is_root() {
        return Some("the kernel does that, and only for root. Run klon as root".to_owned());
    }
    is_btrfs_mounted(&uuid).then(|| {
        format!("a Btrfs with the same UUID ({uuid}) is mounted, and the kernel could take one for the other")
    })
}

/// About how much is changed: what lies behind the new end is moved.
fn needed_bytes(usage: &Usage, kind: Kind, target_bytes: u64) -> u64 {
    let used_bytes = usage.used_bytes();
    let behind = Extent::between(target_bytes, u64::MAX);
    let moved: ExtentMap = behind.into_iter().collect();
    let moved_bytes = usage.used().intersection(&moved).total_bytes();
    let moved_bytes = match kind {
        // Block groups are moved as a whole.
        Kind::Btrfs => used_bytes,
        _ => moved_bytes,
    };
    moved_bytes
        .saturating_add(used_bytes / METADATA_PART)
        .saturating_add(CHANGES_LEAST_BYTES)
}

/// What is in use of an NTFS that was shrunk. Its tool marks it for a check by Windows, and the clone keeps the
/// mark. Its map is right all the same: the tool compared it with all files. So klon looks at it without the mark.
fn ntfs_usage(device: Arc<dyn ReadAt>, scratch: &Scratch) -> Result<Usage> {
    let unmarked = Arc::new(scratch.spill(device, CHANGES_LEAST_BYTES)?);
    match run(unmarked.clone(), Job::UnmarkNtfs, scratch)? {
        Ended::Done(_) => Ok(usage_of(&*unmarked)?),
        Ended::Failed(why) => Err(refused(format!(
            "the shrunken NTFS can't be looked at: {why}"
        ))),
    }
}

/// NTFS keeps a copy of its boot sector behind its last sector. Programs look for it in the last sector of the
/// partition. After shrinking, the two places can differ, so klon writes both.
fn copy_boot_sector(device: &dyn WriteAt, end_bytes: u64) -> Result<()> {
    let head = read_vec(device, 0, SECTOR_MOST_BYTES as usize)?;
    let sector_bytes = head
        .get(0x0b..0x0d)
        .map_or(0, |it| u16::from_le_bytes([it[0], it[1]]));
    let sector_bytes = u64::from(sector_bytes).clamp(SECTOR_LEAST_BYTES, SECTOR_MOST_BYTES);
    let boot = head
        .get(..sector_bytes as usize)
        .context("the boot sector")?;
    for end_bytes in [end_bytes, device.geometry().size_bytes] {
        device.write_all_at(boot, end_bytes.saturating_sub(sector_bytes))?;
    }
    Ok(())
}
