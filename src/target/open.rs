//! A target opened for writing, and the drive around it, where updates may be staged.

use super::same::check_same;
use super::{TargetEnd, TargetNow};
use anyhow::Result;
use klon_imaging::mark::Mark;
use klon_imaging::stage::Space;
use klon_partition::device::{
    Target, Window, create_target_file, look_at, open_around, open_target,
};
use klon_partition::inspect::{DiskLayout, room as free_room};
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap, ReadAt, WriteAt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A target opened for writing.
pub struct OpenTarget {
    /// The volume or disk.
    pub volume: Arc<dyn WriteAt>,
    /// The drive that it is a partition of.
    drive: Option<Around>,
    /// A disk or file that is claimed as a whole, for the sake of a partition.
    claimed: Option<(PathBuf, Arc<Target>)>,
    /// What is on the device, as it was when klon opened it. `None` for a file that was made, and once an
    /// interrupted update was completed.
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

impl Around {
    /// The disk of a target that is a partition node. Its table is read again, as someone may have changed it
    /// while the user was asked: klon stages updates in room that no partition has.
    fn of(target: &TargetNow, system: &System) -> Result<Option<Self>> {
        let Some(before) = target.open.parent(system)? else {
            return Ok(None);
        };
        let device = Arc::new(open_around(&before.path)?);
        // A disk that can't be read has no room that is known.
        let Ok(now) = before.again(&*device) else {
            return Ok(None);
        };
        Ok(Some(Self {
            path: now.path,
            device,
            layout: now.layout,
            at: now.partition.map(|partition| partition.extent),
        }))
    }
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
        let layout = check_same(target, now, &opened, system)?;
        if let Some(partition) = &now.open.partition {
            let volume = Arc::new(Window::new(opened.clone(), partition.extent)?);
            let around = Around {
                path: path.clone(),
                device: opened.clone(),
                layout: layout.clone(),
                at: Some(partition.extent),
            };
            return Ok(Self {
                volume,
                drive: Some(around),
                claimed: Some((path.clone(), opened)),
                layout: Some(layout),
                made: None,
            });
        }
        Ok(Self {
            volume: opened,
            drive: Around::of(now, system)?,
            claimed: None,
            layout: Some(layout),
            made: None,
        })
    }

    /// What is on the device, as klon found it when it opened the device for this run alone. `None` for a file
    /// that was made, and where something else is there by now.
    pub const fn layout(&self) -> Option<&DiskLayout> {
        self.layout.as_ref()
    }

    /// Forgets what was found on it: an update was completed there.
    pub fn forget(&mut self) {
        self.layout = None;
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

/// The bytes of a drive that belong to no partition and no table. There are none while an update of a volume
/// outside of `group` is staged on the drive, as that may lie there.
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
    Ok(free_room(drive, table)?)
}
