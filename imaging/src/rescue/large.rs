//! The first passes: whole chunks, read one after the other while those before are digested and
//! written.

use super::ledger::Ledger;
use super::passes::{How, Pass};
use super::reader::Reader;
use crate::buffer::Pool;
use crate::chunk::{self, Digest, chunk_writes, read_chunk, to_len};
use crate::error::{Error, Result};
use crate::pipeline;
use crate::plan::Plan;
use crate::progress::Observer;
use crate::target_writer::TargetWriter;
use bytes::Bytes;
use klon_partition::{Extent, ExtentMap};
use std::num::NonZeroUsize;

/// After this many failures in a row chunks are skipped; each further failure doubles how many.
const FAILURES_MAX: u32 = 2;
/// At most this part of the remaining chunks is skipped at once.
const SKIP_PART: usize = 64;

/// One read of a chunk.
struct Attempt {
    chunk: Extent,
    extents: Vec<Extent>,
    /// `None` when it failed.
    content: Option<Bytes>,
}

/// What a pass works with.
pub(super) struct Tools<'a, 'b> {
    pub(super) plan: &'a Plan,
    pub(super) reader: &'a mut Reader<'b>,
    pub(super) ledger: &'a mut Ledger<'b>,
    pub(super) writer: &'a TargetWriter<'b>,
    pub(super) pool: &'a Pool,
    pub(super) threads: NonZeroUsize,
    pub(super) observer: &'a dyn Observer,
}

/// Reads what is `left` as `pass` says.
pub(super) fn run(pass: Pass, left: &ExtentMap, tools: Tools<'_, '_>) -> Result<()> {
    let Tools {
        plan,
        reader,
        ledger,
        writer,
        pool,
        threads,
        observer,
    } = tools;
    let mut chunks: Vec<Extent> = chunk::chunks(left, plan.source_bytes).collect();
    if pass.is_reversed {
        chunks.reverse();
    }
    let first = ledger.first;
    let reads = Reads {
        pass,
        left,
        skip_max: (chunks.len() / SKIP_PART).max(1),
        chunks: chunks.into_iter(),
        reader,
        pool,
        observer,
        failures_in_row: 0,
    };
    pipeline::run(
        threads,
        reads,
        |attempt| {
            let digest = match &attempt.content {
                Some(content) if attempt.chunk != first => write(writer, plan, &attempt, content)?,
                _ => None,
            };
            Ok((attempt, digest))
        },
        |(attempt, digest)| {
            let Attempt {
                chunk,
                extents,
                content,
            } = &attempt;
            match content {
                Some(content) => ledger.rescued(*chunk, content, extents),
                None => ledger.failed(pass, extents),
            }
            if let Some(digest) = digest {
                ledger.digested(*chunk, digest);
            }
            ledger.save_if_due(writer)
        },
    )
}

/// Brings what was read of a chunk to the target. Returns the digest where that is all of it.
fn write(
    writer: &TargetWriter<'_>,
    plan: &Plan,
    attempt: &Attempt,
    content: &Bytes,
) -> Result<Option<Digest>> {
    for write in chunk_writes(attempt.chunk, content, &attempt.extents) {
        writer.put(&write)?;
    }
    let is_all = plan
        .copy
        .within(attempt.chunk)
        .eq(attempt.extents.iter().copied());
    let content = &content[..to_len(attempt.chunk.len_bytes())];
    Ok(is_all.then(|| Digest::of(content)))
}

/// The reads of a pass, each when the next is asked for.
struct Reads<'r, 'a> {
    pass: Pass,
    left: &'r ExtentMap,
    chunks: std::vec::IntoIter<Extent>,
    skip_max: usize,
    reader: &'r mut Reader<'a>,
    pool: &'r Pool,
    observer: &'r dyn Observer,
    failures_in_row: u32,
}

impl Reads<'_, '_> {
    fn attempt(&mut self, chunk: Extent) -> Result<Attempt> {
        if self.observer.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let extents: Vec<Extent> = self.left.within(chunk).collect();
        let mut buffer = self.pool.take();
        let is_read = self.reader.read(self.pass.from, &extents, |source| {
            read_chunk(source, chunk, &extents, &mut buffer)
        })?;
        Ok(Attempt {
            chunk,
            extents,
            content: is_read.then(|| buffer.freeze()),
        })
    }

    /// Skips ahead after a failure.
    fn skip(&mut self) {
        let excess = self.failures_in_row.checked_sub(FAILURES_MAX);
        if let (How::Skip, Some(excess)) = (self.pass.how, excess) {
            let count = 1_usize.checked_shl(excess).unwrap_or(self.skip_max);
            let _ = self.chunks.nth(count.min(self.skip_max).saturating_sub(1));
        }
    }
}

impl Iterator for Reads<'_, '_> {
    type Item = Result<Attempt>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.chunks.next()?;
        let attempt = self.attempt(chunk);
        if let Ok(attempt) = &attempt {
            match attempt.content {
                Some(_) => self.failures_in_row = 0,
                None => {
                    self.failures_in_row = self.failures_in_row.saturating_add(1);
                    self.skip();
                }
            }
        }
        Some(attempt)
    }
}
