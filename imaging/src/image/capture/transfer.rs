//! A run under way: chunks from the source to the image, in order.

use super::super::append::Append;
use super::super::dedup::Dedup;
use super::super::reference::Reference;
use super::super::snapshot::Snapshot;
use super::super::writer::{ImageWriter, TreeBuilder};
use super::known::Known;
use super::outlook::Unread;
use super::sums::Checks;
use super::work::{self, Compressors, Content, Outcome, Seen, Task, Worker};
use super::{CaptureJob, CaptureOptions, Forward, forward};
use crate::buffer::Pool;
use crate::change::proven::Signatures;
use crate::error::Result;
use crate::live::Ice;
use crate::pipeline::{self, Batches, Flow};
use crate::plan::Plan;
use crate::progress::{Event, Observer, unless_cancelled};
use crate::rung::Rung;
use klon_partition::Extent;
use klon_partition::extent::ExtentMapBuilder;
use std::sync::RwLock;

/// A run under way.
pub(super) struct Transfer<'a, 'r> {
    pub(super) job: &'a CaptureJob<'a>,
    pub(super) plan: &'a Plan,
    pub(super) rung: Rung,
    /// What need not be read.
    pub(super) unread: Option<&'a Unread>,
    /// Whether signatures are looked for.
    pub(super) is_searched: bool,
    /// What the pass before put into the image; `None` for what the snapshot before has.
    pub(super) before: Option<&'a [(u64, Reference)]>,
    /// Compares what is read with the checksums of filesystems.
    pub(super) checks: &'a Checks<'a>,
    /// The source, if it is at rest.
    pub(super) ice: Option<&'a Ice<'r>>,
    pub(super) options: &'a CaptureOptions,
    pub(super) observer: &'a dyn Observer,
}

/// The chunks of a snapshot, in order.
pub(super) enum Chunks {
    /// As its tree.
    Tree(TreeBuilder),
    /// As a list, while they may still change.
    Listed(Vec<(u64, Reference)>),
}

impl Chunks {
    fn push<A: Append>(
        &mut self,
        writer: &mut ImageWriter<A>,
        number: u64,
        reference: Reference,
    ) -> Result<()> {
        match self {
            Self::Tree(tree) => tree.push(writer, number, reference),
            Self::Listed(list) => {
                list.push((number, reference));
                Ok(())
            }
        }
    }

    /// The tree of all.
    pub(super) fn finish<A: Append>(
        self,
        writer: &mut ImageWriter<A>,
    ) -> Result<Vec<(u64, Reference)>> {
        match self {
            Self::Tree(tree) => tree.finish(writer),
            Self::Listed(list) => {
                let mut tree = TreeBuilder::default();
                for (number, reference) in list {
                    tree.push(writer, number, reference)?;
                }
                tree.finish(writer)
            }
        }
    }
}

/// What is noted of the chunks.
pub(super) struct Notes {
    pub(super) chunks: Chunks,
    /// The chunks that were read.
    pub(super) read: ExtentMapBuilder,
    pub(super) read_source_bytes: u64,
    pub(super) changed_bytes: u64,
    pub(super) changed_used_bytes: u64,
    pub(super) added_bytes: u64,
    /// Bytes in use that were proven to be what they were, and not read.
    pub(super) skipped_bytes: u64,
    /// Where signatures were found of what is written past the filesystem.
    pub(super) signatures: Signatures,
    /// Whether all content was seen, by this run or by those whose evidence was believed.
    pub(super) is_all_seen: bool,
}

impl Transfer<'_, '_> {
    /// Brings all chunks to the image, and `chunks` gets their references.
    pub(super) fn run<A: Append>(
        &self,
        stream: &mut Option<&mut dyn Forward>,
        chunks: Chunks,
        writer: &mut ImageWriter<A>,
    ) -> Result<Notes> {
        let Self {
            job,
            plan,
            unread,
            ice,
            options,
            observer,
            ..
        } = self;
        let previous = job.previous.filter(|_| self.rung != Rung::Full);
        let mut known = self
            .before
            .map_or_else(|| Known::new(previous), Known::of_pass);
        let chunk_size = writer.header().chunk_size;
        let extents = chunk_size.chunks(&plan.copy, plan.source_bytes);
        let tasks = extents.map(|chunk| {
            unless_cancelled(*observer, ())?;
            if let Some(ice) = ice {
                ice.mind_the_time()?;
            }
            let content = match stream {
                Some(stream) => Some(forward::read(&mut **stream, &job.usage.extents, chunk)?),
                None => None,
            };
            let copy: Vec<Extent> = plan.copy.within(chunk).collect();
            let is_proven = unread.is_some_and(|unread| unread.covers(chunk));
            let in_part = |unread: &Unread| unread.in_part(chunk, &copy);
            Ok(Task {
                part: unread.filter(|_| !is_proven).and_then(in_part),
                chunk,
                copy,
                known: known.at(chunk_size.index(chunk.offset_bytes())),
                is_proven,
                content,
            })
        });
        // Workers look up what is there while chunks are added.
        let dedup = writer.dedup();
        let chunk_len = chunk_size.buffer_len();
        let worker = self.worker(previous, chunk_len, &dedup);
        let own_bytes = work::context_bytes(options.level, chunk_len);
        let mut notes = Notes::new(chunks);
        pipeline::run_in_batches(
            Flow::of_items(options.threads, chunk_len, own_bytes),
            Batches::of(tasks, |task: &Task| task.proven().is_some()),
            |task| worker.process(&task),
            |outcome| {
                if let Some(ice) = ice {
                    ice.read(outcome.read_source_bytes);
                }
                let bytes = outcome.copy_bytes;
                let is_told = self.is_told(outcome.chunk);
                notes.add(outcome, *unread, writer)?;
                if is_told {
                    observer.event(&Event::Advanced { bytes });
                }
                Ok(())
            },
        )?;
        Ok(notes)
    }

    /// Whether a chunk is one that is told of while the run goes on: all, and in a later pass those that are read.
    fn is_told(&self, chunk: Extent) -> bool {
        self.before.is_none() || self.unread.is_none_or(|unread| !unread.covers(chunk))
    }

    /// What works on each chunk.
    fn worker<'w>(
        &'w self,
        previous: Option<&'w Snapshot>,
        chunk_len: usize,
        dedup: &'w RwLock<Dedup>,
    ) -> Worker<'w> {
        Worker {
            source: self.job.source,
            rung: self.rung,
            is_checked: self.job.is_checked,
            is_searched: self.is_searched,
            previous,
            dedup,
            checks: self.checks,
            pool: Pool::new(chunk_len),
            compressors: Compressors::new(self.options.level),
        }
    }
}

impl Notes {
    fn new(chunks: Chunks) -> Self {
        Self {
            chunks,
            read: ExtentMapBuilder::new(),
            read_source_bytes: 0,
            changed_bytes: 0,
            changed_used_bytes: 0,
            added_bytes: 0,
            skipped_bytes: 0,
            signatures: Signatures::new(),
            is_all_seen: true,
        }
    }

    /// Notes a chunk, and adds it to the image where it is new.
    fn add<A: Append>(
        &mut self,
        outcome: Outcome,
        unread: Option<&Unread>,
        writer: &mut ImageWriter<A>,
    ) -> Result<()> {
        let before = writer.position();
        let reference = match outcome.content {
            Content::Known(reference) => reference,
            Content::New(encoded) => writer.put_chunk(&encoded)?,
        };
        self.added_bytes += writer.position() - before;
        let chunk = outcome.chunk;
        let number = writer.header().chunk_size.index(chunk.offset_bytes());
        self.chunks.push(writer, number, reference)?;
        self.read_source_bytes += outcome.read_source_bytes;
        if outcome.is_changed {
            self.changed_bytes += chunk.len_bytes();
            self.changed_used_bytes += outcome.copy_bytes;
        }
        match outcome.seen {
            Seen::Read(signatures) => {
                self.read.push(chunk);
                self.signatures.add(signatures);
            }
            Seen::InPart {
                unread_bytes,
                signatures,
            } => {
                self.read.push(chunk);
                self.skipped_bytes += unread_bytes;
                self.signatures.add(signatures);
            }
            Seen::Kept => self.is_all_seen = false,
            Seen::Proven => {
                self.skipped_bytes += outcome.copy_bytes;
                let before = unread.into_iter().map(|unread| &unread.signatures);
                self.signatures
                    .add(before.flat_map(|map| map.within(chunk)));
            }
        }
        Ok(())
    }
}
