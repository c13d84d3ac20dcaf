//! Whether a target that was opened for writing is what was looked at before.

use super::{TargetEnd, TargetNow};
use crate::description::{SeenDisk, described};
use crate::error::refused;
use crate::guard;
use crate::likeness::{Likeness, volume_of};
use anyhow::Result;
use klon_partition::ReadAt;
use klon_partition::device::Target;
use klon_partition::inspect::{DiskLayout, inspect};
use klon_partition::system::System;

/// Refuses a target that is not what was looked at, and consented to, before it was opened. Returns what is on
/// it now.
///
/// This second look is a guard: between the first and the opening, the user was asked, and others could write to
/// the target. From here on it is klon's alone.
pub(super) fn check_same(
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
    if opened.id()? != now.open.own()?.id()? {
        return Err(changed("its name now means another device or file"));
    }
    if opened.geometry() != now.open.own()?.geometry() {
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
    if Likeness::new(before, None) != Likeness::new(after, None)
        || now.open.partition.is_none()
            && Likeness::new(None, now.open.layout.table.as_ref())
                != Likeness::new(None, layout.table.as_ref())
    {
        return Err(changed("something else is on it"));
    }
    // What a disk has in its partitions was shown, too.
    let shown = |layout: &DiskLayout, device: &dyn ReadAt| {
        let disk = SeenDisk {
            path: &target.place.path,
            layout,
            device,
        };
        described(&disk, system, |_| true)
    };
    let before = shown(&now.open.layout, &**now.open.own()?);
    if now.open.partition.is_none() && before != shown(&layout, opened) {
        return Err(changed("something else is on it"));
    }
    Ok(layout)
}
