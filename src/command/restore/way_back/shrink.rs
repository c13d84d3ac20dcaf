//! `--shrink`: how small what comes back can be made.

use super::disk::{Back, NewDisk};
use crate::cli::RestoreArgs;
use crate::human;
use crate::messages::say;
use crate::minimum::{self, Subject};
use crate::source::contained;
use anyhow::Result;
use klon_partition::ReadAt;
use klon_partition::planner::Minimum;
use klon_partition::system::System;

/// Allows the filesystems that come back to a disk to be shrunk, where the disk is too small for them.
///
/// # Errors
/// When a volume can't be read.
pub fn allow(disk: &mut NewDisk<'_>, args: &RestoreArgs, system: &System) -> Result<()> {
    for back in &mut disk.back {
        let scratch = args.scratch.as_deref();
        back.open.place = back.open.place.clone().shrinking(true, scratch);
        let minimum = least(back, system)?;
        if let Some(fit_bytes) = minimum.fit_bytes(back.returning.least_bytes) {
            back.returning.least_bytes = fit_bytes;
        }
        if let Minimum::Unknown(why) = &minimum {
            say(&format!(
                "klon: {} can't be made smaller than {}: it is not known how small it can be: {why}",
                back.name,
                human::size(back.returning.least_bytes)
            ));
        }
    }
    Ok(())
}

fn least(back: &Back, system: &System) -> Result<Minimum> {
    let open = &back.open;
    let usage = contained::by_disk(open.usage()?, open, system)?;
    let subject = Subject {
        open,
        part: None,
        usage: &usage,
        size_bytes: open.device.geometry().size_bytes,
        may_mount: true,
    };
    Ok(minimum::of(&subject, system).into())
}
