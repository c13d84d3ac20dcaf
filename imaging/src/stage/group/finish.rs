//! Completing a group from the drive alone.

use super::super::apply::{Finished, ReadBack};
use super::super::room::Space;
use super::{Group, Member, fits};
use crate::error::{Error, Result};
use crate::mark::{Mark, Membership, Staged};
use klon_partition::device::Window;
use klon_partition::error::Remedy;
use klon_partition::planner::human_size;
use klon_partition::{Extent, WriteAt};
use std::num::NonZeroUsize;

/// A volume of the group that is not complete.
struct Open<'a> {
    at: Extent,
    space: Space<'a>,
    checked: ReadBack,
    /// Whether it bears its mark.
    is_marked: bool,
}

impl Open<'_> {
    /// Marks it, if it bears no mark, and lets it lose its signatures. Returns the bytes written.
    fn begin(&mut self) -> Result<u64> {
        let mut bytes = 0;
        if !self.is_marked {
            bytes += self.checked.commit(self.space)?;
        }
        Ok(bytes + self.checked.begin(self.space)?)
    }

    /// Brings what is staged into place, after `begun_bytes` were written.
    fn bring(&self, begun_bytes: u64, threads: NonZeroUsize) -> Result<Finished> {
        let written_bytes = self.checked.bring(self.space, threads)?;
        Ok(Finished {
            at: Some(self.at),
            ..self.checked.finished(begun_bytes + written_bytes)
        })
    }
}

/// Brings all volumes of a committed group to their new state. `opened` are those that are open for writing,
/// with their places on the drive. The others are reached through `drive`.
///
/// It may be interrupted at any point and begun again. The first item of the result is the leader.
///
/// # Errors
/// [`Error::Refused`] when one of the volumes was changed since the commit or can't be shown not to
/// be, and [`Error::StageCorrupt`] when what is staged for one is damaged: both before anything is
/// written to any; [`Error::Target`].
pub fn finish(
    group: &Group,
    drive: &dyn WriteAt,
    opened: &[(Extent, &dyn WriteAt)],
    threads: NonZeroUsize,
) -> Result<Finished> {
    let windows = windows(group, drive)?;
    let space_of = |index: usize, at: Extent| {
        let open = opened.iter().find(|(extent, _)| *extent == at);
        let window: &dyn WriteAt = &windows[index];
        Space {
            volume: open.map_or(window, |(_, volume)| *volume),
            drive: Some(drive),
        }
    };
    let leader_space = space_of(0, group.leader);
    let (mark, staged) = leader_mark(group, leader_space)?;
    let mut leader = Open {
        at: group.leader,
        space: leader_space,
        checked: ReadBack::check(leader_space, &mark, staged, threads)?,
        is_marked: true,
    };
    let has_begun = leader.checked.staged.is_begun;
    let mut members = Vec::new();
    for (index, member) in group.members.iter().enumerate() {
        let space = space_of(index + 1, member.at);
        let open = look(member, space, has_begun, threads);
        members.extend(open.map_err(|error| about(member.at, error))?);
    }
    let unchanged = leader.checked.check_unchanged(leader.space);
    unchanged.map_err(|error| about(leader.at, error))?;
    let begun_bytes = members.iter_mut().map(Open::begin);
    let begun_bytes = begun_bytes.collect::<Result<Vec<u64>>>()?;
    // The leader's mark says last that all have begun, and the leader goes last.
    let leader_bytes = leader.begin()?;
    let brought = members.iter().zip(begun_bytes);
    let brought = brought.map(|(member, bytes)| member.bring(bytes, threads));
    let others = brought.collect::<Result<_>>()?;
    let finished = leader.bring(leader_bytes, threads)?;
    // The block of the leader is needed until every volume is complete.
    for update in members.iter().chain([&leader]) {
        update.checked.release(update.space);
    }
    Ok(Finished { others, ..finished })
}

fn windows<'a>(group: &Group, drive: &'a dyn WriteAt) -> Result<Vec<Window<&'a dyn WriteAt>>> {
    let window = |at: Extent| match fits(drive, at) {
        true => Window::new(drive, at).map_err(Error::Target),
        false => Err(Error::Refused(format!(
            "the group's volume at {} lies behind the end of this drive: it is another drive, or a cut \
             copy. Nothing was written",
            human_size(at.offset_bytes())
        ))),
    };
    group.volumes().map(window).collect()
}

/// The leader's mark, which may have changed since the group was read.
fn leader_mark(group: &Group, space: Space<'_>) -> Result<(Mark, Staged)> {
    let mark = Mark::read(&space.volume).map_err(Error::Target)?;
    let as_leader = |mark: Mark| {
        let staged = mark.staged?;
        let is_leader = mark.run == group.run && matches!(staged.membership, Membership::Leader(_));
        is_leader.then_some((mark, staged))
    };
    mark.and_then(as_leader).ok_or_else(|| {
        Error::Refused("the mark of the group was replaced meanwhile; nothing was written".into())
    })
}

/// What is left to be done for a member; `None` when it is complete.
fn look<'a>(
    member: &Member,
    space: Space<'a>,
    has_begun: bool,
    threads: NonZeroUsize,
) -> Result<Option<Open<'a>>> {
    let found = Mark::read(&space.volume).map_err(Error::Target)?;
    let own = |mark: &Mark| mark.staged.filter(|_| mark.run == member.mark.run);
    let (mark, staged) = match &found {
        None if has_begun => return Ok(None),
        None => (&member.mark, member.staged),
        Some(mark) => match own(mark) {
            Some(staged) => (mark, staged),
            None => {
                return Err(Error::Refused(format!(
                    "another run, from {}, has begun to write to it since",
                    mark.source
                )));
            }
        },
    };
    let checked = ReadBack::check(space, mark, staged, threads)?;
    match found {
        Some(_) => checked.check_unchanged(space)?,
        None => checked.check_untouched(space, member.witness)?,
    }
    Ok(Some(Open {
        at: member.at,
        space,
        checked,
        is_marked: found.is_some(),
    }))
}

/// Adds to an error which volume it is about, and what it means for the others.
fn about(at: Extent, error: Error) -> Error {
    let (Error::Refused(reason) | Error::RefusedUnless { reason, .. }) = error else {
        return error;
    };
    Error::RefusedUnless {
        reason: format!(
            "the volume at {} of the drive is one of a group that is updated as one: {reason}. No volume \
             of the group was written",
            human_size(at.offset_bytes())
        ),
        remedy: Remedy::FinishAlone,
    }
}
