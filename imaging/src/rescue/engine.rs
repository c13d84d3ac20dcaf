//! Reading a source with bad sectors, pass after pass, and bringing what can be read to the target.

use super::ledger::Ledger;
use super::passes::{How, Pass, passes};
use super::reader::Reader;
use super::start::Begun;
use super::status::Status;
use super::{RescueOptions, UnderWay, file, fill, first, large, own};
use crate::buffer::Pool;
use crate::chunk::{CHUNK_BYTES, CHUNK_LEN, Write, chunk_writes, first_chunk, range_in};
use crate::clone::Job;
use crate::error::{Error, Result};
use crate::mark::Mark;
use crate::plan::Plan;
use crate::progress::Observer;
use crate::target_writer::{HeldBack, TargetWriter};
use bytes::Bytes;
use klon_partition::{Extent, ExtentMap};

/// A rescue under way.
pub(super) struct Engine<'a> {
    job: &'a Job<'a>,
    options: &'a RescueOptions<'a>,
    plan: &'a Plan,
    observer: &'a dyn Observer,
    writer: TargetWriter<'a>,
    /// What is read: the filesystem's own structures, then the rest.
    order: [ExtentMap; 2],
    pub(super) reader: Reader<'a>,
    pub(super) ledger: Ledger<'a>,
    pool: Pool,
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        under_way: UnderWay<'a>,
        wanted: &'a ExtentMap,
        begun: Begun,
    ) -> Result<Self> {
        let UnderWay {
            job,
            options,
            plan,
            observer,
        } = under_way;
        let first = first_chunk(plan.source_bytes).ok_or_else(Error::no_bytes)?;
        let mut mark = Mark::new(&job.source_identity.to_string());
        mark.run = begun.origin.run;
        let writer = TargetWriter::begin(job.target, wanted, mark, first);
        let metadata = options.metadata.intersection(&plan.copy);
        let rest = plan.copy.difference(&metadata);
        let good = begun.statuses.with(Status::Finished);
        let good = good.intersection(&plan.copy);
        Ok(Self {
            job,
            options,
            plan,
            observer,
            writer,
            order: [metadata, rest],
            reader: Reader::new(job.source, good.iter()),
            ledger: Ledger::new(options.map, observer, first, begun),
            pool: Pool::new(CHUNK_LEN),
        })
    }

    /// Goes through all passes. However it ends, the map says what is durable on the target.
    pub(super) fn run(&mut self) -> Result<()> {
        file::save_domain(
            self.options.map,
            &self.plan.wanted(),
            self.plan.source_bytes,
        )?;
        self.ledger.save(&self.writer)?;
        let result = self.passes();
        if matches!(result, Err(Error::Source(_) | Error::SourceGone { .. })) {
            for (extent, status) in self.reader.suspects() {
                self.ledger.statuses.set(extent, status);
            }
        }
        let saved = self.ledger.save(&self.writer);
        result.and(saved)
    }

    fn passes(&mut self) -> Result<()> {
        self.zero_holes()?;
        for pass in passes(self.job.source.geometry(), self.options.retries) {
            for part in [0, 1] {
                let left = self.ledger.statuses.with(pass.from);
                let left = left.intersection(&self.order[part]);
                // A filesystem needs its own structures most, so they come first.
                let how = match (pass.how, part) {
                    (How::Skip, 0) => How::Chunks,
                    (how, _) => how,
                };
                self.pass(Pass { how, ..pass }, &left)?;
            }
        }
        self.reader.check()?;
        self.fill_bad()
    }

    fn pass(&mut self, pass: Pass, left: &ExtentMap) -> Result<()> {
        match pass.how {
            How::Skip | How::Chunks => large::run(
                pass,
                left,
                large::Tools {
                    plan: self.plan,
                    reader: &mut self.reader,
                    ledger: &mut self.ledger,
                    writer: &self.writer,
                    pool: &self.pool,
                    threads: self.options.threads,
                    observer: self.observer,
                },
            ),
            How::Worth(saved) if !self.reader.is_worth(saved) => Ok(()),
            How::Worth(_) | How::Pieces => self.each(pass, left, Self::pieces),
            How::Edges => self.each(pass, left, Self::edges),
        }
    }

    fn each(
        &mut self,
        pass: Pass,
        left: &ExtentMap,
        read: fn(&mut Self, Pass, Extent) -> Result<()>,
    ) -> Result<()> {
        let mut extents = left.extents().to_vec();
        if pass.is_reversed {
            extents.reverse();
        }
        extents
            .into_iter()
            .try_for_each(|extent| read(self, pass, extent))
    }

    fn pieces(&mut self, pass: Pass, extent: Extent) -> Result<()> {
        for piece in pass.pieces(extent) {
            self.attempt(pass, piece)?;
        }
        Ok(())
    }

    fn edges(&mut self, pass: Pass, extent: Extent) -> Result<()> {
        let mut left = Some(extent);
        for is_reversed in [pass.is_reversed, !pass.is_reversed] {
            let Some(extent) = left else { break };
            let pass = Pass {
                is_reversed,
                ..pass
            };
            for piece in pass.pieces(extent) {
                let is_read = self.attempt(pass, piece)?;
                left = match is_reversed {
                    true => Extent::between(extent.offset_bytes(), piece.offset_bytes()),
                    false => Extent::between(piece.end_bytes(), extent.end_bytes()),
                };
                if !is_read {
                    break;
                }
            }
        }
        if let Some(left) = left {
            self.ledger.statuses.set(left, Status::NonScraped);
        }
        Ok(())
    }

    /// Reads a piece and brings it to the target; false when it can't be read.
    fn attempt(&mut self, pass: Pass, piece: Extent) -> Result<bool> {
        self.go_on()?;
        let start = piece.offset_bytes() / CHUNK_BYTES * CHUNK_BYTES;
        let end = start.saturating_add(CHUNK_BYTES);
        let Some(chunk) = Extent::between(start, end.min(self.plan.source_bytes)) else {
            return Ok(false);
        };
        let mut buffer = self.pool.take();
        let range = range_in(chunk, piece);
        let is_read = self.reader.read(pass.from, &[piece], |source| {
            source
                .read_exact_at(&mut buffer[range], piece.offset_bytes())
                .map(|()| piece.len_bytes())
        })?;
        if !is_read {
            self.ledger.failed(pass, &[piece]);
            return Ok(false);
        }
        let content = buffer.freeze();
        if chunk != self.ledger.first {
            for write in chunk_writes(chunk, &content, &[piece]) {
                self.writer.put(&write)?;
            }
        }
        self.ledger.rescued(chunk, &content, &[piece]);
        Ok(true)
    }

    /// What is known to be zero needs no reading.
    fn zero_holes(&mut self) -> Result<()> {
        let plan = self.plan;
        for extent in plan.zero.iter().flat_map(|e| e.split(CHUNK_BYTES << 10)) {
            self.go_on()?;
            self.zero(extent)?;
            self.ledger.statuses.set(extent, Status::Finished);
        }
        Ok(())
    }

    /// Fills what could not be read with the text of the options.
    fn fill_bad(&mut self) -> Result<()> {
        let bad = self.bad();
        let filled = match self.options.fill {
            Some(_) => bad.difference(self.options.metadata),
            None => ExtentMap::new(),
        };
        for extent in bad.difference(&filled).iter() {
            self.zero(extent)?;
        }
        let pattern = self.options.fill.unwrap_or_default();
        for piece in filled.iter().flat_map(|extent| extent.split(CHUNK_BYTES)) {
            self.go_on()?;
            self.fill(piece, pattern)?;
        }
        Ok(())
    }

    /// The used bytes of the source that are not on the target.
    pub(super) fn bad(&self) -> ExtentMap {
        let finished = self.ledger.statuses.with(Status::Finished);
        self.plan.copy.difference(&finished)
    }

    fn fill(&mut self, piece: Extent, pattern: &str) -> Result<()> {
        let content = fill::content(piece, pattern);
        if let Some(part) = piece.intersection(self.ledger.first) {
            let range = range_in(self.ledger.first, part);
            let len = range.len();
            self.ledger.held[range].copy_from_slice(&content[..len]);
        }
        let first_end_bytes = self.ledger.first.end_bytes();
        let start_bytes = piece.offset_bytes().max(first_end_bytes);
        let Some(rest) = Extent::between(start_bytes, piece.end_bytes()) else {
            return Ok(());
        };
        let data = content.slice(range_in(piece, rest));
        self.writer.put(&Write::Data {
            offset_bytes: rest.offset_bytes(),
            data,
        })
    }

    fn zero(&mut self, extent: Extent) -> Result<()> {
        let first = self.ledger.first;
        if let Some(part) = extent.intersection(first) {
            self.ledger.held[range_in(first, part)].fill(0);
        }
        let rest = Extent::between(
            extent.offset_bytes().max(first.end_bytes()),
            extent.end_bytes(),
        );
        rest.map_or(Ok(()), |rest| self.writer.put(&Write::Zero(rest)))
    }

    /// Whether to go on; saves the map now and then.
    fn go_on(&mut self) -> Result<()> {
        if self.observer.is_cancelled() {
            return Err(Error::Interrupted);
        }
        self.ledger.save_if_due(&self.writer)
    }

    /// Puts the first chunk into its place. Returns the bytes written in all.
    pub(super) fn commit(self, before_last: impl FnOnce() -> Result<()>) -> Result<u64> {
        let Self {
            writer,
            ledger,
            plan,
            options,
            ..
        } = self;
        let held = HeldBack {
            chunk: ledger.first,
            content: Bytes::from(ledger.held),
            changed: plan.wanted().within(ledger.first).collect(),
        };
        let written_bytes = writer.commit(&held, before_last)?;
        // The first chunk is on the target now.
        own::remove_file(&first::path(options.map))?;
        Ok(written_bytes)
    }
}
