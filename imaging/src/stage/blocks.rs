//! The blocks of an index, read and checked, and written into place.

use super::bounds::{Sums, on_volume};
use super::index::{Block, Entry, damaged};
use super::room::Space;
use crate::chunk::{Digest, HELD_BYTES, range_in, to_len};
use crate::error::{Error, Result};
use crate::spot::{Area, Spot};
use klon_partition::Extent;
use klon_partition::bytes::is_zero;
use klon_partition::device::AlignedBuffer;

/// What is read from room at once.
const READ_BYTES_MAX: u64 = 1 << 20;
/// How many entries one thread brings into place before it takes others.
const PART_ENTRIES: usize = 32;

/// What the check of a block found.
pub(super) struct Read {
    pub(super) sums: Sums,
    pub(super) to: Vec<Extent>,
    /// Room on the volume itself.
    pub(super) from: Vec<Extent>,
    pub(super) held: Vec<(Entry, Vec<u8>)>,
}

/// Reads all that a block tells of, of a volume of `volume_bytes`.
pub(super) fn read_block(space: Space<'_>, volume_bytes: u64, block: &Block) -> Result<Read> {
    let before = block.before.and_then(|before| on_volume(before.spot));
    let mut read = Read {
        sums: Sums::of(block),
        to: Vec::new(),
        // The index too must be there to the end.
        from: before.into_iter().collect(),
        held: Vec::new(),
    };
    each(space, &block.entries, |entry, bytes| {
        let is_held = entry.to.offset_bytes() < HELD_BYTES;
        let end_max_bytes = if is_held { HELD_BYTES } else { u64::MAX };
        if entry.to.end_bytes() > volume_bytes.min(end_max_bytes) {
            let spot = Spot {
                area: Area::Volume,
                extent: entry.to,
            };
            let expected = format!("less than {volume_bytes} bytes, within a chunk");
            return Err(damaged(
                "index entry",
                "place on the volume",
                spot,
                expected,
                entry.to,
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

/// The entries of a block, in parts that several threads can bring into place.
pub(super) fn in_parts(block: Result<Block>) -> impl Iterator<Item = Result<Vec<Entry>>> {
    let (entries, error) = match block {
        Ok(block) => (block.entries, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let parts: Vec<_> = entries
        .chunks(PART_ENTRIES)
        .map(<[Entry]>::to_vec)
        .collect();
    parts.into_iter().map(Ok).chain(error.map(Err))
}

/// Writes what `entries` tell of, but for the first chunk, and for what is there already if that is
/// likely. Returns the bytes written.
pub(super) fn write_entries(space: Space<'_>, entries: &[Entry], is_likely: bool) -> Result<u64> {
    let mut written_bytes = 0_u64;
    each(space, entries, |entry, bytes| {
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

/// Gives each of `entries` and its bytes, whose digest is right, to `use_entry`.
pub(super) fn each(
    space: Space<'_>,
    mut entries: &[Entry],
    mut use_entry: impl FnMut(&Entry, Option<&[u8]>) -> Result<()>,
) -> Result<()> {
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
                let expected = Digest(digest);
                return Err(damaged("staged bytes", "SHA-256", spot, expected, found));
            }
            use_entry(entry, Some(bytes))?;
        }
        entries = rest;
    }
    Ok(())
}

/// How many of `entries` follow each other in room, the first of them at `start`, and the room that they
/// take together.
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
