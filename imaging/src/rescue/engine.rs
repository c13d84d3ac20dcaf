//! Reading a source with bad sectors, pass after pass, and bringing what can be read to the target.

use super::file::{self, Origin};
use super::passes::{Pass, passes};
use super::start::Begun;
use super::status::{Status, StatusMap};
use super::{RescueOptions, first_chunk};
use crate::buffer::Pool;
use crate::chunk::{self, CHUNK_BYTES, CHUNK_LEN, range_in};
use crate::clone::{Job, chunk_writes, read_chunk};
use crate::commit::{Held, TargetWriter, Write};
use crate::error::{Error, Result};
use crate::mark::Mark;
use crate::plan::Plan;
use crate::progress::{Event, Observer};
use bytes::Bytes;
use klon_partition::{Error as PartitionError, Extent, ExtentMap};
use std::time::{Duration, Instant};

/// How often the map is saved: each time costs a sync of the target.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// A rescue under way.
pub(super) struct Engine<'a> {
    job: &'a Job<'a>,
    options: &'a RescueOptions<'a>,
    plan: &'a Plan,
    observer: &'a dyn Observer,
    writer: TargetWriter<'a>,
    /// What is read: the filesystem's own structures, then the rest.
    order: [ExtentMap; 2],
    pub(super) statuses: StatusMap,
    pub(super) origin: Origin,
    /// The first chunk, which comes to the target last.
    first: Extent,
    pub(super) held: Vec<u8>,
    pool: Pool,
    saved: Instant,
    pub(super) read_bytes: u64,
    pub(super) failed_reads: u64,
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        options: &'a RescueOptions<'a>,
        plan: &'a Plan,
        wanted: &'a ExtentMap,
        begun: Begun,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let first = first_chunk(plan.source_bytes)?;
        let mut mark = Mark::new(&job.source_identity.to_string());
        mark.run = begun.origin.run;
        let mut writer = TargetWriter::new(job.target, wanted, mark);
        // Until it is known, it is held back all the same.
        writer.hold(Held {
            chunk: first,
            content: Bytes::new(),
            changed: ExtentMap::new(),
        });
        let metadata = options.metadata.intersection(&plan.copy);
        let rest = plan.copy.difference(&metadata);
        Ok(Self {
            job,
            options,
            plan,
            observer,
            writer,
            order: [metadata, rest],
            statuses: begun.statuses,
            origin: begun.origin,
            first,
            held: begun.held,
            pool: Pool::new(CHUNK_LEN),
            saved: Instant::now(),
            read_bytes: 0,
            failed_reads: 0,
        })
    }

    /// Goes through all passes. However it ends, the map says what is durable on the target.
    pub(super) fn run(&mut self) -> Result<()> {
        file::save_domain(
            self.options.map,
            &self.plan.wanted(),
            self.plan.source_bytes,
        )?;
        self.save()?;
        let result = self.passes();
        let saved = self.save();
        result.and(saved)
    }

    fn passes(&mut self) -> Result<()> {
        self.zero_holes()?;
        let sector_bytes = self.job.source.geometry().logical_sector_bytes;
        for pass in passes(sector_bytes.into(), self.options.retries) {
            for part in [0, 1] {
                let left = self.statuses.with(pass.from);
                let left = left.intersection(&self.order[part]);
                match pass.is_large() {
                    true => self.large(pass, &left)?,
                    false => self.small(pass, &left)?,
                }
            }
        }
        self.fill_bad()
    }

    /// What is known to be zero needs no reading.
    fn zero_holes(&mut self) -> Result<()> {
        let plan = self.plan;
        for extent in plan.zero.iter().flat_map(|e| e.split(CHUNK_BYTES << 10)) {
            self.go_on()?;
            self.zero(extent)?;
            self.statuses.set(extent, Status::Finished);
        }
        Ok(())
    }

    /// Whole chunks, near extents with one request.
    fn large(&mut self, pass: Pass, left: &ExtentMap) -> Result<()> {
        let chunks: Vec<Extent> = chunk::chunks(left, self.plan.source_bytes).collect();
        for chunk in chunks {
            let extents: Vec<Extent> = left.within(chunk).collect();
            self.attempt(pass, chunk, &extents)?;
        }
        Ok(())
    }

    fn small(&mut self, pass: Pass, left: &ExtentMap) -> Result<()> {
        let extents = left.extents();
        let count = extents.len();
        for index in 0..count {
            let index = if pass.is_reversed {
                count - 1 - index
            } else {
                index
            };
            for piece in pass.pieces(extents[index]) {
                let start = piece.offset_bytes() / CHUNK_BYTES * CHUNK_BYTES;
                let end = start
                    .saturating_add(CHUNK_BYTES)
                    .min(self.plan.source_bytes);
                if let Some(chunk) = Extent::between(start, end) {
                    self.attempt(pass, chunk, &[piece])?;
                }
            }
        }
        Ok(())
    }

    fn attempt(&mut self, pass: Pass, chunk: Extent, extents: &[Extent]) -> Result<()> {
        self.go_on()?;
        let mut buffer = self.pool.take();
        let source = self.job.source;
        let read = match (pass.is_large(), extents) {
            (false, &[piece]) => source
                .read_exact_at(&mut buffer[range_in(chunk, piece)], piece.offset_bytes())
                .map(|()| piece.len_bytes()),
            _ => read_chunk(source, chunk, extents, &mut buffer),
        };
        match read {
            Ok(read_bytes) => {
                self.read_bytes = self.read_bytes.saturating_add(read_bytes);
                self.rescued(chunk, &buffer.freeze(), extents)
            }
            Err(PartitionError::Io { .. }) => {
                self.failed(pass, extents);
                Ok(())
            }
            // The device is gone, or another one: nothing is known of its sectors.
            Err(error) => Err(Error::Source(error)),
        }
    }

    fn rescued(&mut self, chunk: Extent, content: &Bytes, extents: &[Extent]) -> Result<()> {
        if chunk == self.first {
            for &extent in extents {
                let range = range_in(chunk, extent);
                self.held[range.clone()].copy_from_slice(&content[range]);
            }
        } else {
            for write in chunk_writes(chunk, content, extents) {
                self.writer.put(&write)?;
            }
        }
        self.settle(extents, Status::Finished);
        Ok(())
    }

    fn failed(&mut self, pass: Pass, extents: &[Extent]) {
        self.failed_reads = self.failed_reads.saturating_add(1);
        let failed = if self.statuses.is_full() {
            Status::Bad
        } else {
            pass.failed
        };
        if failed == Status::Bad && pass.from != Status::Bad {
            self.settle(extents, failed);
        } else {
            for &extent in extents {
                self.statuses.set(extent, failed);
            }
        }
    }

    /// Gives extents a status that may be their last.
    fn settle(&mut self, extents: &[Extent], status: Status) {
        for &extent in extents {
            self.statuses.set(extent, status);
        }
        let bytes = extents.iter().map(|extent| extent.len_bytes()).sum();
        self.observer.event(&Event::Advanced { bytes });
    }

    /// What could not be read is zero on the target.
    fn fill_bad(&mut self) -> Result<()> {
        let bad = self.bad();
        for extent in bad.iter() {
            self.zero(extent)?;
        }
        Ok(())
    }

    /// What of the source's used bytes is not on the target.
    pub(super) fn bad(&self) -> ExtentMap {
        let finished = self.statuses.with(Status::Finished);
        self.plan.copy.difference(&finished)
    }

    fn zero(&mut self, extent: Extent) -> Result<()> {
        if let Some(part) = extent.intersection(self.first) {
            self.held[range_in(self.first, part)].fill(0);
        }
        let rest = Extent::between(
            extent.offset_bytes().max(self.first.end_bytes()),
            extent.end_bytes(),
        );
        rest.map_or(Ok(()), |rest| self.writer.put(&Write::Zero(rest)))
    }

    /// Whether to go on; saves the map now and then.
    fn go_on(&mut self) -> Result<()> {
        if self.observer.is_cancelled() {
            return Err(Error::Interrupted);
        }
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save()?;
        }
        Ok(())
    }

    /// Saves the map once what it says is durable. The first chunk is not on the target yet.
    fn save(&mut self) -> Result<()> {
        self.writer.checkpoint()?;
        let mut durable = self.statuses.clone();
        durable.replace(self.first, Status::Finished, Status::NonTried);
        file::save(self.options.map, &self.origin, &durable)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Puts the first chunk into its place. Returns the bytes written in all.
    pub(super) fn commit(mut self, before_last: impl FnOnce() -> Result<()>) -> Result<u64> {
        self.writer.hold(Held {
            chunk: self.first,
            content: Bytes::from(self.held),
            changed: self.plan.wanted().within(self.first).collect(),
        });
        self.writer.commit(before_last)
    }
}
