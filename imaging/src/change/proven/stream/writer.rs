//! Writing the stream.

use super::{FRAME_ENTRIES, FRAME_HEADER_LEN, HEADER_LEN, Keep, VERSION};
use crate::change::proven::horizon::Horizon;
use std::io::{self, Write};
use std::marker::PhantomData;

/// Writes what is kept, in the order of its numbers.
#[derive(Debug)]
pub struct StreamWriter<W, E> {
    inner: W,
    frame: Vec<u8>,
    frame_entries: u32,
    flags: u32,
    last: Option<u64>,
    kept: Kept,
    of: PhantomData<E>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Entries.
    pub entries: u64,
    /// Length of the stream.
    pub len_bytes: u64,
}

impl<W: Write, E: Keep> StreamWriter<W, E> {
    /// Begins a stream for a run with this horizon: [`Horizon::NEVER`] for what has no stamps.
    ///
    /// # Errors
    /// What `inner` says.
    pub fn begin(mut inner: W, horizon: Horizon) -> io::Result<Self> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend(E::MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend(0_u32.to_le_bytes());
        header.extend(horizon.stamp().seconds.to_le_bytes());
        header.extend(horizon.stamp().nanoseconds.to_le_bytes());
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        inner.write_all(&header)?;
        Ok(Self {
            inner,
            frame: vec![0; FRAME_HEADER_LEN],
            frame_entries: 0,
            flags: 0,
            last: None,
            kept: Kept {
                entries: 0,
                len_bytes: HEADER_LEN as u64,
            },
            of: PhantomData,
        })
    }

    /// Adds the next entry.
    ///
    /// # Errors
    /// What the stream says; [`io::ErrorKind::InvalidInput`] when the number is not above the last.
    pub fn push(&mut self, entry: &E) -> io::Result<()> {
        let number = entry.number();
        let gap = match self.last {
            Some(last) if number <= last => {
                let message = "numbers of entries must ascend";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            Some(last) => u16::try_from(number.abs_diff(last)).ok(),
            None => None,
        };
        let is_full = usize::try_from(self.frame_entries).unwrap_or(usize::MAX) >= FRAME_ENTRIES;
        let fits = gap.is_some() && !is_full && self.flags == entry.flags();
        if self.frame_entries > 0 && !fits {
            self.end_frame()?;
        }
        let gap = if self.frame_entries == 0 {
            self.frame.truncate(8);
            self.frame.extend(number.to_le_bytes());
            self.flags = entry.flags();
            0
        } else {
            gap.unwrap_or(0)
        };
        self.frame.extend(gap.to_le_bytes());
        entry.put(&mut self.frame);
        self.frame_entries = self.frame_entries.saturating_add(1);
        self.last = Some(number);
        self.kept.entries = self.kept.entries.saturating_add(1);
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// What the stream says.
    pub fn finish(mut self) -> io::Result<(W, Kept)> {
        if self.frame_entries > 0 {
            self.end_frame()?;
        }
        self.frame.truncate(8);
        self.frame.extend(self.kept.entries.to_le_bytes());
        self.flags = 0;
        self.end_frame()?;
        Ok((self.inner, self.kept))
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let start = u64::from(self.flags) << 32 | u64::from(self.frame_entries);
        if let Some(bytes) = self.frame.get_mut(..8) {
            bytes.copy_from_slice(&start.to_le_bytes());
        }
        let crc = crc32c::crc32c(&self.frame);
        self.frame.extend(crc.to_le_bytes());
        self.inner.write_all(&self.frame)?;
        let len_bytes = u64::try_from(self.frame.len()).unwrap_or(u64::MAX);
        self.kept.len_bytes = self.kept.len_bytes.saturating_add(len_bytes);
        self.frame.truncate(FRAME_HEADER_LEN);
        self.frame_entries = 0;
        Ok(())
    }
}
