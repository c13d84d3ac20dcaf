//! Writing to a target so that nothing half-written looks whole.
//!
//! Before the first byte is written, the places where formats keep their first signature are
//! overwritten with an unfinished [`Mark`] and zeroes, and that is made durable. The volume's
//! first mebibyte is held back until everything else is durable; of it, the other places of
//! signatures come after the rest, and its first sectors, the head, last of all.
//!
//! A power cut may leave any part of a request behind. So nothing that a signature vouches for is
//! touched before the signature is durably gone, nor after it is back: the head goes first and
//! comes last, a sector at a time from its end (sector 2: ext, HFS+, F2FS, the first of a GPT's
//! partitions; sector 1: GPT; sector 0: boot sectors, MBR, XFS).

mod places;

use crate::error::{Error, Result};
use crate::mark::Mark;
use bytes::Bytes;
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap, WriteAt};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::chunk::{HELD_BYTES, Write};
pub(crate) use places::{Places, mark_places, restore_places};

/// The first chunk of the volume as it shall be, and which blocks of it differ from the target.
#[derive(Clone, Debug)]
pub struct HeldBack {
    /// Where the chunk lies: from 0.
    pub chunk: Extent,
    /// All of it.
    pub content: Bytes,
    /// The parts of it that differ from the target.
    pub changed: ExtentMap,
}

/// Writes to a target in an order that keeps it recognizably unfinished until it is whole.
///
/// Several threads may [`put`](Self::put) at once: between the mark and the sync before the first
/// chunk, the order of writes is of no importance.
pub struct TargetWriter<'a> {
    target: &'a dyn WriteAt,
    allowed: &'a ExtentMap,
    mark: Mark,
    /// Where the chunk lies that is held back.
    first: Extent,
    is_marked: Mutex<bool>,
    zero_run: Mutex<Option<Extent>>,
    written_bytes: AtomicU64,
}

impl<'a> TargetWriter<'a> {
    /// A writer that may touch `allowed` of `target` and nothing else. The `first` chunk is held back
    /// until [`commit`](Self::commit).
    #[must_use]
    pub const fn begin(
        target: &'a dyn WriteAt,
        allowed: &'a ExtentMap,
        mark: Mark,
        first: Extent,
    ) -> Self {
        Self {
            target,
            allowed,
            mark,
            first,
            is_marked: Mutex::new(false),
            zero_run: Mutex::new(None),
            written_bytes: AtomicU64::new(0),
        }
    }

    /// A writer for a target that bears the mark of an earlier run: the target has changed since.
    #[must_use]
    pub fn resume(
        target: &'a dyn WriteAt,
        allowed: &'a ExtentMap,
        mark: Mark,
        first: Extent,
    ) -> Self {
        Self {
            is_marked: Mutex::new(true),
            ..Self::begin(target, allowed, mark, first)
        }
    }

    /// Whether the target bears the mark.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        *lock(&self.is_marked)
    }

    /// Bytes that were written or made zero so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Writes now, after the target was marked. Zeroes wait for neighbors until the next that are
    /// none.
    ///
    /// # Errors
    /// [`Error::Target`]; [`Error::Internal`] for bytes outside of what is allowed.
    pub fn put(&self, write: &Write) -> Result<()> {
        let Some(extent) = write.extent() else {
            return Ok(());
        };
        if !self.allowed.contains(extent) || extent.offset_bytes() < HELD_BYTES {
            return Err(Error::not_to_be_written(extent));
        }
        self.ensure_marked()?;
        match write {
            Write::Zero(extent) => self.extend_zero_run(*extent),
            Write::Data { offset_bytes, data } => self.write(data, *offset_bytes),
        }
    }

    /// Writes the data among `writes` now. Hands back what is to be made zero: that is put in order, so that
    /// neighbors become one call.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_data(&self, writes: Vec<Write>) -> Result<Vec<Write>> {
        let mut zeroes = Vec::new();
        for write in writes {
            match write {
                Write::Data { .. } => self.put(&write)?,
                Write::Zero(_) => zeroes.push(write),
            }
        }
        Ok(zeroes)
    }

    fn write(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        self.target
            .write_all_at(data, offset_bytes)
            .map_err(Error::Target)?;
        self.wrote(data.len() as u64);
        Ok(())
    }

    fn wrote(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Chunks come one by one; one call for many of them is far cheaper.
    fn extend_zero_run(&self, extent: Extent) -> Result<()> {
        let mut zero_run = lock(&self.zero_run);
        let joined = zero_run
            .filter(|run| run.end_bytes() == extent.offset_bytes())
            .and_then(|run| Extent::between(run.offset_bytes(), extent.end_bytes()));
        if joined.is_none() {
            self.zero(zero_run.take())?;
        }
        *zero_run = Some(joined.unwrap_or(extent));
        Ok(())
    }

    fn flush_zero_run(&self) -> Result<()> {
        self.zero(lock(&self.zero_run).take())
    }

    fn zero(&self, run: Option<Extent>) -> Result<()> {
        let Some(run) = run else {
            return Ok(());
        };
        self.target.zero(run).map_err(Error::Target)?;
        self.wrote(run.len_bytes());
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.target.sync().map_err(Error::Target)
    }

    fn ensure_marked(&self) -> Result<()> {
        // Whoever comes while another thread marks the target waits until that is durable.
        let mut is_marked = lock(&self.is_marked);
        if *is_marked {
            return Ok(());
        }
        let places = Places::new(self.target.geometry(), self.first);
        self.wrote(mark_places(self.target, &places, &self.mark)?);
        *is_marked = true;
        Ok(())
    }

    /// Makes everything durable but the first chunk, which was `held` back. The target still looks
    /// unfinished then.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn settle(self, held: &HeldBack) -> Result<Settled<'a, '_>> {
        self.flush_zero_run()?;
        let is_touched = *lock(&self.is_marked) || !held.changed.is_empty();
        if is_touched {
            self.ensure_marked()?;
            self.sync()?;
        }
        Ok(Settled {
            writer: self,
            held,
            is_touched,
        })
    }

    /// [Settles](Self::settle), then [commits](Settled::commit).
    ///
    /// `before_last` is asked between the two, while the target still looks unfinished: its error
    /// leaves it so.
    ///
    /// # Errors
    /// [`Error::Target`], or what `before_last` returns.
    pub fn commit(self, held: &HeldBack, before_last: impl FnOnce() -> Result<()>) -> Result<u64> {
        let settled = self.settle(held)?;
        before_last()?;
        settled.commit()
    }

    /// Makes everything durable that was put so far.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn checkpoint(&self) -> Result<()> {
        let is_touched = *lock(&self.is_marked);
        if is_touched {
            self.flush_zero_run()?;
            self.sync()?;
        }
        Ok(())
    }
}

/// A target on which everything but the first chunk is durable.
#[must_use = "the target looks unfinished until the commit"]
pub struct Settled<'a, 'b> {
    writer: TargetWriter<'a>,
    held: &'b HeldBack,
    is_touched: bool,
}

impl Settled<'_, '_> {
    /// Puts the first chunk in its place. Returns the bytes written or made zero in all; 0 when the
    /// target was right already and was not touched.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn commit(self) -> Result<u64> {
        let Self {
            writer,
            held,
            is_touched,
        } = self;
        if !is_touched {
            return Ok(0);
        }
        let places = Places::new(writer.target.geometry(), writer.first);
        writer.wrote(restore_places(
            writer.target,
            &places,
            &held.content,
            &held.changed,
        )?);
        Ok(writer.written_bytes.into_inner())
    }
}

#[cfg(test)]
mod tests;
