//! Raw: the bytes as they were, to a sparse file or in order to a stream.

use super::{NewFile, Piece, Sink};
use crate::error::{Error, Result};
use klon_partition::Extent;
use klon_partition::bytes::is_zero;
use klon_partition::error::{Error as PartitionError, Operation};
use std::io::{self, Write};

/// Unit in which zeroes are left out.
const HOLE_BYTES: u64 = 4096;

/// A sparse file: zeroes stay a hole.
pub struct RawFile<'a>(pub &'a NewFile);

impl Sink for RawFile<'_> {
    fn put(&mut self, piece: &Piece) -> Result<()> {
        for run in runs(piece) {
            let start = run.offset_bytes() - piece.chunk.offset_bytes();
            let range = to_len(start)..to_len(start + run.len_bytes());
            self.0.write_at(&piece.content[range], run.offset_bytes())?;
        }
        Ok(())
    }
}

/// The blocks of a chunk that are not zero, as few extents as possible.
fn runs(piece: &Piece) -> Vec<Extent> {
    let mut runs: Vec<Extent> = Vec::new();
    for block in piece.chunk.split(HOLE_BYTES) {
        let start = to_len(block.offset_bytes() - piece.chunk.offset_bytes());
        if is_zero(&piece.content[start..start + to_len(block.len_bytes())]) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end_bytes() == block.offset_bytes() => {
                let joined = Extent::between(last.offset_bytes(), block.end_bytes());
                *last = joined.unwrap_or(*last);
            }
            _ => runs.push(block),
        }
    }
    runs
}

/// A stream: zeroes are written, too.
pub struct RawStream<W> {
    output: W,
    position: u64,
}

impl<W: Write> RawStream<W> {
    /// Begins at the first byte.
    pub const fn new(output: W) -> Self {
        Self {
            output,
            position: 0,
        }
    }

    /// Writes the zeroes up to `size_bytes`, and everything out of buffers.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn fill_to(mut self, size_bytes: u64) -> Result<()> {
        self.zeroes_to(size_bytes)?;
        let flushed = self.output.flush();
        self.noted(0, flushed)
    }

    fn zeroes_to(&mut self, end_bytes: u64) -> Result<()> {
        static ZEROES: [u8; 1 << 16] = [0; 1 << 16];
        while self.position < end_bytes {
            let len = to_len(end_bytes - self.position).min(ZEROES.len());
            self.write(&ZEROES[..len])?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.output.write_all(bytes);
        self.noted(bytes.len() as u64, written)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn noted(&self, len_bytes: u64, result: io::Result<()>) -> Result<()> {
        result.map_err(|source| {
            let at = self.position;
            Error::Target(PartitionError::io(Operation::Write, at, len_bytes, source))
        })
    }
}

impl<W: Write> Sink for RawStream<W> {
    fn put(&mut self, piece: &Piece) -> Result<()> {
        self.zeroes_to(piece.chunk.offset_bytes())?;
        self.write(&piece.content)
    }
}

fn to_len(len_bytes: u64) -> usize {
    usize::try_from(len_bytes).unwrap_or(usize::MAX)
}
