//! Writes what changed to room, and keeps the index of it.

use super::earlier::Earlier;
use super::index::{Block, ENTRY_LEN, Entry};
use super::room::{Areas, Room, Rooms, Space, UNIT_BYTES};
use crate::chunk::{Digest, Write};
use crate::error::{Error, Result};
use crate::mark::{Membership, Staged};
use crate::spot::{Area, BLOCK_HEADER_LEN, BLOCK_LEN_MAX, BlockRef, Spot, StagedPart};
use bytes::Bytes;
use klon_partition::device::AlignedBuffer;
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap};
use std::sync::{Mutex, MutexGuard};
use uuid::Uuid;

const BLOCK_ENTRIES_MAX: usize = (BLOCK_LEN_MAX - BLOCK_HEADER_LEN) / ENTRY_LEN;
pub(super) const UNIT_ENTRIES: u64 = (UNIT_BYTES - BLOCK_HEADER_LEN as u64) / ENTRY_LEN as u64;

/// Stages writes. Several threads may [`put`](Self::put) at once.
pub struct Stager<'a> {
    space: Space<'a>,
    run: Uuid,
    earlier: Earlier,
    state: Mutex<State>,
}

struct State {
    room: Room,
    entries: Vec<Entry>,
    last: Option<BlockRef>,
    blocks: u64,
    staged_bytes: u64,
    spots: Vec<Spot>,
}

/// What passes over a source have staged.
pub(super) struct StagedInPasses {
    pub(super) entries: Vec<Entry>,
    /// All the room that was ever taken.
    pub(super) spots: Vec<Spot>,
}

impl<'a> Stager<'a> {
    /// Stages what `run` writes in room of `space`. What is staged there already, in `parts`, is not
    /// staged again.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn new(space: Space<'a>, run: Uuid, rooms: Rooms, parts: &[StagedPart]) -> Result<Self> {
        let volume = rooms.free.union(&rooms.unproven);
        let room = Areas {
            volume: &volume,
            drive: &rooms.drive,
        };
        let mut earlier = Earlier::look(space, parts, room)?;
        let room = Room::new(rooms.without(earlier.occupied()));
        let state = State {
            room,
            entries: Vec::new(),
            last: None,
            blocks: 0,
            staged_bytes: 0,
            spots: Vec::new(),
        };
        Ok(Self {
            space,
            run,
            earlier,
            state: Mutex::new(state),
        })
    }

    /// One that has staged what passes did, with all the `room` that is left.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub(super) fn of_passes(
        space: Space<'a>,
        run: Uuid,
        room: Room,
        staged: StagedInPasses,
    ) -> Result<Self> {
        let StagedInPasses { entries, spots } = staged;
        let none = ExtentMap::new();
        let nothing = Areas {
            volume: &none,
            drive: &none,
        };
        let staged_bytes = entries.iter().filter_map(|entry| entry.from);
        let staged_bytes = staged_bytes.map(|(spot, _)| spot.extent.len_bytes()).sum();
        let state = State {
            room,
            entries,
            last: None,
            blocks: 0,
            staged_bytes,
            spots,
        };
        Ok(Self {
            space,
            run,
            earlier: Earlier::look(space, &[], nothing)?,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether nothing was put.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.last.is_none() && state.entries.is_empty()
    }

    /// How much room there was.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.state().room.total_bytes()
    }

    /// The room that was used.
    #[must_use]
    pub fn spots(&self) -> Vec<Spot> {
        self.state().spots.clone()
    }

    /// Stages `writes`. None may be longer than a chunk.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when there is not enough room, with nothing lost; [`Error::Target`].
    pub fn put(&self, writes: &[Write]) -> Result<()> {
        self.put_entries(writes, false)
    }

    /// Keeps what is in the places that the mark will replace.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn keep(&self, writes: &[Write]) -> Result<()> {
        self.put_entries(writes, true)
    }

    fn put_entries(&self, writes: &[Write], is_old: bool) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for write in writes {
            match self.known(write).filter(|_| !is_old) {
                Some(entries) => known.extend(entries),
                None => new.push(write.clone()),
            }
        }
        let data_bytes = new.iter().map(data_bytes).sum();
        let spots = self
            .state()
            .take(self.space, data_bytes, new.len() + known.len())?;
        let (mut entries, buffers) = lay_out(&new, &spots);
        entries.extend(known);
        for entry in &mut entries {
            entry.is_old = is_old;
        }
        for (spot, buffer) in spots.iter().zip(&buffers) {
            self.space.write(*spot, buffer)?;
        }
        let mut state = self.state();
        state.entries.extend(entries);
        while state.entries.len() >= BLOCK_ENTRIES_MAX {
            self.write_block(&mut state)?;
        }
        Ok(())
    }

    fn known(&self, write: &Write) -> Option<Vec<Entry>> {
        match write {
            Write::Data { offset_bytes, data } => self.earlier.find(*offset_bytes, data),
            Write::Zero(_) => None,
        }
    }

    /// Makes everything durable that was put so far, so that another attempt can take it over.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn checkpoint(&self) -> Result<Option<StagedPart>> {
        let run = self.run;
        let staged = self.seal(None)?;
        Ok(staged.map(|Staged { index, .. }| StagedPart { run, index }))
    }

    /// Writes the rest of the index and makes everything durable. `None` when nothing was put.
    /// `token` is the change token of the filesystem that the update will replace.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn seal(&self, token: Option<[u8; 32]>) -> Result<Option<Staged>> {
        let mut state = self.state();
        while !state.entries.is_empty() {
            self.write_block(&mut state)?;
        }
        self.space.sync()?;
        let staged_bytes = state.staged_bytes;
        Ok(state.last.map(|index| Staged {
            index,
            staged_bytes,
            token,
            is_begun: false,
            membership: Membership::Alone,
        }))
    }

    /// Room for one more block of at most `len_bytes`, in one piece.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn reserve(&self, len_bytes: u64) -> Result<Spot> {
        let mut state = self.state();
        loop {
            let spot = state.spot(self.space, len_bytes)?;
            if spot.extent.len_bytes() >= len_bytes {
                return Ok(spot);
            }
        }
    }

    /// The parts of `area` that hold staged bytes.
    #[must_use]
    pub fn taken(&self, area: Area) -> ExtentMap {
        let own = self.state().spots.clone().into_iter();
        let own = own.filter(|spot| spot.area == area);
        let own: ExtentMap = own.map(|spot| spot.extent).collect();
        own.union(self.earlier.taken(area))
    }

    fn write_block(&self, state: &mut State) -> Result<()> {
        let len = BLOCK_HEADER_LEN + state.entries.len().min(BLOCK_ENTRIES_MAX) * ENTRY_LEN;
        let spot = state.spot(self.space, len as u64)?;
        let spot_len = usize::try_from(spot.extent.len_bytes()).unwrap_or(BLOCK_LEN_MAX);
        let count = (spot_len.min(BLOCK_LEN_MAX) - BLOCK_HEADER_LEN) / ENTRY_LEN;
        let count = count.min(state.entries.len());
        let block = Block {
            run: self.run,
            number: state.blocks,
            before: state.last,
            entries: state.entries.drain(..count).collect(),
        };
        let bytes = block.to_bytes();
        self.space.write(spot, &bytes)?;
        let extent = Extent::new(spot.extent.offset_bytes(), bytes.len() as u64);
        let extent = extent.unwrap_or(spot.extent);
        state.last = Some(BlockRef {
            spot: Spot { extent, ..spot },
            digest: Digest::of(&bytes).0,
        });
        state.blocks += 1;
        Ok(())
    }
}

impl State {
    /// Room for `data_bytes`, as long as enough remains for the index.
    fn take(&mut self, space: Space<'_>, data_bytes: u64, writes: usize) -> Result<Vec<Spot>> {
        let units = data_bytes.div_ceil(UNIT_BYTES);
        let entries = (self.entries.len() + writes) as u64 + units;
        let index_units = entries.div_ceil(UNIT_ENTRIES) + 1;
        let needed_bytes = units.saturating_add(index_units).saturating_mul(UNIT_BYTES);
        if needed_bytes > self.room.left_bytes() {
            return Err(self.no_room());
        }
        let mut spots = Vec::new();
        let mut left_bytes = units.saturating_mul(UNIT_BYTES);
        while left_bytes > 0 {
            let spot = self.spot(space, left_bytes)?;
            left_bytes = left_bytes.saturating_sub(spot.extent.len_bytes());
            spots.push(spot);
        }
        Ok(spots)
    }

    fn spot(&mut self, space: Space<'_>, len_bytes: u64) -> Result<Spot> {
        let spot = self.room.take(space, len_bytes)?;
        let spot = spot.ok_or_else(|| self.no_room())?;
        self.staged_bytes = self.staged_bytes.saturating_add(spot.extent.len_bytes());
        self.spots.push(spot);
        Ok(spot)
    }

    fn no_room(&self) -> Error {
        Error::NoRoom {
            room_bytes: self.room.total_bytes(),
        }
    }
}

pub(super) fn data_bytes(write: &Write) -> u64 {
    match write {
        Write::Data { data, .. } => data.len() as u64,
        Write::Zero(_) => 0,
    }
}

/// Packs the bytes of `writes` into `spots`, one after the other, and says which are where.
pub(super) fn lay_out(writes: &[Write], spots: &[Spot]) -> (Vec<Entry>, Vec<AlignedBuffer>) {
    let mut packer = Packer {
        spots,
        buffers: Vec::new(),
        at: 0,
    };
    let mut entries = Vec::new();
    for write in writes {
        match write {
            Write::Zero(to) => entries.push(Entry {
                to: *to,
                from: None,
                is_old: false,
            }),
            Write::Data { offset_bytes, data } => {
                packer.pack(*offset_bytes, data.clone(), &mut entries);
            }
        }
    }
    (entries, packer.buffers)
}

struct Packer<'a> {
    spots: &'a [Spot],
    buffers: Vec<AlignedBuffer>,
    /// Where in the last buffer the next byte goes.
    at: usize,
}

impl Packer<'_> {
    fn pack(&mut self, mut offset_bytes: u64, mut data: Bytes, entries: &mut Vec<Entry>) {
        while !data.is_empty() {
            let is_full = self.buffers.last().is_none_or(|last| self.at == last.len());
            if is_full {
                let Some(next) = self.spots.get(self.buffers.len()) else {
                    return;
                };
                let len = usize::try_from(next.extent.len_bytes()).unwrap_or(0);
                self.buffers.push(AlignedBuffer::zeroed(len));
                self.at = 0;
            }
            let Some((spot, buffer)) = self
                .spots
                .get(self.buffers.len() - 1)
                .zip(self.buffers.last_mut())
            else {
                return;
            };
            let piece = data.split_to(data.len().min(buffer.len() - self.at));
            buffer[self.at..][..piece.len()].copy_from_slice(&piece);
            let len_bytes = piece.len() as u64;
            let from = Extent::new(spot.extent.offset_bytes() + self.at as u64, len_bytes);
            if let Some((to, extent)) = Extent::new(offset_bytes, len_bytes).zip(from) {
                let spot = Spot { extent, ..*spot };
                let from = Some((spot, Digest::of(&piece).0));
                entries.push(Entry {
                    to,
                    from,
                    is_old: false,
                });
            }
            self.at += piece.len();
            offset_bytes += len_bytes;
        }
    }
}
