//! Reading the stream, in step with a walk.

use super::{FRAME_ENTRIES, FRAME_HEADER_LEN, GAP_LEN, HEADER_LEN, Keep, StreamError, VERSION};
use crate::change::proven::horizon::Horizon;
use klon_partition::bytes::{le16, le32, le64};
use klon_partition::filesystem::files::Stamp;
use std::collections::VecDeque;
use std::io::Read;

/// What was kept, in the order of its numbers.
#[derive(Debug)]
pub struct Stream<R, E> {
    inner: R,
    horizon: Horizon,
    /// Where the next frame begins.
    offset_bytes: u64,
    entries: u64,
    last: Option<u64>,
    pending: VecDeque<E>,
    is_over: bool,
}

impl<R: Read, E: Keep> Stream<R, E> {
    /// Begins to read a stream.
    ///
    /// # Errors
    /// [`StreamError`] when the header is not that of a stream that klon knows.
    pub fn begin(mut inner: R) -> Result<Self, StreamError> {
        let mut header = [0; HEADER_LEN];
        inner.read_exact(&mut header)?;
        check("magic", 0, le64(&E::MAGIC, 0), le64(&header, 0))?;
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

    /// The horizon of the run that kept it.
    pub const fn horizon(&self) -> Horizon {
        self.horizon
    }

    /// The same of a run since which the clock was set back by `seconds`.
    #[must_use]
    pub fn set_back(mut self, seconds: u64) -> Self {
        self.horizon = self.horizon.set_back(seconds);
        self
    }

    /// Finds the entry with this number, and gives up the entries before it. Callers ask in ascending order.
    ///
    /// # Errors
    /// [`StreamError`] when the stream is not as it was written.
    pub fn find(&mut self, number: u64) -> Result<Option<E>, StreamError> {
        while let Some(entry) = self.peek()? {
            if entry.number() > number {
                return Ok(None);
            }
            self.pending.pop_front();
            if entry.number() == number {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The next entry.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn take(&mut self) -> Result<Option<E>, StreamError> {
        let entry = self.peek()?;
        self.pending.pop_front();
        Ok(entry)
    }

    /// Reads what is left, so that all of it is known to be as it was written.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn read_to_end(mut self) -> Result<(), StreamError> {
        while !self.is_over {
            self.pending.clear();
            self.frame()?;
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<E>, StreamError> {
        if self.pending.is_empty() && !self.is_over {
            self.frame()?;
        }
        Ok(self.pending.front().copied())
    }

    fn frame(&mut self) -> Result<(), StreamError> {
        let start_bytes = self.offset_bytes;
        let mut header = [0; FRAME_HEADER_LEN];
        self.inner.read_exact(&mut header)?;
        let (count, flags) = (le32(&header, 0), le32(&header, 4));
        let entries = usize::try_from(count).unwrap_or(usize::MAX);
        let kept_len = E::len(flags).filter(|_| entries <= FRAME_ENTRIES);
        let Some(kept_len) = kept_len else {
            let expected = format!("at most {FRAME_ENTRIES} entries, and known flags");
            return Err(corrupt(
                "frame",
                start_bytes,
                expected,
                format!("{count}, {flags:#x}"),
            ));
        };
        let entry_len = kept_len.saturating_add(GAP_LEN);
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
        let first = First { number, flags };
        self.parse(raw, first, start_bytes)
    }

    fn parse<'a>(
        &mut self,
        raw: impl Iterator<Item = &'a [u8]>,
        first: First,
        start_bytes: u64,
    ) -> Result<(), StreamError> {
        let First {
            number: first,
            flags,
        } = first;
        for (index, raw) in raw.enumerate() {
            let gap = u64::from(le16(raw, 0));
            let number = match index {
                0 => (gap == 0).then_some(first),
                _ => self.last.and_then(|last| last.checked_add(gap)),
            };
            let is_above = |number: &u64| self.last.is_none_or(|last| *number > last);
            let Some(number) = number.filter(is_above) else {
                let found = format!("a gap of {gap} in entry {index}");
                let expected = "numbers that ascend".to_owned();
                return Err(corrupt("number of an entry", start_bytes, expected, found));
            };
            self.last = Some(number);
            let kept = raw.get(GAP_LEN..).unwrap_or_default();
            self.pending.push_back(E::parse(number, flags, kept));
        }
        Ok(())
    }
}

/// What the header of a frame says of its entries.
struct First {
    /// The number of the first.
    number: u64,
    /// The flags of all.
    flags: u32,
}

/// Checks the last four bytes of a header or a frame.
fn check_crc(offset_bytes: u64, bytes: &[u8]) -> Result<(), StreamError> {
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
) -> Result<(), StreamError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
    Err(corrupt(what, offset_bytes, expected, found))
}

fn corrupt(what: &'static str, offset_bytes: u64, expected: String, found: String) -> StreamError {
    StreamError::Corrupt {
        what,
        offset_bytes,
        expected,
        found,
    }
}
