//! Groups: staged updates of several volumes of one drive that are committed by one write.
//!
//! Each update is staged completely first. One of the volumes, the leader, also gets a block that
//! names the others with the marks that they shall have. The leader's mark is the commit: until it
//! is durable every volume is the earlier clone, from then on the drive alone brings all of them to
//! the new state:
//!
//! 1. The other members get their marks, and lose the places of signatures: nothing mounts them any
//!    more, and a member that bears no mark yet must be shown to be what it was.
//! 2. The same is done to the leader. Its mark now says that all have begun, so that a member
//!    without a mark is complete.
//! 3. What is staged is brought into place, the leader's last.
//!
//! The block, whose place and digest are in the leader's mark; integers little-endian:
//!
//! ```text
//! header, 96 bytes
//!  0   8  magic "klongrp\n"
//!  8   4  version, 1
//! 12   4  number of members but the leader
//! 16  16  UUID of the leader's run
//! 32   8  where the leader lies on the drive, in bytes
//! 40   8  its length in bytes
//! 48  48  zero
//!
//! member, 576 bytes
//!  0   8  where it lies on the drive, in bytes
//!  8   8  its length in bytes
//! 16  32  its witness: SHA-256 over offset and length (8 bytes each) and bytes of every piece (at
//!         most 1 MiB) of what was in use on it; zero where its change token shows as much
//! 48  16  zero
//! 64 512  its mark, as it stands on the volume from step 1 on
//! ```

mod commit;
mod finish;
#[cfg(test)]
mod tests;

pub use commit::{Ready, Seat, apply, commit, leader};
pub use finish::finish;

use super::index::damaged;
use super::room::Space;
use crate::chunk::Digest;
use crate::error::{Error, Result};
use crate::mark::{MARK_LEN, Mark, Membership, Staged};
use crate::spot::{BlockRef, Spot};
use klon_partition::bytes::{le32, le64};
use klon_partition::device::Window;
use klon_partition::error::Remedy;
use klon_partition::planner::human_size;
use klon_partition::{Extent, ExtentMap, ReadAt};
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"klongrp\n";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 96;
const MEMBER_LEN: usize = 64 + MARK_LEN;

/// The most volumes of a group, the leader included. Its block is no longer than a block of an index.
pub const MEMBERS_MAX: usize = 100;

/// Length of the block of a group with this many volumes.
#[must_use]
pub const fn block_bytes(volumes: usize) -> u64 {
    (HEADER_LEN + volumes.saturating_sub(1) * MEMBER_LEN) as u64
}

/// A group whose commit is on the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where the volume lies on the drive whose mark commits the group.
    pub leader: Extent,
    /// The run that staged the leader's update.
    run: Uuid,
    members: Vec<Member>,
}

/// A member but the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    at: Extent,
    mark: Mark,
    staged: Staged,
    witness: Option<[u8; 32]>,
}

impl Group {
    /// Where its volumes lie on the drive, the leader first.
    pub fn volumes(&self) -> impl Iterator<Item = Extent> + '_ {
        std::iter::once(self.leader).chain(self.members.iter().map(|member| member.at))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        bytes[16..32].copy_from_slice(self.run.as_bytes());
        bytes[32..48].copy_from_slice(&extent_bytes(self.leader));
        for member in &self.members {
            bytes.extend_from_slice(&extent_bytes(member.at));
            bytes.extend_from_slice(&member.witness.unwrap_or_default());
            bytes.extend_from_slice(&[0; 16]);
            bytes.extend_from_slice(&member.mark.to_bytes());
        }
        bytes
    }

    /// The group in `bytes`; `None` when they contradict themselves.
    fn parse(bytes: &[u8], run: Uuid) -> Option<Self> {
        let header = bytes.get(..HEADER_LEN)?;
        let count = usize::try_from(le32(header, 12)).ok()?;
        let is_known = header.starts_with(MAGIC)
            && le32(header, 8) == VERSION
            && header[16..32] == *run.as_bytes()
            && (1..MEMBERS_MAX).contains(&count)
            && bytes.len() == HEADER_LEN + count * MEMBER_LEN;
        if !is_known {
            return None;
        }
        let leader = Extent::new(le64(header, 32), le64(header, 40))?;
        let members = bytes[HEADER_LEN..].chunks_exact(MEMBER_LEN);
        let group = Self {
            leader,
            run,
            members: members
                .map(|bytes| Member::parse(bytes, leader, run))
                .collect::<Option<_>>()?,
        };
        let together: ExtentMap = group.volumes().collect();
        let apart_bytes = group
            .volumes()
            .try_fold(0_u64, |sum, at| sum.checked_add(at.len_bytes()));
        (apart_bytes == Some(together.total_bytes())).then_some(group)
    }
}

impl Member {
    fn parse(bytes: &[u8], leader: Extent, run: Uuid) -> Option<Self> {
        let witness: [u8; 32] = bytes[16..48].try_into().ok()?;
        let mark = Mark::parse(&bytes[64..])?;
        let staged = mark.staged.filter(|staged| !staged.is_begun)?;
        (staged.membership == Membership::Member { leader, run }).then_some(())?;
        Some(Self {
            at: Extent::new(le64(bytes, 0), le64(bytes, 8))?,
            mark,
            staged,
            witness: (witness != [0; 32]).then_some(witness),
        })
    }
}

fn extent_bytes(extent: Extent) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&extent.offset_bytes().to_le_bytes());
    bytes[8..].copy_from_slice(&extent.len_bytes().to_le_bytes());
    bytes
}

/// Reads the block that the mark of a leader refers to.
fn read_block(space: Space<'_>, run: Uuid, block: BlockRef) -> Result<Group> {
    let BlockRef { spot, digest } = block;
    let mut bytes = vec![0; usize::try_from(spot.extent.len_bytes()).unwrap_or(0)];
    space.read(spot, &mut bytes)?;
    let found = Digest::of(&bytes);
    if found.0 != digest {
        let expected = Digest(digest);
        return Err(damaged("group's block", "SHA-256", spot, expected, found));
    }
    Group::parse(&bytes, run).ok_or_else(|| {
        let expected = format!("the group of run {run}");
        damaged("group's block", "content", spot, expected, "another")
    })
}

/// The group of a volume with `mark`.
///
/// # Errors
/// [`Error::Refused`] when the volume is in no group, or when its leader no longer names it;
/// [`Error::StageCorrupt`], [`Error::Target`].
pub fn of(space: Space<'_>, mark: &Mark) -> Result<Group> {
    match mark.staged.map(|staged| staged.membership) {
        Some(Membership::Leader(block)) => read_block(space, mark.run, block),
        Some(Membership::Member { leader, run }) => {
            let group = led_from(space, leader)?.filter(|group| group.run == run);
            let is_known = |group: &Group| group.members.iter().any(|one| one.mark.run == mark.run);
            group.filter(is_known).ok_or_else(|| leaderless(leader))
        }
        _ => Err(Error::Refused("it is in no group".to_owned())),
    }
}

/// The group that the volume at `leader` of the drive commits, if any.
fn led_from(space: Space<'_>, leader: Extent) -> Result<Option<Group>> {
    let drive = space.drive()?;
    let volume = Window::new(drive, leader).map_err(Error::Target)?;
    let Some(mark) = Mark::read(&volume).map_err(Error::Target)? else {
        return Ok(None);
    };
    let Some(Membership::Leader(block)) = mark.staged.map(|staged| staged.membership) else {
        return Ok(None);
    };
    let space = Space {
        volume: &volume,
        drive: space.drive,
    };
    let group = read_block(space, mark.run, block)?;
    Ok(Some(group).filter(|group| group.leader == leader))
}

/// The committed group of the volume at `own` of a drive, whether the volume has its mark yet or
/// not; `others` are the drive's partitions.
///
/// # Errors
/// [`Error::Target`]. A group whose block is damaged names nobody.
pub fn find(
    space: Space<'_>,
    own: Extent,
    others: impl IntoIterator<Item = Extent>,
) -> Result<Option<Group>> {
    for at in others {
        match led_from(space, at) {
            Ok(Some(group)) if group.volumes().any(|volume| volume == own) => {
                return Ok(Some(group));
            }
            Ok(_) | Err(Error::StageCorrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn leaderless(leader: Extent) -> Error {
    let reason = format!(
        "its update is one of a group, and the group's first volume, at {} of the drive, does not say so \
         any more: someone overwrote it, or it is damaged. Nothing shows whether the others of the group \
         were updated. Nothing was written. Clone the group again from its sources",
        human_size(leader.offset_bytes())
    );
    let remedy = Remedy::FinishAlone;
    Error::RefusedUnless { reason, remedy }
}

/// Where a block of `bytes` that begins at `spot` is, and what it contains.
fn refer(spot: Spot, bytes: &[u8]) -> Option<BlockRef> {
    let extent = Extent::new(spot.extent.offset_bytes(), bytes.len() as u64)?;
    let digest = Digest::of(bytes).0;
    let spot = Spot { extent, ..spot };
    Some(BlockRef { spot, digest })
}

/// Whether a volume is the one of `at` on a drive of this size.
fn fits(drive: &dyn ReadAt, at: Extent) -> bool {
    at.end_bytes() <= drive.geometry().size_bytes
}
