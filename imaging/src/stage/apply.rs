//! Bringing a staged update from room into place.

use super::Area;
use super::bounds::{Sums, on_volume};
use super::index::{Block, Chain, Entry, damaged};
use super::room::{Space, Spot};
use crate::chunk::{Digest, range_in, to_len};
use crate::commit::{HELD_BYTES, Places, mark_places, restore_places};
use crate::error::{Error, Result};
use crate::mark::{Mark, Staged};
use crate::pipeline;
use klon_partition::bytes::is_zero;
use klon_partition::device::AlignedBuffer;
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap};
use serde::Serialize;
use std::num::NonZeroUsize;

/// What a power cut leaves whole.
const SECTOR_BYTES: u64 = 512;

/// What is read from room at once.
const READ_BYTES_MAX: u64 = 1 << 20;

/// A staged update of which every byte was read and found right.
pub struct Checked {
    staged: Staged,
    mark: Mark,
    /// The first chunk, as far as it is staged.
    held: Held,
    /// What was in the places of the first chunk that the mark replaces.
    old: Held,
    /// Whether this run has committed it, so that nobody was at the volume since.
    is_own: bool,
}

/// Parts of the first chunk.
struct Held {
    chunk: Extent,
    content: Vec<u8>,
    parts: Vec<Extent>,
}

impl Held {
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

    fn map(&self) -> ExtentMap {
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
}

/// Completes the update that is staged for the volume, from the drive alone; `None` when none is.
///
/// It may be interrupted at any point and begun again.
///
/// # Errors
/// [`Error::StageCorrupt`] when what is staged is not what was staged, [`Error::Refused`] when the
/// volume was changed since, both before anything is written; [`Error::Target`].
pub fn finish(space: Space<'_>, threads: NonZeroUsize) -> Result<Option<Finished>> {
    let Some(mark) = Mark::read(&space.volume).map_err(Error::Target)? else {
        return Ok(None);
    };
    let Some(staged) = mark.staged else {
        return Ok(None);
    };
    let written_bytes = Checked::check(space, &mark, threads)?.apply(space, threads)?;
    Ok(Some(Finished {
        source: mark.source,
        started_unix_seconds: mark.started_unix_seconds,
        staged_bytes: staged.staged_bytes,
        written_bytes,
    }))
}

impl Checked {
    /// Reads everything that is staged, and compares it with the index.
    ///
    /// # Errors
    /// As [`finish`].
    pub fn check(space: Space<'_>, mark: &Mark, threads: NonZeroUsize) -> Result<Self> {
        let staged = mark
            .staged
            .ok_or_else(|| Error::Internal("no update is staged".to_owned()))?;
        let volume_bytes = space.volume.geometry().size_bytes;
        let chunk = Extent::new(0, volume_bytes.min(HELD_BYTES))
            .ok_or_else(|| Error::Internal("the volume has no bytes".to_owned()))?;
        let (mut held, mut old) = (Held::new(chunk), Held::new(chunk));
        let (mut to, mut sums) = (Vec::new(), Sums::default());
        let mut from: Vec<Extent> = on_volume(staged.index.spot).into_iter().collect();
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
            return Err(damaged("index", spot, expected.into(), found.into()));
        }
        Ok(Self {
            staged,
            mark: mark.clone(),
            held,
            old,
            is_own: false,
        })
    }

    /// Makes the mark durable: from here on the update is to be completed, before that the target
    /// is what it was. Returns the bytes written.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn commit(&mut self, space: Space<'_>) -> Result<u64> {
        self.is_own = true;
        write_mark(space, &self.mark)
    }

    /// Brings everything into place, the first sectors last. Returns the bytes written.
    ///
    /// # Errors
    /// [`Error::Refused`] when the volume was changed since the update was staged, with nothing
    /// written; else as [`finish`].
    pub fn apply(self, space: Space<'_>, threads: NonZeroUsize) -> Result<u64> {
        let places = Places::new(space.volume.geometry(), self.held.chunk);
        let mut written_bytes = 0;
        if !self.staged.is_begun {
            if !self.is_own {
                self.check_unchanged(space)?;
            }
            written_bytes += mark_places(space.volume, &places, &self.mark)?;
            let staged = Staged {
                is_begun: true,
                ..self.staged
            };
            written_bytes += write_mark(space, &self.mark.with_staged(staged))?;
        }
        pipeline::run(
            threads,
            Chain::new(space, self.mark.run, self.staged.index),
            |block| write_block(space, &block, self.staged.is_begun),
            |block_bytes: u64| {
                written_bytes += block_bytes;
                Ok(())
            },
        )?;
        space.volume.sync().map_err(Error::Target)?;
        let Held { content, .. } = &self.held;
        written_bytes += restore_places(space.volume, &places, content, &self.held.map())?;
        Ok(written_bytes)
    }

    /// A power cut between the mark and the rest of the first sectors leaves a volume that some
    /// would mount: then the update no longer fits what is there.
    fn check_unchanged(&self, space: Space<'_>) -> Result<()> {
        let Held { chunk, content, .. } = &self.old;
        let mut now = vec![0; content.len()];
        space
            .volume
            .read_exact_at(&mut now, chunk.offset_bytes())
            .map_err(Error::Target)?;
        let mut is_whole = true;
        for sector in self
            .old
            .map()
            .iter()
            .flat_map(|part| part.split(SECTOR_BYTES))
        {
            let range = range_in(*chunk, sector);
            // The first one has become the mark.
            if sector.offset_bytes() == 0 || now[range.clone()] == content[range.clone()] {
                continue;
            }
            is_whole = false;
            if !is_zero(&now[range]) {
                return Err(changed());
            }
        }
        match filesystem_token(space)? {
            // Some filesystems change nothing there when they are mounted, and some have nothing
            // that would show it.
            Some(now) if is_whole && (now.is_none() || now != self.staged.token) => Err(changed()),
            _ => Ok(()),
        }
    }
}

fn write_mark(space: Space<'_>, mark: &Mark) -> Result<u64> {
    let mark = mark.to_bytes();
    space.volume.write_all_at(&mark, 0).map_err(Error::Target)?;
    space.volume.sync().map_err(Error::Target)?;
    Ok(mark.len() as u64)
}

fn changed() -> Error {
    Error::Refused(
        "the target was changed after an update for it was staged, or can't be shown not to be, so \
         the update may no longer fit it; clone to it again, from its source"
            .to_owned(),
    )
}

/// The change token, if it has one, of the filesystem on the volume that can be mounted in spite
/// of the mark in its first sector; `None` when there is none.
fn filesystem_token(space: Space<'_>) -> Result<Option<Option<[u8; 32]>>> {
    let Some(filesystem) = probe(&space.volume).map_err(Error::Target)? else {
        return Ok(None);
    };
    let token = filesystem
        .change_token(&space.volume)
        .map_err(Error::Target)?;
    Ok(Some(token.map(|token| token.0)))
}

/// What the check of a block found.
struct Read {
    sums: Sums,
    to: Vec<Extent>,
    /// Room on the volume itself.
    from: Vec<Extent>,
    held: Vec<(Entry, Vec<u8>)>,
}

fn read_block(space: Space<'_>, volume_bytes: u64, block: &Block) -> Result<Read> {
    let before = block.before.and_then(|before| on_volume(before.spot));
    let mut read = Read {
        sums: Sums::of(block),
        to: Vec::new(),
        // The index too must be there to the end.
        from: before.into_iter().collect(),
        held: Vec::new(),
    };
    each(space, block, |entry, bytes| {
        let is_held = entry.to.offset_bytes() < HELD_BYTES;
        let end_max_bytes = if is_held { HELD_BYTES } else { u64::MAX };
        if entry.to.end_bytes() > volume_bytes.min(end_max_bytes) {
            let spot = Spot {
                area: Area::Volume,
                extent: entry.to,
            };
            let expected = format!("less than {volume_bytes} bytes, within a chunk");
            return Err(damaged(
                "place of an index entry",
                spot,
                expected,
                entry.to.to_string(),
            ));
        }
        if entry.is_old && !is_held {
            return Ok(());
        }
        if !entry.is_old {
            read.to.push(entry.to);
        }
        if let Some((spot, _)) = entry.from.filter(|(spot, _)| spot.area == Area::Volume) {
            read.from.push(spot.extent);
        }
        if is_held {
            let zeroes = || vec![0; usize::try_from(entry.to.len_bytes()).unwrap_or(0)];
            let bytes = bytes.map_or_else(zeroes, <[u8]>::to_vec);
            read.held.push((*entry, bytes));
        }
        Ok(())
    })?;
    Ok(read)
}

/// Writes what a block tells of, but for the first chunk, and for what is there already if that is
/// likely. Returns the bytes written.
fn write_block(space: Space<'_>, block: &Block, is_likely: bool) -> Result<u64> {
    let mut written_bytes = 0_u64;
    each(space, block, |entry, bytes| {
        if entry.is_old || entry.to.offset_bytes() < HELD_BYTES {
            return Ok(());
        }
        if is_likely && is_there(space, entry.to, bytes)? {
            return Ok(());
        }
        match bytes {
            Some(bytes) => space.volume.write_all_at(bytes, entry.to.offset_bytes()),
            None => space.volume.zero(entry.to),
        }
        .map_err(Error::Target)?;
        written_bytes = written_bytes.saturating_add(entry.to.len_bytes());
        Ok(())
    })?;
    Ok(written_bytes)
}

fn is_there(space: Space<'_>, to: Extent, bytes: Option<&[u8]>) -> Result<bool> {
    let mut now = AlignedBuffer::zeroed(to_len(to.len_bytes()));
    space
        .volume
        .read_exact_at(&mut now, to.offset_bytes())
        .map_err(Error::Target)?;
    Ok(bytes.map_or_else(|| is_zero(&now), |bytes| *bytes == *now))
}

/// Gives each entry of a block and its bytes, whose digest is right, to `use_entry`.
pub(super) fn each(
    space: Space<'_>,
    block: &Block,
    mut use_entry: impl FnMut(&Entry, Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let mut entries = block.entries.as_slice();
    let mut buffer = AlignedBuffer::zeroed(0);
    while let Some(first) = entries.first() {
        let Some((start, _)) = first.from else {
            use_entry(first, None)?;
            entries = &entries[1..];
            continue;
        };
        let (count, extent) = run_of(entries, start);
        let (run, rest) = entries.split_at(count);
        let spot = Spot { extent, ..start };
        let len = usize::try_from(extent.len_bytes()).unwrap_or(0);
        if buffer.len() < len {
            buffer = AlignedBuffer::zeroed(len);
        }
        space.read(spot, &mut buffer[..len])?;
        for entry in run {
            let Some((spot, digest)) = entry.from else {
                continue;
            };
            let bytes = &buffer[range_in(extent, spot.extent)];
            let found = Digest::of(bytes);
            if found.0 != digest {
                let expected = Digest(digest).to_string();
                return Err(damaged(
                    "SHA-256 of staged bytes",
                    spot,
                    expected,
                    found.to_string(),
                ));
            }
            use_entry(entry, Some(bytes))?;
        }
        entries = rest;
    }
    Ok(())
}

/// How many of `entries`, the first of which begins at `start`, follow each other in room, and
/// the room that they take together.
fn run_of(entries: &[Entry], start: Spot) -> (usize, Extent) {
    let mut extent = start.extent;
    let mut count = 1;
    for entry in &entries[1..] {
        let Some((spot, _)) = entry.from else { break };
        let is_next = spot.area == start.area && spot.extent.offset_bytes() == extent.end_bytes();
        let joined = Extent::between(extent.offset_bytes(), spot.extent.end_bytes());
        let Some(joined) = joined.filter(|joined| is_next && joined.len_bytes() <= READ_BYTES_MAX)
        else {
            break;
        };
        extent = joined;
        count += 1;
    }
    (count, extent)
}
