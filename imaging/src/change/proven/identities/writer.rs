//! Writing the stream.

use super::{
    COUNTED_ENTRY_LEN, ENTRY_LEN, Entry, FRAME_ENTRIES, FRAME_HEADER_LEN, HAS_COUNTS, HEADER_LEN,
    MAGIC, VERSION,
};
use crate::change::proven::horizon::Horizon;
use std::io::{self, Write};

/// Writes what is kept of each file, in the order of their inodes.
#[derive(Debug)]
pub struct IdentityWriter<W> {
    inner: W,
    frame: Vec<u8>,
    frame_entries: u32,
    has_counts: bool,
    last: Option<u64>,
    kept: Kept,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Entries.
    pub entries: u64,
    /// Length of the stream.
    pub len_bytes: u64,
}

impl<W: Write> IdentityWriter<W> {
    /// Begins a stream of a run with that horizon.
    ///
    /// # Errors
    /// What `inner` says.
    pub fn begin(mut inner: W, horizon: Horizon) -> io::Result<Self> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend(MAGIC);
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
            has_counts: false,
            last: None,
            kept: Kept {
                entries: 0,
                len_bytes: HEADER_LEN as u64,
            },
        })
    }

    /// Adds the next file.
    ///
    /// # Errors
    /// What the stream says; [`io::ErrorKind::InvalidInput`] when the number is not above the last.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let gap = match self.last {
            Some(last) if entry.number <= last => {
                let message = "numbers of inodes must ascend";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            Some(last) => u16::try_from(entry.number.abs_diff(last)).ok(),
            None => None,
        };
        let is_full = usize::try_from(self.frame_entries).unwrap_or(usize::MAX) >= FRAME_ENTRIES;
        let fits = gap.is_some() && !is_full && self.has_counts == entry.counted.is_some();
        if self.frame_entries > 0 && !fits {
            self.end_frame()?;
        }
        let gap = if self.frame_entries == 0 {
            self.frame.truncate(8);
            self.frame.extend(entry.number.to_le_bytes());
            self.has_counts = entry.counted.is_some();
            0
        } else {
            gap.unwrap_or(0)
        };
        self.frame.extend(gap.to_le_bytes());
        self.frame.extend(entry.identity);
        self.frame.extend(entry.mapping);
        if let Some(counted) = entry.counted {
            self.frame.extend(counted.count.to_le_bytes());
            self.frame.extend(counted.accessed.to_le_bytes());
        }
        self.frame_entries = self.frame_entries.saturating_add(1);
        self.last = Some(entry.number);
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
        self.has_counts = false;
        self.end_frame()?;
        Ok((self.inner, self.kept))
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let flags = if self.has_counts { HAS_COUNTS } else { 0 };
        let start = u64::from(flags) << 32 | u64::from(self.frame_entries);
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

/// Length of an entry in a frame.
pub(super) const fn entry_len(has_counts: bool) -> usize {
    if has_counts {
        COUNTED_ENTRY_LEN
    } else {
        ENTRY_LEN
    }
}
