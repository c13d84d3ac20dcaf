//! Completing a volume's staged update from the drive alone.

use super::apply::{Finished, ReadBack};
use super::group;
use super::room::Space;
use crate::error::{Error, Result};
use crate::mark::{Mark, Membership};
use std::num::NonZeroUsize;

/// Completes the update that is staged for the volume and for its group, from the drive alone. `None`
/// when nothing is staged. A member of a group that has no mark yet is not recognized here: see
/// [`group::find`].
///
/// It may be interrupted at any point and begun again.
///
/// # Errors
/// [`Error::StageCorrupt`] when the staged update is damaged, [`Error::Refused`] when the volume was
/// changed since, both before anything is written; [`Error::Target`].
pub fn finish(space: Space<'_>, threads: NonZeroUsize) -> Result<Option<Finished>> {
    let Some(mark) = Mark::read(&space.volume).map_err(Error::Target)? else {
        return Ok(None);
    };
    let Some(staged) = mark.staged else {
        return Ok(None);
    };
    match staged.membership {
        Membership::Alone => finish_alone(space, threads),
        Membership::Leader(_) | Membership::Member { .. } => {
            let group = group::of(space, &mark)?;
            group::finish(&group, space.drive()?, &[], threads).map(Some)
        }
    }
}

/// Completes the staged update of this one volume, even when the rest of its group can't be
/// completed. The volume is then a complete clone, but the others may be of another time. `None`
/// when nothing is staged.
///
/// # Errors
/// As [`finish`].
pub fn finish_alone(space: Space<'_>, threads: NonZeroUsize) -> Result<Option<Finished>> {
    let Some(mark) = Mark::read(&space.volume).map_err(Error::Target)? else {
        return Ok(None);
    };
    let Some(staged) = mark.staged else {
        return Ok(None);
    };
    let mut checked = ReadBack::check(space, &mark, staged, threads)?;
    checked.check_unchanged(space)?;
    let written_bytes = checked.begin(space)? + checked.bring(space, threads)?;
    checked.release(space);
    Ok(Some(checked.finished(written_bytes)))
}
