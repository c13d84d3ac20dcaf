//! One volume that is cloned while it is in use: what is known of it between two passes.

mod look;
mod noted;
mod parts;
mod taken;
mod way;

use super::LiveJob;
use crate::change::evidence::Draft;
use crate::change::sectors::{CheckedSectors, SectorCheck};
use crate::change::sums;
use crate::change::{MetadataFigures, Unchanged};
use crate::chunk::{self, Digest};
use crate::clone::context::Context;
use crate::clone::known::Knowledge;
use crate::clone::prepared::{OnTarget, Prepared};
use crate::clone::task::{self, Task};
use crate::clone::work::{Manner, Outcome, Worker};
use crate::clone::{CloneOptions, Job, pending, within};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::live::{Ice, LastPass, LiveSource, Quiet, Twice};
use crate::pipeline::{self, Batches};
use crate::plan::Plan;
use crate::progress::{Event, Observer, unless_cancelled};
use crate::target_writer::{HeldBack, TargetWriter};
use klon_partition::{Extent, ExtentMap};
use noted::{ChunkDigests, Noted};
pub(super) use parts::{Ending, Last, Leftover};
use std::collections::BTreeMap;
use std::sync::Arc;
use way::{Staging, Way};

/// The tasks of a pass, in order.
type Tasks<'p> = Box<dyn Iterator<Item = Result<Task>> + Send + 'p>;

/// One volume whose source was not looked at yet.
pub(super) struct Waiting<'a> {
    live: &'a LiveJob<'a>,
    on_target: OnTarget,
    /// Whether it may be staged in room of its drive, which the others of its run then leave alone.
    has_drive_room: bool,
}

/// One volume, from the first look at its source on.
pub(super) struct Volume<'a> {
    live: &'a LiveJob<'a>,
    /// What the first look settled. The plan is that of the first pass.
    prepared: Prepared,
    known: Known,
    done: Done,
    /// Where an update of an earlier clone waits; `None` when it is written in place.
    staging: Option<Arc<Staging<'a>>>,
}

/// What is known of the source from the passes so far.
#[derive(Default)]
struct Known {
    last: LastPass,
    /// The chunks that were in use then, by their numbers, as they are on the target or staged for it.
    digests: Vec<Option<ChunkDigests>>,
    /// Where signatures were found of what is written past the filesystem, by chunks.
    signatures: BTreeMap<u64, Vec<Extent>>,
}

/// What was done by the passes so far.
#[derive(Default)]
struct Done {
    is_marked: bool,
    written_bytes: u64,
    read_source_bytes: u64,
    read_target_bytes: u64,
    checksummed_bytes: u64,
    changed: ExtentMap,
    /// Chunks that were never read.
    unread: ExtentMap,
    /// What the first look found of the files, against the record.
    figures: MetadataFigures,
}

/// What the last pass read itself, or left for the end.
pub(super) struct Taken {
    /// The first chunk, which comes to the target last.
    held: HeldBack,
    /// The digests of the metadata in each chunk that has any.
    metadata: Vec<Digest>,
    checked: Checked,
}

/// A pass that is over.
pub(super) struct Ended {
    pass: Pass,
    taken: Taken,
}

/// What a pass is compared with.
enum Against {
    /// The record of the last clone: the approach of the run has the proof.
    Record,
    /// The pass before, and what is as it was then.
    Pass(Unchanged),
}

/// What was found of a volume at the start of a pass, at rest.
pub(super) struct Pass {
    pub(super) found: LiveSource,
    /// What was read of volumes that can't be brought to rest, if there are any.
    twice: Option<Twice>,
    plan: Plan,
    wanted: ExtentMap,
    metadata: Option<ExtentMap>,
    against: Against,
    /// What tells the files unchanged at the next look, with where their volumes lie.
    drafts: Vec<(Extent, Draft)>,
    pub(super) figures: MetadataFigures,
    /// Bytes that nothing shows to be as they were.
    pub(super) unproven_bytes: u64,
    /// Bytes in use of the chunks that are told of while it goes on: all, and in a later pass those that are read.
    through_bytes: u64,
}

/// What compares what is read with the filesystem's checksums: `None` if it keeps none, or the reason why
/// that is not possible.
type Check<'a> = Result<Option<SectorCheck<'a>>, String>;

/// What the checksums of the filesystem said of what was read: `None` if it keeps none, or the reason why
/// nothing could be compared.
type Checked = Result<Option<CheckedSectors>, String>;

/// What a pass copied.
pub(super) struct Copied<'p> {
    pass: &'p Pass,
    way: Way<'p>,
    pub(super) read_bytes: u64,
    held: HeldBack,
    noted: Noted,
    checked: Checked,
}

impl Pass {
    /// Begins to compare what is read with the filesystem's checksums, or says why that is not possible.
    /// It is to be called at rest, as the places of the checksums are looked up then.
    ///
    /// # Errors
    /// [`Error::Source`].
    pub(super) fn check(&self) -> Result<Check<'_>> {
        let source = &*self.found.source;
        let Some(filesystem) = sums::filesystem(source, &self.found.usage)? else {
            return Ok(Ok(None));
        };
        let begun = SectorCheck::begin(filesystem, source).transpose();
        Ok(begun.map_err(|error| error.to_string()))
    }

    fn job<'p>(&'p self, live: &LiveJob<'p>) -> Job<'p> {
        look::job(live, &self.found)
    }

    /// How many bytes are read that nothing shows to be as they were, with what is read twice.
    pub(super) fn to_read_bytes(&self) -> u64 {
        let twice_bytes = self.twice.as_ref().map_or(0, Twice::bytes);
        self.unproven_bytes.saturating_add(twice_bytes)
    }

    /// Tells of a chunk that was worked on.
    fn tell(&self, outcome: &Outcome, observer: &dyn Observer) {
        if self.is_told(outcome.chunk) {
            let bytes = outcome.wanted_bytes;
            observer.event(&Event::Advanced { bytes });
        }
    }

    /// Whether a chunk is one that is told of while the pass goes on.
    fn is_told(&self, chunk: Extent) -> bool {
        match &self.against {
            Against::Record => true,
            Against::Pass(unchanged) => {
                chunk.offset_bytes() == 0 || !unchanged.covers(chunk, &within(&self.wanted, chunk))
            }
        }
    }
}

impl<'a> Waiting<'a> {
    /// Looks at the target, before the source is brought to rest.
    ///
    /// # Errors
    /// As [`clone`](crate::clone::clone).
    pub(super) fn begin(
        live: &'a LiveJob<'a>,
        has_drive_room: bool,
        with: Context<'_>,
    ) -> Result<Self> {
        let job = &live.job;
        pending::settle(job, with.records, with.options.threads)?;
        // This run keeps no log, and an old one says nothing of what this run does.
        with.records.remove_log(job.target_identity)?;
        let on_target = OnTarget::look(job, with, None)?;
        let on_target = on_target.checked(job, with)?;
        Ok(Self {
            live,
            on_target,
            has_drive_room,
        })
    }
}

impl<'a> Volume<'a> {
    /// Its name, for people.
    pub(super) const fn name(&self) -> &'a str {
        self.live.job.name
    }

    /// What is told when a pass begins.
    pub(super) fn begins<'e>(&'e self, pass: &Pass) -> Event<'e> {
        let selection = &self.prepared.selection;
        let (name, total_bytes) = (self.name(), pass.through_bytes);
        match pass.against {
            Against::Record => Event::Started {
                name,
                rung: Some(selection.rung()),
                reason: &selection.reason,
                total_bytes,
            },
            Against::Pass(_) => Event::Again { name, total_bytes },
        }
    }

    /// Copies what nothing shows to be as it was: first while the source is at rest, and when the time for
    /// that runs out, while it goes on.
    ///
    /// # Errors
    /// As [`clone`](crate::clone::clone).
    pub(super) fn copy<'p>(
        &self,
        pass: &'p Pass,
        check: Check<'_>,
        options: &CloneOptions,
        observer: &Quiet<'_, '_>,
    ) -> Result<Copied<'p>>
    where
        'a: 'p,
    {
        let job = pass.job(self.live);
        let prepared = &self.prepared;
        let ice = observer.ice();
        let sectors = check.as_ref().ok().and_then(Option::as_ref);
        let manner = Manner {
            digested: prepared.digested,
            rewrite: options.rewrite,
            is_searched: true,
        };
        let worker = Worker::new(&job, manner, sectors);
        let way = match &self.staging {
            Some(staging) => Way::Staged(Arc::clone(staging) as Arc<Staging<'p>>),
            None => Way::InPlace(self.writer(&pass.wanted)),
        };
        let none = ExtentMap::new();
        let metadata = pass.metadata.as_ref().unwrap_or(&none);
        let (first, others) = self.tasks(pass, metadata)?;
        let go_on = |task: Task| {
            let task = unless_cancelled(observer, task)?;
            ice.mind_the_time()?;
            Ok(task)
        };
        let chunks = pass.plan.source_bytes.div_ceil(chunk::CHUNK_BYTES);
        let mut noted = Noted::of(chunks);
        let before = self.signatures_before(pass);
        let outcome = worker.process(&go_on(first)?)?;
        let held = HeldBack {
            chunk: outcome.chunk,
            content: outcome.content.clone(),
            changed: outcome.changed.iter().copied().collect(),
        };
        noted.add(&outcome, before, ice);
        pass.tell(&outcome, observer);
        let others = others.map(|task| go_on(task?));
        pipeline::run_in_batches(
            options.threads,
            Batches::of(others, |task: &Task| task.proven().is_some()),
            |task| way.put_data(&task, worker.process(&task)?),
            |(outcome, zeroes)| {
                for write in &zeroes {
                    way.put_zero(write)?;
                }
                noted.add(&outcome, before, ice);
                pass.tell(&outcome, observer);
                Ok(())
            },
        )?;
        Ok(Copied {
            pass,
            way,
            read_bytes: noted.read_source_bytes,
            held,
            noted,
            checked: check.map(|check| check.map(SectorCheck::finish)),
        })
    }

    /// What earlier runs found in what the first pass does not read; later passes know it from that one.
    fn signatures_before(&self, pass: &Pass) -> Option<&ExtentMap> {
        let proof = self.prepared.selection.approach.proof();
        match pass.against {
            Against::Record => proof.map(|proof| &proof.signatures),
            Against::Pass(_) => None,
        }
    }

    /// Whether what can't be brought to rest is, when it is read once more, as the pass has read it.
    ///
    /// # Errors
    /// [`Error::Source`]; those of the look.
    pub(super) fn is_same(&self, pass: &Pass, ice: &Ice<'_>) -> Result<bool> {
        pass.twice.as_ref().map_or(Ok(true), |twice| {
            twice.is_same(&(self.live.look)(ice.since())?, ice)
        })
    }

    /// What writes in place.
    fn writer<'p>(&self, wanted: &'p ExtentMap) -> Box<TargetWriter<'p>>
    where
        'a: 'p,
    {
        let begin = match self.done.is_marked {
            true => TargetWriter::resume,
            false => TargetWriter::begin,
        };
        let Prepared { mark, first, .. } = &self.prepared;
        Box::new(begin(self.live.job.target, wanted, mark.clone(), *first))
    }

    /// The task of the first chunk, and those of the others in order.
    fn tasks<'p>(&'p self, pass: &'p Pass, metadata: &'p ExtentMap) -> Result<(Task, Tasks<'p>)> {
        let prepared = &self.prepared;
        let Against::Pass(unchanged) = &pass.against else {
            let (first, others) = task::tasks(prepared, metadata)?;
            return Ok((first, Box::new(others)));
        };
        let known = &self.known;
        let task = move |chunk: Extent| {
            let wanted = within(&pass.wanted, chunk);
            let number = usize::try_from(chunk::index(chunk)).unwrap_or(usize::MAX);
            let digests = known.digests.get(number).and_then(Option::as_ref);
            // A block that is in use only now may be zero, and the target holds something else there.
            let is_described = known
                .last
                .described
                .within(chunk)
                .eq(wanted.iter().copied());
            // The first chunk is not on the target yet.
            let is_known = is_described && chunk.offset_bytes() != 0;
            Task {
                known: digests
                    .filter(|_| is_known)
                    .map_or(Knowledge::Unknown, |it| Knowledge::Digest(it.digest)),
                is_proven: unchanged.covers(chunk, &wanted),
                chunk,
                // What an earlier pass staged of a chunk lies elsewhere.
                part: None,
                pieces: digests.and_then(|it| it.pieces.clone()),
                described: None,
                copy: within(&pass.plan.copy, chunk),
                metadata: within(metadata, chunk),
                wanted,
            }
        };
        let first = task(prepared.first);
        let chunks = chunk::chunks(&pass.wanted, pass.plan.source_bytes);
        let others = chunks.filter(move |chunk| *chunk != prepared.first);
        Ok((first, Box::new(others.map(move |chunk| Ok(task(chunk))))))
    }
}
