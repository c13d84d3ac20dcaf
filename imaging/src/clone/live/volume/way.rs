//! Where a pass writes: in place, or to room where an update waits until it is whole.

use crate::chunk::{self, Write, chunk_writes};
use crate::clone::Job;
use crate::clone::known::Knowledge;
use crate::clone::output::Borrowed;
use crate::clone::prepared::{Prepared, space};
use crate::clone::task::Task;
use crate::clone::work::Outcome;
use crate::error::Result;
use crate::stage::{PassStager, Rooms};
use crate::target_writer::TargetWriter;
use klon_partition::ExtentMap;
use std::sync::Arc;

/// An update of an earlier clone that is staged in passes.
pub(in crate::clone::live) struct Staging<'a> {
    stager: PassStager<'a>,
    borrowed: Borrowed,
}

impl<'a> Staging<'a> {
    /// Begins to stage where that is to be done.
    ///
    /// # Errors
    /// [`crate::Error::Target`].
    pub(super) fn begin(
        job: &Job<'a>,
        prepared: &Prepared,
        has_drive_room: bool,
    ) -> Result<Option<Self>> {
        let Some(present) = job.present.filter(|_| prepared.is_staged) else {
            return Ok(None);
        };
        let space = space(job);
        let mut rooms: Rooms = prepared.rooms(job, present, &ExtentMap::new());
        if !has_drive_room {
            rooms.drive = ExtentMap::new();
        }
        let borrowed = Borrowed::of(space, &rooms)?;
        let stager = PassStager::new(space, rooms);
        Ok(Some(Self { stager, borrowed }))
    }

    /// Hands out no room any more that `wanted` needs.
    pub(super) fn keep_off(&self, wanted: &ExtentMap) {
        self.stager.keep_off(wanted);
    }

    /// What stages, and the room that it gives back.
    pub(in crate::clone::live) fn into_parts(self) -> (PassStager<'a>, Borrowed) {
        (self.stager, self.borrowed)
    }
}

/// Where a pass writes.
pub(super) enum Way<'p> {
    InPlace(Box<TargetWriter<'p>>),
    Staged(Arc<Staging<'p>>),
}

impl Way<'_> {
    /// Writes what is not zero, in the worker that read it. Returns the zeroes that are left to be written.
    pub(super) fn put_data(
        &self,
        task: &Task,
        mut outcome: Outcome,
    ) -> Result<(Outcome, Vec<Write>)> {
        let writes = chunk_writes(outcome.chunk, &outcome.content, &outcome.changed);
        let zeroes = match self {
            Self::InPlace(writer) => writer.put_data(writes)?,
            Self::Staged(staging) => {
                // What is staged of a chunk, or nothing, stays when it is what was digested before, and the target
                // was not found to have something else.
                let is_same = matches!(task.known, Knowledge::Digest(it) if it == outcome.digest);
                if !is_same || !writes.is_empty() {
                    staging.stager.put(chunk::index(outcome.chunk), &writes)?;
                }
                Vec::new()
            }
        };
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

    /// Ends the pass.
    pub(super) fn end(self) -> Result<PassEnd> {
        match self {
            Self::InPlace(writer) => {
                writer.checkpoint()?;
                Ok(PassEnd {
                    is_marked: writer.is_marked(),
                    written_bytes: writer.written_bytes(),
                })
            }
            Self::Staged(_) => Ok(PassEnd {
                is_marked: false,
                written_bytes: 0,
            }),
        }
    }
}

/// What a pass leaves on the target.
pub(super) struct PassEnd {
    /// Whether it bears the mark.
    pub(super) is_marked: bool,
    /// Bytes of it that were written.
    pub(super) written_bytes: u64,
}
