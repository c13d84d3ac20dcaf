//! A target opened for writing, and the drive around it, where updates may be staged.

use crate::error::refused;
use crate::guard;
use crate::jobs::VolumeJob;
use crate::likeness::{Content, volume_of};
use crate::named::open::Parent;
use crate::progress::say;
use crate::source::open::{SourceEnd, TargetEnd, TargetNow, described};
use anyhow::Result;
use klon_imaging::RecordStore;
use klon_imaging::mark::Mark;
use klon_imaging::stage::Space;
use klon_partition::device::{
    Target, Window, create_target_file, look_at, open_around, open_target,
};
use klon_partition::filesystem::{Basis, Usage, usage};
use klon_partition::inspect::{DiskLayout, disk_usage, inspect};
use klon_partition::system::System;
use klon_partition::table::{hybrid_extents, raw_extents};
use klon_partition::{Extent, ExtentMap, ReadAt, WriteAt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What lies before the first and after the last place for partitions: tables, boot code.
const TABLE_ROOM_BYTES: u64 = 1 << 20;

/// A target opened for writing.
pub struct OpenTarget {
    /// The volume or disk.
    pub volume: Arc<dyn WriteAt>,
    /// The drive that it is a partition of.
    drive: Option<Around>,
    /// A disk or file that is claimed as a whole, for the sake of a partition.
    claimed: Option<(PathBuf, Arc<Target>)>,
    /// What was on the device when it was opened; `None` for a file that was made.
    layout: Option<DiskLayout>,
    made: Option<Made>,
}

/// A file that was made for a clone. Dropped before anything came to it, it is removed.
struct Made {
    path: PathBuf,
    file: Arc<Target>,
    is_kept: AtomicBool,
}

impl Made {
    fn is_useless(&self) -> bool {
        let whole = self.file.geometry().extent();
        let is_empty = whole.is_none_or(|whole| {
            let data = self.file.data(whole);
            data.is_ok_and(|data| data.is_empty())
        });
        is_empty && !self.is_kept.load(Ordering::Relaxed)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let is_named =
            || look_at(&self.path).and_then(|named| named.id()).ok() == self.file.id().ok();
        if self.is_useless() && is_named() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The drive around a target.
struct Around {
    path: PathBuf,
    device: Arc<dyn WriteAt>,
    layout: DiskLayout,
    /// Where the target lies on it; `None` when the table and the kernel differ.
    at: Option<Extent>,
}

impl OpenTarget {
    /// Opens a target; makes the file, `size_bytes` long, if it does not exist. `others` are open
    /// already, perhaps on the same drive.
    pub fn new(
        target: &TargetEnd,
        size_bytes: u64,
        others: &[Self],
        system: &System,
    ) -> Result<Self> {
        let path = &target.place.path;
        let Some(now) = &target.now else {
            let file = Arc::new(create_target_file(path, size_bytes)?);
            return Ok(Self {
                volume: file.clone(),
                drive: None,
                claimed: None,
                layout: None,
                made: Some(Made {
                    path: path.clone(),
                    file,
                    is_kept: AtomicBool::new(false),
                }),
            });
        };
        let claimed = others.iter().filter_map(|other| other.claimed.as_ref());
        let claimed = claimed.filter(|(claimed, _)| claimed == path);
        let opened = match claimed.map(|(_, device)| device.clone()).next() {
            Some(device) if now.open.partition.is_some() => device,
            _ => Arc::new(open_target(path)?),
        };
        let layout = Some(check_same(target, now, &opened, system)?);
        if let Some(partition) = &now.open.partition {
            let volume = Arc::new(Window::new(opened.clone(), partition.extent)?);
            let around = Around {
                path: path.clone(),
                device: opened.clone(),
                layout: now.open.layout.clone(),
                at: Some(partition.extent),
            };
            return Ok(Self {
                volume,
                drive: Some(around),
                claimed: Some((path.clone(), opened)),
                layout,
                made: None,
            });
        }
        let Some(parent) = Parent::of(path, system)? else {
            return Ok(Self {
                volume: opened,
                drive: None,
                claimed: None,
                layout,
                made: None,
            });
        };
        let around = Around {
            device: Arc::new(open_around(&parent.path)?),
            path: parent.path,
            layout: parent.layout,
            at: parent.partition.map(|partition| partition.extent),
        };
        Ok(Self {
            volume: opened,
            drive: Some(around),
            claimed: None,
            layout,
            made: None,
        })
    }

    /// What was on the device when it was opened for this run alone; `None` for a file that was made.
    pub const fn layout(&self) -> Option<&DiskLayout> {
        self.layout.as_ref()
    }

    /// Says that the clone on it is complete: a file that was made stays, also when all of it is zero.
    pub fn keep(&self) {
        if let Some(made) = &self.made {
            made.is_kept.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is a file that was made, and that goes again since nothing came to it.
    pub fn is_useless(&self) -> bool {
        self.made.as_ref().is_some_and(Made::is_useless)
    }

    /// Where it lies on its drive.
    pub fn at(&self) -> Option<Extent> {
        self.drive.as_ref()?.at
    }

    /// Whether the drive is claimed as a whole.
    pub const fn is_whole_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    /// The node of the drive, and what is on it.
    pub fn around(&self) -> Option<(&Path, &DiskLayout)> {
        let drive = self.drive.as_ref()?;
        Some((&drive.path, &drive.layout))
    }

    /// Room of the drive that belongs to no partition, as it is now; `group` are the places of
    /// volumes that are updated together.
    pub fn room(&self, group: &[Extent]) -> Result<ExtentMap> {
        match &self.drive {
            Some(drive) if drive.at.is_some() => room(&drive.layout, group, &*drive.device),
            _ => Ok(ExtentMap::new()),
        }
    }

    /// Where updates are staged.
    pub fn space(&self) -> Space<'_> {
        Space {
            volume: &*self.volume,
            drive: self.drive.as_ref().map(|drive| &*drive.device),
        }
    }
}

/// Refuses a target that is not what was looked at, and consented to, before it was opened; says what
/// is on it now.
fn check_same(
    target: &TargetEnd,
    now: &TargetNow,
    opened: &Target,
    system: &System,
) -> Result<DiskLayout> {
    let name = &target.place.given;
    let changed = |what: &str| {
        refused(format!(
            "{name} changed after klon looked at it: {what}. Nothing was written. Look at it and \
             run the command again"
        ))
    };
    if opened.id()? != now.open.source.id()? {
        return Err(changed("its name now means another device or file"));
    }
    if opened.geometry() != now.open.source.geometry() {
        return Err(changed("it has another size or other sectors"));
    }
    // A claim keeps others off this name only: a file, or another name of it, may be in use now.
    guard::unused(&System::current()?, &target.place.path)?;
    let layout = inspect(opened)?;
    if let Some(partition) = &now.open.partition {
        let mut partitions = layout.table.iter().flat_map(|table| &table.partitions);
        if !partitions.any(|found| found == partition) {
            return Err(changed("its partition is no longer in the table"));
        }
    }
    let before = volume_of(&now.open.layout, now.open.partition.as_ref());
    let after = volume_of(&layout, now.open.partition.as_ref());
    if Content::new(before, None) != Content::new(after, None)
        || now.open.partition.is_none()
            && Content::new(None, now.open.layout.table.as_ref())
                != Content::new(None, layout.table.as_ref())
    {
        return Err(changed("something else is on it"));
    }
    // What a disk has in its partitions was shown, too.
    let shown = |layout| described(&target.place.path, layout, system, |_| true);
    let before = (&now.open.layout, &*now.open.source as &dyn ReadAt);
    if now.open.partition.is_none() && shown(before) != shown((&layout, opened)) {
        return Err(changed("something else is on it"));
    }
    Ok(layout)
}

/// What of a drive belongs to no partition and no table; nothing while an update of a volume that
/// is not of `group` is staged on the drive: it may lie there.
fn room(layout: &DiskLayout, group: &[Extent], drive: &dyn ReadAt) -> Result<ExtentMap> {
    let Some(table) = layout.believed_table() else {
        return Ok(ExtentMap::new());
    };
    let others = table.partitions.iter().map(|partition| partition.extent);
    for other in others.filter(|other| !group.contains(other)) {
        let mark = Mark::read(&Window::new(drive, other)?)?;
        if mark.is_some_and(|mark| mark.staged.is_some()) {
            return Ok(ExtentMap::new());
        }
    }
    let size_bytes = layout.geometry.size_bytes;
    let partitions: ExtentMap = table.partitions.iter().map(|part| part.extent).collect();
    // Tables may have parts of theirs far from both ends: moved entries, the backup of a disk that
    // has grown.
    let taken = partitions
        .union(&raw_extents(drive, table)?)
        .union(&hybrid_extents(drive, table)?);
    let between: ExtentMap = Extent::between(
        TABLE_ROOM_BYTES,
        size_bytes.saturating_sub(TABLE_ROOM_BYTES),
    )
    .and_then(|between| between.intersection(table.usable))
    .into_iter()
    .collect();
    Ok(between.difference(&taken))
}

/// What must stay of an earlier clone of the job's source on the target; `None` when there is none
/// to be saved: something else, or a clone that was not finished.
pub fn present(
    job: &VolumeJob,
    source: &SourceEnd,
    target: &OpenTarget,
    records: &RecordStore,
) -> Result<Option<Usage>> {
    let volume: &dyn ReadAt = &target.volume;
    if job.target.now.is_none() || Mark::read(volume)?.is_some() {
        return Ok(None);
    }
    let wanted = Content::new(source.usage.summary.as_ref(), source.table.as_ref());
    let (found, used) = if source.table.is_some() {
        let Some(table) = inspect(volume)?.table else {
            return Ok(None);
        };
        let used = disk_usage(volume)?.into_usage();
        (Content::new(None, Some(&table)), used)
    } else {
        let usage = usage(volume)?;
        if usage.summary.is_none() && source.usage.summary.is_some() {
            // Consent was asked for: a clone whose signature is gone is none any more.
            return Ok(None);
        }
        if let Basis::Whole {
            reason,
            is_warning: true,
        } = &usage.basis
        {
            say(&format!(
                "klon: warning: {}: its filesystem is unreliable now ({reason}), so all of it \
                 counts as in use, and it has no room to stage an update",
                job.name
            ));
        }
        (Content::new(usage.summary.as_ref(), None), usage)
    };
    let is_recorded = || match records.load(&job.target.identity) {
        Ok(record) => record.is_some_and(|record| record.manifest.source == source.identity),
        // Only targets have records, also damaged ones.
        Err(_) => true,
    };
    let is_clone = (found == wanted && wanted.is_unique()) || is_recorded();
    Ok(is_clone.then_some(used))
}
