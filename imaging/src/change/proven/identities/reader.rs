//! Reading the stream, in step with a walk.

use super::writer::entry_len;
use super::{
    Counted, Entry, FRAME_ENTRIES, FRAME_HEADER_LEN, HAS_COUNTS, HEADER_LEN, IdentitiesError,
    MAGIC, VERSION,
};
use crate::change::proven::horizon::Horizon;
use klon_partition::bytes::{le16, le32, le64};
use klon_partition::filesystem::files::Stamp;
use std::collections::VecDeque;
use std::io::Read;

/// What was kept of each file, in the order of their inodes.
#[derive(Debug)]
pub struct Identities<R> {
    inner: R,
    horizon: Horizon,
    /// Where the next frame begins.
    offset_bytes: u64,
    entries: u64,
    last: Option<u64>,
    pending: VecDeque<Entry>,
    is_over: bool,
}

impl<R: Read> Identities<R> {
    /// Begins to read a stream.
    ///
    /// # Errors
    /// [`IdentitiesError`] when the header is not that of a stream that klon knows.
    pub fn begin(mut inner: R) -> Result<Self, IdentitiesError> {
        let mut header = [0; HEADER_LEN];
        inner.read_exact(&mut header)?;
        check("magic", 0, le64(MAGIC, 0), le64(&header, 0))?;
        check_crc(0, &header)?;
        check("version", 0, VERSION.into(), le32(&header, 8).into())?;
        check("features", 0, 0, le32(&header, 12).into())?;
        let horizon = Horizon::at(Stamp {
            seconds: le64(&header, 16).cast_signed(),
            nanoseconds: le32(&header, 24),
        });
        Ok(Self {
            inner,
            horizon,
            offset_bytes: HEADER_LEN as u64,
            entries: 0,
            last: None,
            pending: VecDeque::new(),
            is_over: false,
        })
    }

    /// The horizon of the run that kept them.
    pub const fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// What was kept of the file with that inode, and gives up what was of those before. Asked for
    /// in ascending order.
    ///
    /// # Errors
    /// [`IdentitiesError`] when the stream is not as it was written.
    pub fn find(&mut self, number: u64) -> Result<Option<Entry>, IdentitiesError> {
        while let Some(entry) = self.peek()? {
            if entry.number > number {
                return Ok(None);
            }
            self.pending.pop_front();
            if entry.number == number {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The next entry.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn take(&mut self) -> Result<Option<Entry>, IdentitiesError> {
        let entry = self.peek()?;
        self.pending.pop_front();
        Ok(entry)
    }

    /// Reads what is left, so that all of it is known to be as it was written.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn finish(mut self) -> Result<(), IdentitiesError> {
        while !self.is_over {
            self.pending.clear();
            self.frame()?;
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<Entry>, IdentitiesError> {
        if self.pending.is_empty() && !self.is_over {
            self.frame()?;
        }
        Ok(self.pending.front().copied())
    }

    fn frame(&mut self) -> Result<(), IdentitiesError> {
        let start_bytes = self.offset_bytes;
        let mut header = [0; FRAME_HEADER_LEN];
        self.inner.read_exact(&mut header)?;
        let (count, flags) = (le32(&header, 0), le32(&header, 4));
        let entries = usize::try_from(count).unwrap_or(usize::MAX);
        let is_valid = entries <= FRAME_ENTRIES && flags & !HAS_COUNTS == 0;
        if !is_valid {
            let expected = format!("at most {FRAME_ENTRIES} entries, flags 0 or 1");
            return Err(corrupt(
                "frame",
                start_bytes,
                expected,
                format!("{count}, {flags:#x}"),
            ));
        }
        let entry_len = entry_len(flags & HAS_COUNTS != 0);
        let payload_len = entries.saturating_mul(entry_len);
        let frame_len = payload_len.saturating_add(FRAME_HEADER_LEN + 4);
        let mut frame = vec![0; frame_len];
        let (head, rest) = frame.split_at_mut(FRAME_HEADER_LEN);
        head.copy_from_slice(&header);
        self.inner.read_exact(rest)?;
        check_crc(start_bytes, &frame)?;
        let len_bytes = u64::try_from(frame_len).unwrap_or(u64::MAX);
        self.offset_bytes = start_bytes.saturating_add(len_bytes);
        let number = le64(&header, 8);
        if count == 0 {
            check("count of entries", start_bytes, self.entries, number)?;
            self.is_over = true;
            return Ok(());
        }
        let payload = frame.get(FRAME_HEADER_LEN..).unwrap_or_default();
        let raw = payload.chunks_exact(entry_len).take(entries);
        self.entries = self.entries.saturating_add(count.into());
        self.parse(raw, number, start_bytes)
    }

    fn parse<'a>(
        &mut self,
        raw: impl Iterator<Item = &'a [u8]>,
        first: u64,
        start_bytes: u64,
    ) -> Result<(), IdentitiesError> {
        for (index, raw) in raw.enumerate() {
            let gap = u64::from(le16(raw, 0));
            let number = match index {
                0 => (gap == 0).then_some(first),
                _ => self.last.and_then(|last| last.checked_add(gap)),
            };
            let is_above = |number: &u64| self.last.is_none_or(|last| *number > last);
            let Some(number) = number.filter(is_above) else {
                let found = format!("a gap of {gap} in entry {index}");
                let expected = "inodes that ascend".to_owned();
                return Err(corrupt("number of an inode", start_bytes, expected, found));
            };
            self.last = Some(number);
            self.pending.push_back(entry(number, raw));
        }
        Ok(())
    }
}

fn entry(number: u64, raw: &[u8]) -> Entry {
    let digest = |at: usize| {
        let bytes = raw.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().unwrap_or_default()
    };
    Entry {
        number,
        identity: digest(2),
        mapping: digest(18),
        counted: (raw.len() > 34).then(|| Counted {
            count: le32(raw, 34),
            accessed: le16(raw, 38),
        }),
    }
}

/// Checks the last four bytes of a header or a frame.
fn check_crc(offset_bytes: u64, bytes: &[u8]) -> Result<(), IdentitiesError> {
    let at = bytes.len().saturating_sub(4);
    let covered = bytes.get(..at).unwrap_or_default();
    let found = le32(bytes, at).into();
    check(
        "CRC-32C",
        offset_bytes,
        crc32c::crc32c(covered).into(),
        found,
    )
}

fn check(
    what: &'static str,
    offset_bytes: u64,
    expected: u64,
    found: u64,
) -> Result<(), IdentitiesError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
    Err(corrupt(what, offset_bytes, expected, found))
}

fn corrupt(
    what: &'static str,
    offset_bytes: u64,
    expected: String,
    found: String,
) -> IdentitiesError {
    IdentitiesError::Corrupt {
        what,
        offset_bytes,
        expected,
        found,
    }
}
