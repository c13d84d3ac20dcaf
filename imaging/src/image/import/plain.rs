//! A raw disk or volume in a packed stream. klon goes through the stream once before it makes anything of
//! it: then it knows the size, and a damaged stream has cost nothing. Then it reads the stream again.

use super::bmap::{Bmap, Checker};
use super::split::Parts;
use super::zeroes::Zeroes;
use super::{RawForward, Stream};
use crate::packed::Unpacked;
use crate::pieces::Units;
use klon_partition::bytes::is_zero;
use klon_partition::device::Overlay;
use klon_partition::error::Corrupt;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result, WriteAt};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// How many bytes are read at once, and kept as one piece.
const PIECE_BYTES: u64 = 1 << 20;
/// Zeroes are looked for in blocks of this size.
const BLOCK_BYTES: usize = 4096;
/// How many pieces are kept, for threads that read a little behind the others.
const KEPT: usize = 64;
/// Room for the first and the last piece, and for what an overlay needs beside them.
const ENDS_BYTES_MAX: usize = 8 << 20;

/// A raw disk or volume in a packed stream, as a device. A read before the place of the last one unpacks
/// the stream again from its start, so it is meant to be read in order; its start and end are kept.
pub struct PlainStream {
    parts: Parts,
    size_bytes: u64,
    /// What is not zero.
    data: ExtentMap,
    /// What must be restored: all of it, or what a block map names and whatever else is not zero.
    wanted: ExtentMap,
    /// What is not zero although a block map leaves it out.
    unmapped: ExtentMap,
    /// The first and the last piece, where tables are.
    head: Vec<u8>,
    tail: Vec<u8>,
    reading: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// `None` before the first read, and after an error.
    stream: Option<Stream<Unpacked>>,
    /// The last pieces that were read, in order.
    kept: VecDeque<(u64, Vec<u8>)>,
}

/// The first `len` bytes of what is packed in `parts`; fewer when the stream is shorter.
///
/// # Errors
/// As [`unpack`](crate::packed::unpack); [`klon_partition::Error::Corrupt`] for a stream that can't be
/// unpacked so far.
pub fn start(parts: &Parts, len: usize) -> Result<Vec<u8>> {
    let mut stream = Stream::new(parts.clone().open()?.0, parts.name());
    let mut start = vec![0; len];
    let filled = stream.read_some(&mut start)?;
    start.truncate(filled);
    Ok(start)
}

impl PlainStream {
    /// Unpacks all of `parts` once. This shows the size and where it is zero, and checks it by the checksums
    /// of the packer and of a block map.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when a checksum, or the size by the map, is not right;
    /// [`klon_partition::Error::Unsupported`] for another packer; [`klon_partition::Error::Io`].
    pub fn scan(parts: &Parts, bmap: Option<&Bmap>) -> Result<Self> {
        let mut stream = Stream::new(parts.clone().open()?.0, parts.name());
        let mut checker = bmap.map(Checker::new);
        let mut data = ExtentMapBuilder::new();
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        let mut piece = vec![0; usize::try_from(PIECE_BYTES).unwrap_or(0)];
        loop {
            let position = stream.position();
            let filled = stream.read_some(&mut piece)?;
            let bytes = &piece[..filled];
            if let Some(checker) = &mut checker {
                checker.take(bytes, position)?;
            }
            for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
                let at = position + (index * BLOCK_BYTES) as u64;
                if !is_zero(block)
                    && let Some(extent) = Extent::new(at, block.len() as u64)
                {
                    data.push(extent);
                }
            }
            if head.is_empty() {
                head = bytes.to_vec();
            }
            if filled > 0 {
                // Of the piece before as much as makes a whole one.
                tail.extend_from_slice(bytes);
                tail.drain(..tail.len().saturating_sub(piece.len()));
            }
            if filled < piece.len() {
                break;
            }
        }
        let size_bytes = stream.position();
        if let Some(map) = bmap.filter(|map| map.image_bytes != size_bytes) {
            let (field, expected) = ("ImageSize", format!("{size_bytes}, as is in the file"));
            return Err(Corrupt::new("block map", field, 0, expected, map.image_bytes).into());
        }
        let data = data.finish();
        let mapped = bmap.map_or_else(|| ExtentMap::whole(size_bytes), Bmap::mapped);
        Ok(Self {
            parts: parts.clone(),
            size_bytes,
            wanted: mapped.union(&data),
            unmapped: data.difference(&mapped),
            data,
            head,
            tail,
            reading: Mutex::default(),
        })
    }

    /// What must be restored, in bytes of the disk: all of it, or what the block map names and whatever
    /// else is not zero. A map can be of another file, or of an earlier state of this one.
    #[must_use]
    pub const fn wanted(&self) -> &ExtentMap {
        &self.wanted
    }

    /// What of that the block map leaves out, in blocks of 4096 bytes of the disk.
    #[must_use]
    pub const fn unmapped(&self) -> &ExtentMap {
        &self.unmapped
    }

    /// A device of the same size that has the first and the last bytes of the stream and zeroes between
    /// them. Partition tables are found there without unpacking anything.
    ///
    /// # Errors
    /// [`klon_partition::Error::Io`] when these are more than an [`Overlay`] keeps.
    pub fn ends(&self) -> Result<Box<dyn ReadAt>> {
        let ends = Overlay::new(Zeroes(self.geometry()), ENDS_BYTES_MAX);
        ends.write_all_at(&self.tail, self.size_bytes - self.tail.len() as u64)?;
        ends.write_all_at(&self.head, 0)?;
        Ok(Box::new(ends))
    }

    /// The same disk or volume as a stream that is read once, in order.
    ///
    /// # Errors
    /// As [`unpack`](crate::packed::unpack).
    pub fn forward(&self) -> Result<RawForward> {
        let (stream, _) = self.parts.clone().open()?;
        Ok(RawForward::new(stream, self.parts.name(), self.size_bytes))
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        lock(&self.reading)
    }

    /// Fills `out` with a part of one piece.
    fn read_part(&self, part: Extent, out: &mut [u8]) -> Result<()> {
        let tail_at = self.size_bytes - self.tail.len() as u64;
        for (at, kept) in [(0, &self.head), (tail_at, &self.tail)] {
            if copy(at, kept, part, out) {
                return Ok(());
            }
        }
        if !self.data.overlaps(part) {
            out.fill(0);
            return Ok(());
        }
        let mut reading = self.reading();
        let found = reading.piece(self, part, out);
        if found.is_err() {
            *reading = Reading::default();
        }
        found
    }
}

/// Copies a part out of bytes that lie at a position, if it is in them.
fn copy(at: u64, bytes: &[u8], part: Extent, out: &mut [u8]) -> bool {
    let start = part.offset_bytes().checked_sub(at);
    let start = start.and_then(|start| usize::try_from(start).ok());
    let found = start.and_then(|start| bytes.get(start..)?.get(..out.len()));
    if let Some(found) = found {
        out.copy_from_slice(found);
    }
    found.is_some()
}

impl Reading {
    /// Goes on to the piece that has `part`, from the start if it lies before what is kept.
    fn piece(&mut self, of: &PlainStream, part: Extent, out: &mut [u8]) -> Result<()> {
        if self
            .kept
            .iter()
            .any(|(at, bytes)| copy(*at, bytes, part, out))
        {
            return Ok(());
        }
        let is_behind = |stream: &Stream<_>| stream.position() > part.offset_bytes();
        if self.stream.as_ref().is_none_or(is_behind) {
            let (stream, _) = of.parts.clone().open()?;
            self.stream = Some(Stream::new(stream, of.parts.name()));
            self.kept.clear();
        }
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        while stream.position() < part.end_bytes() {
            let at = stream.position();
            let mut bytes = match self.kept.len() {
                KEPT => self
                    .kept
                    .pop_front()
                    .map(|(_, bytes)| bytes)
                    .unwrap_or_default(),
                _ => Vec::new(),
            };
            let len = PIECE_BYTES.min(of.size_bytes.saturating_sub(at));
            bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            stream.read(&mut bytes)?;
            let is_it = copy(at, &bytes, part, out);
            self.kept.push_back((at, bytes));
            if is_it {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl ReadAt for PlainStream {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let units = Units {
            geometry: self.geometry(),
            unit_bytes: PIECE_BYTES,
        };
        units.fill(buffer, offset_bytes, |part, out| self.read_part(part, out))
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(self.data.within(within).collect())
    }
}

#[cfg(test)]
mod tests;
