//! Committing the updates of a group, all of them by one write, and bringing them into place.

use super::super::apply::ReadBack;
use super::super::index::damaged;
use super::super::room::Space;
use super::super::unchanged::witness;
use super::{Group, MEMBERS_MAX, Member, block_bytes, read_block, refer};
use crate::error::{Error, Result};
use crate::mark::Membership;
use crate::spot::Spot;
use klon_partition::Extent;
use std::num::NonZeroUsize;

/// The place of a volume in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Where the volume lies on the drive.
    pub at: Extent,
    /// Room for the group's block, in case that the volume leads.
    pub spot: Spot,
}

/// A staged update that is ready to be committed.
pub struct Ready<'a> {
    /// Where it is staged.
    pub space: Space<'a>,
    /// What is staged, all of it read back.
    pub checked: ReadBack,
    /// Its place in a group; without one, it can only be committed by itself.
    pub seat: Option<Seat>,
    /// Bytes that the volume uses: the one without a change token that uses most leads.
    pub used_bytes: u64,
}

/// Commits updates as one: when this returns, `finish` completes all of them from the drive alone.
/// Until the one write that does it, all volumes are what they were. The last one leads; see
/// [`leader`]. Returns the bytes written to each volume.
///
/// # Errors
/// [`Error::Target`]; [`Error::StageCorrupt`] when the group's block is not what was written;
/// [`Error::Internal`] when several were not staged as one group.
pub fn commit(updates: &mut [&mut Ready<'_>]) -> Result<Vec<u64>> {
    match updates {
        [] => Ok(Vec::new()),
        [one] => {
            one.checked.set_membership(Membership::Alone);
            Ok(vec![one.checked.commit(one.space)?])
        }
        [members @ .., leader] => {
            let seats = Seats::of(leader, members).ok_or_else(no_group)?;
            commit_together(leader, members, &seats)
        }
    }
}

/// The updates are staged one by one, each as a part of a group of some size. That they were parts of the same
/// group shows only when they are committed.
fn no_group() -> Error {
    Error::Internal("the volumes were not staged as one group".to_owned())
}

/// The places of a group on its drive.
struct Seats {
    leader: Seat,
    /// Where the members lie, in their order.
    members: Vec<Extent>,
}

impl Seats {
    /// `None` when one of them has no seat, or when the leader has no room for a block that names so many.
    fn of(leader: &Ready<'_>, members: &[&mut Ready<'_>]) -> Option<Self> {
        let seat = leader.seat?;
        let is_room = seat.spot.extent.len_bytes() >= block_bytes(members.len() + 1);
        let members_at = members.iter().map(|member| Some(member.seat?.at));
        Some(Self {
            leader: seat,
            members: members_at.collect::<Option<_>>()?,
        })
        .filter(|_| is_room && members.len() < MEMBERS_MAX)
    }
}

fn commit_together(
    leader: &mut Ready<'_>,
    members: &mut [&mut Ready<'_>],
    seats: &Seats,
) -> Result<Vec<u64>> {
    let Seat { at, spot } = seats.leader;
    let run = leader.checked.run();
    let mut group = Group {
        leader: at,
        run,
        members: Vec::with_capacity(members.len()),
    };
    for (member, &member_at) in members.iter_mut().zip(&seats.members) {
        member
            .checked
            .set_membership(Membership::Member { leader: at, run });
        group.members.push(Member {
            at: member_at,
            mark: member.checked.mark().clone(),
            staged: member.checked.staged,
            witness: match member.checked.staged.token {
                Some(_) => None,
                None => Some(witness(member.space)?),
            },
        });
    }
    let bytes = group.to_bytes();
    let block = refer(spot, &bytes).ok_or_else(no_group)?;
    leader.space.write(spot, &bytes)?;
    leader.space.sync()?;
    // Read back, as everything that is staged was.
    if read_block(leader.space, run, block)? != group {
        let (expected, found) = ("the group that was written", "another");
        return Err(damaged("group's block", "content", spot, expected, found));
    }
    leader.checked.set_membership(Membership::Leader(block));
    let leader_bytes = leader.checked.commit(leader.space)?;
    let mut written_bytes = Vec::new();
    for member in members {
        let marked_bytes = member.checked.commit(member.space)?;
        written_bytes.push(marked_bytes + member.checked.begin(member.space)?);
    }
    written_bytes.push(leader_bytes + leader.checked.begin(leader.space)?);
    Ok(written_bytes)
}

/// Which one should lead. Nothing but a mark in its first sector shows of a volume without a change
/// token that it was left alone, and the leader has one from the commit on.
pub fn leader<'a>(updates: impl IntoIterator<Item = &'a Ready<'a>>) -> usize {
    let rank = |ready: &Ready<'_>| match ready.checked.staged.token {
        None => ready.used_bytes.saturating_add(1),
        Some(_) => 0,
    };
    let ranked = updates.into_iter().map(rank).enumerate();
    ranked
        .max_by_key(|&(index, rank)| (rank, index))
        .map_or(0, |(index, _)| index)
}

/// Brings updates into place that were committed, in their order. Returns the bytes written to each
/// volume.
///
/// # Errors
/// [`Error::Target`], [`Error::StageCorrupt`]: `finish` goes on with it.
pub fn apply(updates: &mut [&mut Ready<'_>], threads: NonZeroUsize) -> Result<Vec<u64>> {
    let mut written_bytes = Vec::with_capacity(updates.len());
    for update in updates {
        let Ready { space, checked, .. } = &mut **update;
        written_bytes.push(checked.begin(*space)? + checked.bring(*space, threads)?);
    }
    Ok(written_bytes)
}
