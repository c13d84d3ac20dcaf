//! A disk that comes in order: its tables, and each partition from its own image.

use super::super::RawForward;
use super::super::partclone::Partclone;
use super::super::split::Parts;
use crate::image::Forward;
use klon_partition::{Extent, ReadAt, Result};
use std::collections::VecDeque;
use std::sync::Arc;

/// What restores a partition.
pub(super) enum Opener {
    /// These bytes at its start.
    Bytes(Vec<u8>),
    /// An image of partclone's.
    Partclone(Parts),
    /// So many plain bytes.
    Raw(Parts, u64),
}

impl Opener {
    fn open(self) -> Result<Box<dyn Forward>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(Bytes(bytes)),
            Self::Partclone(parts) => {
                let name = parts.name();
                Box::new(Partclone::open(parts.open()?.0, name)?)
            }
            Self::Raw(parts, size_bytes) => {
                let name = parts.name();
                Box::new(RawForward::new(parts.open()?.0, name, size_bytes))
            }
        })
    }
}

/// A partition and what restores it.
pub(super) struct PackedPartition {
    pub(super) extent: Extent,
    pub(super) opener: Opener,
}

/// A disk of Clonezilla as a stream: tables and gaps from memory, each partition from its files.
pub struct DiskForward {
    tables: Arc<dyn ReadAt>,
    parts: VecDeque<PackedPartition>,
    current: Option<(Extent, Box<dyn Forward>)>,
}

impl DiskForward {
    pub(super) fn new(tables: Arc<dyn ReadAt>, parts: Vec<PackedPartition>) -> Self {
        Self {
            tables,
            parts: parts.into(),
            current: None,
        }
    }

    /// Ends partitions that lie before `offset_bytes`, and gives where the next one is.
    fn go_to(&mut self, offset_bytes: u64) -> Result<Option<Extent>> {
        loop {
            if let Some((extent, part)) = &mut self.current {
                if offset_bytes < extent.end_bytes() {
                    return Ok(Some(*extent));
                }
                part.check_rest()?;
                self.current = None;
            }
            let Some(next) = self.parts.front().map(|part| part.extent) else {
                return Ok(None);
            };
            if offset_bytes < next.offset_bytes() {
                return Ok(Some(next));
            }
            if let Some(PackedPartition { extent, opener }) = self.parts.pop_front() {
                self.current = Some((extent, opener.open()?));
            }
        }
    }
}

impl Forward for DiskForward {
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let (mut rest, mut position) = (buffer, offset_bytes);
        while !rest.is_empty() {
            let ahead = self.go_to(position)?;
            let stop = match ahead {
                Some(extent) if extent.offset_bytes() > position => extent.offset_bytes(),
                Some(extent) => extent.end_bytes(),
                None => u64::MAX,
            };
            let len = usize::try_from(stop - position).unwrap_or(usize::MAX);
            let (out, behind) = rest.split_at_mut(len.min(rest.len()));
            match (&mut self.current, ahead) {
                (Some((extent, part)), _) => part.read_at(out, position - extent.offset_bytes())?,
                (None, _) => self.tables.read_exact_at(out, position)?,
            }
            position += out.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn check_rest(&mut self) -> Result<()> {
        // Parts with nothing in use are checked, too.
        self.go_to(u64::MAX).map(|_| ())
    }
}

/// Bytes in memory; zeroes behind them.
struct Bytes(Vec<u8>);

impl Forward for Bytes {
    fn read_at(&mut self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        let here = self.0.get(start..).unwrap_or_default();
        let len = here.len().min(buffer.len());
        buffer[..len].copy_from_slice(&here[..len]);
        buffer[len..].fill(0);
        Ok(())
    }

    fn check_rest(&mut self) -> Result<()> {
        Ok(())
    }
}
