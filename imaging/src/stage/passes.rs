//! Staging in passes: what is staged of a chunk replaces what was staged of it before, and room is given
//! up that the new state turns out to need. The index is written at the end, so that it names each byte
//! once; an interruption leaves nothing that anyone could take over.

use super::index::{Entry, damaged};
use super::room::{Room, Rooms, Space, UNIT_BYTES};
use super::stager::{StagedInPasses, Stager, UNIT_ENTRIES, data_bytes, lay_out};
use crate::chunk::{Digest, Write};
use crate::error::{Error, Result};
use crate::spot::{Area, Spot};
use bytes::Bytes;
use klon_partition::ExtentMap;
use klon_partition::device::AlignedBuffer;
use klon_partition::locks::{into_inner, lock};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// Stages chunks, each as often as it changes. Several threads may [`put`](Self::put) at once, each its own
/// chunks.
pub(crate) struct PassStager<'a> {
    space: Space<'a>,
    state: Mutex<State>,
}

struct State {
    room: Room,
    /// By the numbers of chunks.
    chunks: BTreeMap<u64, Placed>,
    entries: usize,
    /// What the newest state needs of the volume: it is no room, also where it was.
    wanted: ExtentMap,
    /// All room that was ever taken: what is given back is not what it was.
    touched: Vec<Spot>,
}

/// What is staged of a chunk.
struct Placed {
    entries: Vec<Entry>,
    spots: Vec<Spot>,
}

impl<'a> PassStager<'a> {
    /// Stages in `rooms` of `space`.
    pub(crate) fn new(space: Space<'a>, rooms: Rooms) -> Self {
        let state = State {
            room: Room::new(rooms),
            chunks: BTreeMap::new(),
            entries: 0,
            wanted: ExtentMap::new(),
            touched: Vec::new(),
        };
        Self {
            space,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Stages `writes`, which are all that differs of the chunk of this number, in the place of what was
    /// staged of it before.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when there is not enough room, with nothing lost; [`Error::Target`].
    pub(crate) fn put(&self, number: u64, writes: &[Write]) -> Result<()> {
        let bytes = writes.iter().map(data_bytes).sum();
        let spots = {
            let mut state = self.state();
            state.forget(number);
            state.take(self.space, bytes, writes.len())?
        };
        let (entries, buffers) = lay_out(writes, &spots);
        for (spot, buffer) in spots.iter().zip(&buffers) {
            self.space.write(*spot, buffer)?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        state.entries += entries.len();
        state.chunks.insert(number, Placed { entries, spots });
        Ok(())
    }

    /// Hands out no room any more that `wanted` needs, the newest state.
    pub(crate) fn keep_off(&self, wanted: &ExtentMap) {
        let mut state = self.state();
        state.room.keep_off(wanted);
        state.wanted = wanted.clone();
    }

    /// Ends the passes: moves what lies where `wanted` needs the room, the state that is to be reached, and
    /// forgets what that does not have.
    ///
    /// # Errors
    /// As [`put`](Self::put); [`Error::StageCorrupt`] when what was staged can't be read back;
    /// [`Error::Internal`] when something is staged that `wanted` has only in part.
    pub(crate) fn finish(self, run: Uuid, wanted: &ExtentMap) -> Result<Stager<'a>> {
        self.keep_off(wanted);
        let numbers: Vec<u64> = self.state().chunks.keys().copied().collect();
        for number in numbers {
            self.settle(number, wanted)?;
        }
        let State {
            room,
            chunks,
            touched,
            ..
        } = into_inner(self.state);
        let entries = chunks.into_values().flat_map(|placed| placed.entries);
        let staged = StagedInPasses {
            entries: entries.collect(),
            spots: touched,
        };
        Stager::of_passes(self.space, run, room, staged)
    }

    fn settle(&self, number: u64, wanted: &ExtentMap) -> Result<()> {
        let mut state = self.state();
        let Some(placed) = state.chunks.get(&number) else {
            return Ok(());
        };
        let is_any = placed.entries.iter().any(|entry| wanted.overlaps(entry.to));
        if !is_any {
            state.forget(number);
            return Ok(());
        }
        if let Some(entry) = placed
            .entries
            .iter()
            .find(|entry| !wanted.contains(entry.to))
        {
            return Err(Error::not_to_be_written(entry.to));
        }
        let is_in_the_way = |spot: &Spot| spot.area == Area::Volume && wanted.overlaps(spot.extent);
        if !placed.spots.iter().any(is_in_the_way) {
            return Ok(());
        }
        let writes: Result<Vec<Write>> = placed.entries.iter().map(|it| self.read(it)).collect();
        drop(state);
        self.put(number, &writes?)
    }

    /// What is staged by an entry.
    fn read(&self, entry: &Entry) -> Result<Write> {
        let Some((spot, digest)) = entry.from else {
            return Ok(Write::Zero(entry.to));
        };
        let len = usize::try_from(spot.extent.len_bytes()).unwrap_or(0);
        let mut buffer = AlignedBuffer::zeroed(len);
        self.space.read(spot, &mut buffer)?;
        let found = Digest::of(&buffer);
        if found.0 != digest {
            let expected = Digest(digest);
            return Err(damaged("staged bytes", "SHA-256", spot, expected, found));
        }
        Ok(Write::Data {
            offset_bytes: entry.to.offset_bytes(),
            data: Bytes::copy_from_slice(&buffer),
        })
    }
}

impl State {
    /// Gives back the room of what was staged of a chunk.
    fn forget(&mut self, number: u64) {
        if let Some(placed) = self.chunks.remove(&number) {
            self.entries -= placed.entries.len();
            for spot in placed.spots {
                self.room.give_back(spot, &self.wanted);
            }
        }
    }

    /// Room for `data_bytes`, as long as enough remains for the index.
    fn take(&mut self, space: Space<'_>, data_bytes: u64, writes: usize) -> Result<Vec<Spot>> {
        let units = data_bytes.div_ceil(UNIT_BYTES);
        let entries = (self.entries + writes) as u64 + units;
        let index_units = entries.div_ceil(UNIT_ENTRIES) + 1;
        let needed_bytes = units.saturating_add(index_units).saturating_mul(UNIT_BYTES);
        let no_room = |room: &Room| Error::NoRoom {
            room_bytes: room.total_bytes(),
        };
        if needed_bytes > self.room.left_bytes() {
            return Err(no_room(&self.room));
        }
        let mut spots: Vec<Spot> = Vec::new();
        let mut left_bytes = units.saturating_mul(UNIT_BYTES);
        while left_bytes > 0 {
            let spot = self.room.take(space, left_bytes)?;
            let spot = spot.ok_or_else(|| no_room(&self.room))?;
            left_bytes = left_bytes.saturating_sub(spot.extent.len_bytes());
            self.touched.push(spot);
            spots.push(spot);
        }
        Ok(spots)
    }
}
