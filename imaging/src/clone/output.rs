//! Where a run's writes go: into place, or staged beside it first.

use super::{Group, work};
use crate::chunk::{Write, chunk_writes};
use crate::error::{Error, Result};
use crate::mark::Mark;
use crate::spot::{Area, Spot, StagedPart};
use crate::stage::{Rooms, Space, Stager, apply::ReadBack, group};
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
    /// Room for the block of a group, and where the volume lies on its drive.
    pub(super) seat: Option<(Extent, Spot)>,
    /// Room on the volume that was a hole in a sparse file, and becomes one again.
    pub(super) holes: ExtentMap,
    /// Room on the volume that was zero and becomes zero again, because no one proved it free.
    pub(super) zeroes: ExtentMap,
    /// Room on the drive that the update lies in.
    pub(super) drive_taken: ExtentMap,
    /// What interrupted attempts may take over.
    pub(super) part: StagedPart,
    /// Bytes written to room, the index included.
    pub(super) staged_bytes: u64,
}

impl<'a> Output<'a> {
    /// Writes what is not zero, in the worker that read it: drives are faster with several
    /// requests under way than with one. Returns the zeroes that are left to be written.
    pub(super) fn put_data(
        &self,
        mut outcome: work::Outcome,
    ) -> Result<(work::Outcome, Vec<Write>)> {
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

/// An update that is staged.
pub(super) struct Staging<'a> {
    pub(super) stager: Stager<'a>,
    pub(super) space: Space<'a>,
    pub(super) allowed: &'a ExtentMap,
    pub(super) mark: Mark,
    /// The change token of what is on the target.
    pub(super) token: Option<[u8; 32]>,
    pub(super) threads: NonZeroUsize,
    /// Room on the volume that was zero, and that no one proved free.
    unproven: ExtentMap,
    /// Room that was a hole in a sparse file, and becomes one again.
    pub(super) holes: ExtentMap,
}

impl<'a> Staging<'a> {
    /// Stages in `rooms` what goes to `allowed`, the new state. What earlier attempts staged, `parts`,
    /// is taken over.
    pub(super) fn new(
        space: Space<'a>,
        rooms: Rooms,
        allowed: &'a ExtentMap,
        mark: Mark,
        parts: &[StagedPart],
        threads: NonZeroUsize,
    ) -> Result<Self> {
        let holes = holes(space, &rooms)?;
        let unproven = rooms.unproven.clone();
        let stager = Stager::new(space, mark.run, rooms, parts)?;
        let staged = (stager, allowed);
        Ok(Self::of_passes(
            space,
            staged,
            mark,
            (holes, unproven),
            threads,
        ))
    }

    /// The update that was staged in passes.
    pub(super) fn of_passes(
        space: Space<'a>,
        (stager, allowed): (Stager<'a>, &'a ExtentMap),
        mark: Mark,
        (holes, unproven): (ExtentMap, ExtentMap),
        threads: NonZeroUsize,
    ) -> Self {
        Self {
            stager,
            unproven,
            space,
            allowed,
            mark,
            token: None,
            threads,
            holes,
        }
    }

    fn put(&self, writes: &[Write]) -> Result<()> {
        if let Some(extent) = writes
            .iter()
            .filter_map(Write::extent)
            .find(|&extent| !self.allowed.contains(extent))
        {
            return Err(Error::Internal(format!("{extent} is not to be written")));
        }
        self.stager.put(writes)
    }

    /// Stages the first chunk, makes all of it durable, and reads it back; `None` when nothing
    /// differs. For a group of volumes, room is kept for the block that names its members.
    pub(super) fn seal(self, held: &HeldBack, group: Option<Group<'_>>) -> Result<Option<Sealed>> {
        if self.stager.is_empty() && held.changed.is_empty() {
            return Ok(None);
        }
        self.put_first_chunk(held)?;
        let seat = match group.filter(|group| group.volumes > 1) {
            Some(group) => {
                let block_bytes = group::block_bytes(group.volumes);
                Some((group.at, self.stager.reserve(block_bytes)?))
            }
            None => None,
        };
        let Some(staged) = self.stager.seal(self.token)? else {
            return Ok(None);
        };
        let run = self.mark.run;
        let mark = self.mark.with_staged(staged);
        let on_volume = self.stager.spots().into_iter();
        let on_volume = on_volume.filter(|spot| spot.area == Area::Volume);
        let used: ExtentMap = on_volume.map(|spot| spot.extent).collect();
        Ok(Some(Sealed {
            checked: ReadBack::check(self.space, &mark, staged, self.threads)?,
            seat,
            holes: used.intersection(&self.holes),
            zeroes: self.stager.taken(Area::Volume).intersection(&self.unproven),
            drive_taken: self.stager.taken(Area::Drive),
            part: StagedPart {
                run,
                index: staged.index,
            },
            staged_bytes: staged.staged_bytes,
        }))
    }

    /// Stages the first chunk, and the places that the mark replaces: both old and new contents.
    fn put_first_chunk(&self, held: &HeldBack) -> Result<()> {
        let places = Places::new(self.space.volume.geometry(), held.chunk).all();
        let changed: Vec<Extent> = held.changed.union(&places).iter().collect();
        self.stager
            .put(&chunk_writes(held.chunk, &held.content, &changed))?;
        let len = held.content.len();
        let old = read_vec(&self.space.volume, 0, len).map_err(Error::Target)?;
        let places: Vec<Extent> = places.iter().collect();
        self.stager
            .keep(&chunk_writes(held.chunk, &Bytes::from(old), &places))
    }
}

/// What of the room is a hole in a sparse file.
pub(super) fn holes(space: Space<'_>, rooms: &Rooms) -> Result<ExtentMap> {
    let Some(whole) = space.volume.geometry().extent() else {
        return Ok(rooms.free.clone());
    };
    let data = space.volume.data(whole).map_err(Error::Target)?;
    Ok(rooms.free.difference(&data))
}
