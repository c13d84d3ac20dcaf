//! Where a run's writes go: into place, or staged beside it first.

use super::prepared::{Prepared, space};
use super::work::Outcome;
use super::{CloneOptions, Group, Job};
use crate::change::Approach;
use crate::chunk::{Write, chunk_writes};
use crate::error::{Error, Result};
use crate::mark::Mark;
use crate::spot::{Area, StagedPart};
use crate::stage::group::{self, Seat};
use crate::stage::{Rooms, Space, Stager, apply::ReadBack};
use crate::target_writer::{HeldBack, Places, TargetWriter};
use bytes::Bytes;
use klon_partition::device::read_vec;
use klon_partition::{Extent, ExtentMap};
use std::num::NonZeroUsize;

pub(super) enum Output<'a> {
    InPlace(Box<TargetWriter<'a>>),
    Staged(Box<Staging<'a>>),
}

/// An update that is completely staged and was read back.
pub(super) struct Sealed {
    pub(super) checked: ReadBack,
    /// The volume's place in its group, if it is updated with others.
    pub(super) seat: Option<Seat>,
    /// The room that it lies in.
    pub(super) lent: Lent,
    /// What interrupted attempts may take over.
    pub(super) part: StagedPart,
    /// Bytes written to room, the index included.
    pub(super) staged_bytes: u64,
}

/// Room that becomes again what it was before something was staged there.
pub(super) struct Lent {
    /// Of the volume: what was a hole in a sparse file.
    holes: ExtentMap,
    /// Of the volume: what was zero, and no one proved free.
    zeroes: ExtentMap,
    /// Of the drive.
    pub(super) drive: ExtentMap,
}

impl Lent {
    /// Gives it back: else what was zero could not be told from what someone put there. A failure has lost nothing
    /// that anyone wanted. Of a drive that is given up it becomes zero, too: what is left in no partition would be
    /// copied with the drive.
    pub(super) fn give_back(&self, space: Space<'_>) {
        for extent in self.holes.iter() {
            let _ = space.volume.discard(extent);
        }
        for extent in self.zeroes.iter() {
            let _ = space.volume.zero(extent);
        }
        if let Some(drive) = space.drive {
            for extent in self.drive.iter() {
                let _ = drive.zero(extent);
            }
        }
    }
}

impl<'a> Output<'a> {
    /// Begins to write. A target that an earlier run left unfinished has nothing to be saved: it is written
    /// in place.
    pub(super) fn begin(
        prepared: &'a Prepared,
        job: &Job<'a>,
        options: &CloneOptions,
        group: Option<Group<'_>>,
    ) -> Result<Self> {
        let Some(present) = job.present.filter(|_| prepared.is_staged) else {
            let mark = prepared.mark.clone();
            let writer = TargetWriter::begin(job.target, &prepared.wanted, mark, prepared.first);
            return Ok(Self::InPlace(Box::new(writer)));
        };
        let none = ExtentMap::new();
        let drive_taken = group.map_or(&none, |group| group.drive_taken);
        let rooms = prepared.rooms(job, present, drive_taken);
        let goal = Goal::of(prepared, job, options);
        let staging = Staging::new(goal, rooms, &prepared.staged)?;
        // All of it is staged then, and only long runs of zeroes that no map tells of would need none;
        // what no one proved free often is nothing else.
        let room_bytes = staging.stager.room_bytes();
        let known = prepared.plan.copy.difference(&job.usage.unproven);
        let is_full = matches!(prepared.selection.approach, Approach::Full);
        if is_full && prepared.staged.is_empty() && known.total_bytes() > room_bytes {
            return Err(Error::NoRoom { room_bytes });
        }
        Ok(Self::Staged(Box::new(staging)))
    }

    /// Writes what is not zero, in the worker that read it: drives are faster with several
    /// requests under way than with one. Returns the zeroes that are left to be written.
    pub(super) fn put_data(&self, mut outcome: Outcome) -> Result<(Outcome, Vec<Write>)> {
        let writes = chunk_writes(outcome.chunk, &outcome.content, &outcome.changed);
        let zeroes = match self {
            Self::InPlace(writer) => writer.put_data(writes)?,
            Self::Staged(staging) => staging.put(&writes).map(|()| Vec::new())?,
        };
        // The buffer goes back at once, not when its turn has come.
        outcome.content.clear();
        Ok((outcome, zeroes))
    }

    /// Makes zero, in order.
    pub(super) fn put_zero(&self, write: &Write) -> Result<()> {
        match self {
            Self::InPlace(writer) => writer.put(write),
            Self::Staged(_) => Ok(()),
        }
    }

    /// Makes everything durable that was put so far; says what is staged.
    pub(super) fn checkpoint(&self) -> Result<Option<StagedPart>> {
        match self {
            Self::InPlace(writer) => writer.checkpoint().map(|()| None),
            Self::Staged(staging) => staging.stager.checkpoint(),
        }
    }
}

/// What a staged update shall become on its target.
pub(super) struct Goal<'a> {
    space: Space<'a>,
    /// The new state: nothing else is written.
    allowed: &'a ExtentMap,
    mark: Mark,
    /// The change token of what is on the target.
    token: Option<[u8; 32]>,
    threads: NonZeroUsize,
}

impl<'a> Goal<'a> {
    pub(super) fn of(prepared: &'a Prepared, job: &Job<'a>, options: &CloneOptions) -> Self {
        Self {
            space: space(job),
            allowed: &prepared.wanted,
            mark: prepared.mark.clone(),
            token: prepared.target_token.map(|token| token.0),
            threads: options.threads,
        }
    }
}

/// Room on the volume that becomes again what it was, once the update is in its place.
pub(super) struct Borrowed {
    /// Holes of a sparse file.
    holes: ExtentMap,
    /// What was zero, and what no one proved free.
    unproven: ExtentMap,
}

impl Borrowed {
    /// What is borrowed of `rooms`.
    pub(super) fn of(space: Space<'_>, rooms: &Rooms) -> Result<Self> {
        let unproven = rooms.unproven.clone();
        let Some(whole) = space.volume.geometry().extent() else {
            let holes = rooms.free.clone();
            return Ok(Self { holes, unproven });
        };
        let data = space.volume.data(whole).map_err(Error::Target)?;
        let holes = rooms.free.difference(&data);
        Ok(Self { holes, unproven })
    }
}

/// An update that is staged.
pub(super) struct Staging<'a> {
    stager: Stager<'a>,
    goal: Goal<'a>,
    borrowed: Borrowed,
}

impl<'a> Staging<'a> {
    /// Stages in `rooms`. It takes over what earlier attempts staged, which are `parts`.
    fn new(goal: Goal<'a>, rooms: Rooms, parts: &[StagedPart]) -> Result<Self> {
        let borrowed = Borrowed::of(goal.space, &rooms)?;
        let stager = Stager::new(goal.space, goal.mark.run, rooms, parts)?;
        Ok(Self::of_passes(goal, stager, borrowed))
    }

    /// The update that was staged in passes.
    pub(super) const fn of_passes(goal: Goal<'a>, stager: Stager<'a>, borrowed: Borrowed) -> Self {
        Self {
            stager,
            goal,
            borrowed,
        }
    }

    fn put(&self, writes: &[Write]) -> Result<()> {
        if let Some(extent) = writes
            .iter()
            .filter_map(Write::extent)
            .find(|&extent| !self.goal.allowed.contains(extent))
        {
            return Err(Error::not_to_be_written(extent));
        }
        self.stager.put(writes)
    }

    /// Stages the first chunk, makes all of it durable, and reads it back; `None` when nothing
    /// differs. For a group of volumes, room is kept for the block that names its members.
    pub(super) fn seal(self, held: &HeldBack, group: Option<Group<'_>>) -> Result<Option<Sealed>> {
        let Goal {
            space,
            mark,
            threads,
            token,
            ..
        } = &self.goal;
        if self.stager.is_empty() && held.changed.is_empty() {
            // Passes may have staged what is no difference any more.
            self.lent().give_back(self.goal.space);
            return Ok(None);
        }
        self.put_first_chunk(held)?;
        let seat = match group.filter(|group| group.volumes > 1) {
            Some(group) => {
                let block_bytes = group::block_bytes(group.volumes);
                Some(Seat {
                    at: group.at,
                    spot: self.stager.reserve(block_bytes)?,
                })
            }
            None => None,
        };
        let Some(staged) = self.stager.seal(*token)? else {
            return Ok(None);
        };
        let run = mark.run;
        let mark = mark.with_staged(staged);
        Ok(Some(Sealed {
            checked: ReadBack::check(*space, &mark, staged, *threads)?,
            seat,
            lent: self.lent(),
            part: StagedPart {
                run,
                index: staged.index,
            },
            staged_bytes: staged.staged_bytes,
        }))
    }

    /// The room that was taken.
    fn lent(&self) -> Lent {
        let on_volume = self.stager.spots().into_iter();
        let on_volume = on_volume.filter(|spot| spot.area == Area::Volume);
        let taken = self.stager.taken(Area::Volume);
        let used: ExtentMap = on_volume.map(|spot| spot.extent).collect();
        // A source in use may have come to use room in which an earlier pass staged: it is the clone's then.
        let given_back = |room: &ExtentMap| room.difference(self.goal.allowed);
        Lent {
            holes: given_back(&used.intersection(&self.borrowed.holes)),
            zeroes: given_back(&taken.intersection(&self.borrowed.unproven)),
            drive: self.stager.taken(Area::Drive),
        }
    }

    /// Stages the first chunk, and the places that the mark replaces: both old and new contents.
    fn put_first_chunk(&self, held: &HeldBack) -> Result<()> {
        let volume = self.goal.space.volume;
        let places = Places::new(volume.geometry(), held.chunk).all();
        let changed: Vec<Extent> = held.changed.union(&places).iter().collect();
        self.stager
            .put(&chunk_writes(held.chunk, &held.content, &changed))?;
        let len = held.content.len();
        let old = read_vec(&volume, 0, len).map_err(Error::Target)?;
        let places: Vec<Extent> = places.iter().collect();
        self.stager
            .keep(&chunk_writes(held.chunk, &Bytes::from(old), &places))
    }
}
