//! Bringing a staged update from room into place.

use super::blocks::{in_parts, read_block, write_entries};
use super::bounds::{Sums, on_volume};
use super::index::{Chain, damaged};
use super::room::{Space, UNIT_BYTES};
use crate::chunk::{HELD_BYTES, range_in, to_len};
use crate::error::{Error, Result};
use crate::mark::{MARK_LEN, Mark, Membership, Staged};
use crate::pipeline;
use crate::spot::{Area, Spot};
use crate::target_writer::{Places, mark_places, restore_places};
use klon_partition::{Extent, ExtentMap};
use serde::Serialize;
use std::num::NonZeroUsize;
use uuid::Uuid;

/// A staged update whose every byte was read and matches its digest.
pub struct ReadBack {
    pub(super) staged: Staged,
    mark: Mark,
    /// The first chunk, as far as it is staged.
    held: FirstChunk,
    /// The old contents of the places in the first chunk that the mark replaces.
    pub(super) old: FirstChunk,
    /// Bytes that go into place, without the first chunk.
    rest_bytes: u64,
    /// Whether some of it may be in its place already.
    was_begun: bool,
}

/// The first chunk, or the parts of it that are staged.
pub(super) struct FirstChunk {
    pub(super) chunk: Extent,
    pub(super) content: Vec<u8>,
    parts: Vec<Extent>,
}

impl FirstChunk {
    fn new(chunk: Extent) -> Self {
        Self {
            chunk,
            content: vec![0; to_len(chunk.len_bytes())],
            parts: Vec::new(),
        }
    }

    /// Adds a part, which lies in the chunk.
    fn add(&mut self, part: Extent, bytes: &[u8]) {
        self.content[range_in(self.chunk, part)].copy_from_slice(bytes);
        self.parts.push(part);
    }

    pub(super) fn map(&self) -> ExtentMap {
        self.parts.iter().copied().collect()
    }
}

/// An update that was completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// What was cloned, as an identity's text.
    pub source: String,
    /// When the run began that staged it, in seconds since 1970 UTC.
    pub started_unix_seconds: u64,
    /// Bytes that were staged.
    pub staged_bytes: u64,
    /// Bytes written in place.
    pub written_bytes: u64,
    /// The run that staged it.
    #[serde(skip)]
    pub run: Uuid,
    /// Where the volume lies on the drive, when it was of a group.
    #[serde(skip)]
    pub at: Option<Extent>,
    /// The rest of its group, which was completed with it.
    #[serde(skip)]
    pub others: Vec<Self>,
}

impl ReadBack {
    /// Reads everything that the update `staged` by the run of `mark` consists of, and compares it
    /// with the index.
    ///
    /// # Errors
    /// As [`finish`](super::finish).
    pub fn check(
        space: Space<'_>,
        mark: &Mark,
        staged: Staged,
        threads: NonZeroUsize,
    ) -> Result<Self> {
        let volume_bytes = space.volume.geometry().size_bytes;
        let chunk = Extent::new(0, volume_bytes.min(HELD_BYTES))
            .ok_or_else(|| Error::Refused("the target has no bytes".to_owned()))?;
        let (mut held, mut old) = (FirstChunk::new(chunk), FirstChunk::new(chunk));
        let (mut to, mut sums) = (Vec::new(), Sums::default());
        let mut from: Vec<Extent> = on_volume(staged.index.spot).into_iter().collect();
        let mut rest_bytes = 0_u64;
        pipeline::run(
            threads,
            Chain::new(space, mark.run, staged.index),
            |block| {
                Sums::of(&block).check(space, staged.index.spot)?;
                read_block(space, volume_bytes, &block)
            },
            |read| {
                sums = sums.and(read.sums);
                sums.check(space, staged.index.spot)?;
                for (entry, bytes) in &read.held {
                    let held = if entry.is_old { &mut old } else { &mut held };
                    held.add(entry.to, bytes);
                }
                let rest = read.to.iter().filter(|to| to.offset_bytes() >= HELD_BYTES);
                rest_bytes = rest.fold(rest_bytes, |sum, to| sum.saturating_add(to.len_bytes()));
                to.extend(read.to);
                from.extend(read.from);
                Ok(())
            },
        )?;
        let (to, from): (ExtentMap, ExtentMap) =
            (to.into_iter().collect(), from.into_iter().collect());
        if let Some(extent) = to.intersection(&from).iter().next() {
            let spot = Spot {
                area: Area::Volume,
                extent,
            };
            let (expected, found) = ("room apart from what is written", "room to be overwritten");
            return Err(damaged("index", "room", spot, expected, found));
        }
        Ok(Self {
            staged,
            mark: mark.clone(),
            held,
            old,
            rest_bytes,
            was_begun: staged.is_begun,
        })
    }

    /// The run that staged it.
    pub(super) const fn run(&self) -> Uuid {
        self.mark.run
    }

    /// Makes it a member of a group, or not.
    pub(super) const fn set_membership(&mut self, membership: Membership) {
        self.staged.membership = membership;
        self.mark.staged = Some(self.staged);
    }

    /// The mark that commits it.
    pub(super) const fn mark(&self) -> &Mark {
        &self.mark
    }

    fn places(&self, space: Space<'_>) -> Places {
        Places::new(space.volume.geometry(), self.held.chunk)
    }

    /// Bytes that will be written to `space` to bring it into place, from the commit on.
    #[must_use]
    pub fn in_place_bytes(&self, space: Space<'_>) -> u64 {
        let places = self.places(space).all();
        let rest = self.held.map().difference(&places).total_bytes();
        // The places are replaced and given back; the mark is written before and after the first.
        self.rest_bytes + rest + 2 * places.total_bytes() + 2 * MARK_LEN as u64
    }

    /// Makes the mark durable: from here on the update is to be completed, before that the target
    /// is what it was. Returns the bytes written.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn commit(&self, space: Space<'_>) -> Result<u64> {
        write_mark(space, &self.mark)
    }

    /// Takes away the places of signatures, so that nothing mounts the volume any more. Returns the
    /// bytes written.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn begin(&mut self, space: Space<'_>) -> Result<u64> {
        if self.staged.is_begun {
            return Ok(0);
        }
        let marked_bytes = mark_places(space.volume, &self.places(space), &self.mark)?;
        self.staged.is_begun = true;
        self.mark.staged = Some(self.staged);
        Ok(marked_bytes + write_mark(space, &self.mark)?)
    }

    /// Brings everything into place, the first sectors last. Returns the bytes written.
    ///
    /// # Errors
    /// As [`finish`](super::finish).
    pub fn bring(&self, space: Space<'_>, threads: NonZeroUsize) -> Result<u64> {
        let mut written_bytes = 0;
        pipeline::run(
            threads,
            Chain::new(space, self.mark.run, self.staged.index).flat_map(in_parts),
            |entries| write_entries(space, &entries, self.was_begun),
            |part_bytes: u64| {
                written_bytes += part_bytes;
                Ok(())
            },
        )?;
        space.volume.sync().map_err(Error::Target)?;
        let FirstChunk { content, .. } = &self.held;
        let places = self.places(space);
        written_bytes += restore_places(space.volume, &places, content, &self.held.map())?;
        Ok(written_bytes)
    }

    /// Makes the drive's room that held the update zero again. The next update uses only zeroes there,
    /// as anything else may be someone's data. A failure loses nothing of value.
    pub(super) fn release(&self, space: Space<'_>) {
        let Some(drive) = space.drive else {
            return;
        };
        let mut spots = vec![self.staged.index.spot];
        if let Membership::Leader(block) = self.staged.membership {
            spots.push(block.spot);
        }
        for block in Chain::new(space, self.mark.run, self.staged.index) {
            let Ok(block) = block else {
                return;
            };
            spots.extend(block.before.map(|before| before.spot));
            spots.extend(block.entries.iter().filter_map(|entry| Some(entry.from?.0)));
        }
        let on_drive = spots.iter().filter(|spot| spot.area == Area::Drive);
        let room: ExtentMap = on_drive.map(|spot| spot.extent).collect();
        // Room is handed out in whole units.
        let room = room.aligned_out(UNIT_BYTES, drive.geometry().size_bytes);
        for extent in room.iter() {
            let _ = drive.zero(extent);
        }
    }

    pub(super) fn finished(&self, written_bytes: u64) -> Finished {
        Finished {
            source: self.mark.source.clone(),
            started_unix_seconds: self.mark.started_unix_seconds,
            staged_bytes: self.staged.staged_bytes,
            written_bytes,
            run: self.mark.run,
            at: None,
            others: Vec::new(),
        }
    }
}

fn write_mark(space: Space<'_>, mark: &Mark) -> Result<u64> {
    let mark = mark.to_bytes();
    space.volume.write_all_at(&mark, 0).map_err(Error::Target)?;
    space.volume.sync().map_err(Error::Target)?;
    Ok(mark.len() as u64)
}
