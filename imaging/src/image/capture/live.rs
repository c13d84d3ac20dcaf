//! Images of sources that are mounted and written to meanwhile.
//!
//! They are made in passes, as clones of such sources are ([`crate::clone::live`]). What a pass stores is a
//! guess; the next one shows by the metadata of files which of it holds, and reads the rest. The last pass
//! reads that at rest, and its references are the snapshot's. What earlier passes stored in vain stays in the
//! file until it is pruned or compacted.

mod look;

use super::super::append::Append;
use super::super::manifest::PartitionId;
use super::super::reference::Reference;
use super::super::snapshot::Snapshot;
use super::super::writer::ImageWriter;
use super::begin;
use super::conclude::{Began, Ended};
use super::job::{CaptureJob, CaptureOptions, CaptureSummary};
use super::known::Known;
use super::outlook::Beforehand;
use super::selected::Selected;
use super::sums::{self, Checked, Checks};
use super::transfer::{Chunks, Notes, Transfer};
use crate::change::MetadataFigures;
use crate::change::evidence::Draft;
use crate::chunk::ChunkSize;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::live::{
    Freeze, Ice, LastPass, LiveSource, Quiet, Rest, RestFigures, Restless, Schedule, Step, Twice,
    changing, give_up,
};
use crate::plan::Plan;
use crate::progress::{Event, Observer};
use crate::rung::Rung;
use crate::source;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap};
use look::Pass;
use std::time::{Duration, Instant, SystemTime};

/// A source that is imaged while it is in use.
pub struct LiveCapture<'a> {
    /// What is imaged. Source, usage, partitions and volumes are those of an earlier look. Its watch tells
    /// of the volumes that nobody has mounted for writing.
    pub job: CaptureJob<'a>,
    /// Where the volumes lie that are mounted for writing.
    pub mounted: ExtentMap,
    /// Looks at the source while it is at rest.
    pub look: &'a LookAt<'a>,
}

/// Looks at a source that came to rest then.
pub type LookAt<'a> = dyn Fn(SystemTime) -> Result<LookedAt> + 'a;

/// What a look at a source at rest finds.
pub struct LookedAt {
    /// The source.
    pub source: LiveSource,
    /// Of a disk: its partitions.
    pub partitions: Vec<PartitionId>,
}

/// Adds a snapshot of a source that is in use to an image: its state of the moment when it was at rest
/// last.
///
/// # Errors
/// As [`capture`](super::capture). [`Error::RefusedUnless`] when too much keeps changing for the time that
/// the source may be at rest.
pub fn capture_live<A: Append>(
    live: &LiveCapture<'_>,
    rest: &mut dyn Rest,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    let began = Began::now(writer);
    begin(&live.job, writer, options)?;
    let beforehand = look::beforehand(live, writer.header(), options, observer)?;
    let mut run = Run {
        live,
        options,
        observer,
        schedule: Schedule::new(rest.longest()),
        rest: RestFigures::default(),
        restless: Restless::default(),
        selected: Selected::by_snapshot(&live.job, options.rung),
        known: BeforePass::default(),
        done: Done::default(),
        beforehand,
        apart: Vec::new(),
    };
    let last = loop {
        match run.pass(rest, writer) {
            Ok(None) => {}
            Ok(Some(last)) => break last,
            Err(error) => {
                // The next run can use what is in the file already. Only the first error matters.
                let _ = writer.sync();
                return Err(error);
            }
        }
    };
    observer.event(&Event::Committing);
    source::check_watch(live.job.watch)?;
    let summary = run.commit(last, writer, began)?;
    observer.event(&Event::Finished);
    Ok(summary)
}

/// A run under way.
struct Run<'a> {
    live: &'a LiveCapture<'a>,
    options: &'a CaptureOptions,
    observer: &'a dyn Observer,
    schedule: Schedule,
    rest: RestFigures,
    restless: Restless,
    /// What the first look settled; until then, what the snapshot before allows.
    selected: Selected,
    known: BeforePass,
    done: Done,
    /// What was found of the volumes that nobody has mounted, before the others came to rest.
    beforehand: Beforehand,
    /// The evidence of volumes that nobody has mounted, with where they lie.
    apart: Vec<(Extent, Draft)>,
}

/// What is known from the pass before.
#[derive(Default)]
struct BeforePass {
    last: LastPass,
    /// Where the image has its chunks.
    chunks: Vec<(u64, Reference)>,
    /// Where signatures were found of what is written past the filesystem.
    signatures: ExtentMap,
}

/// What was done by the passes so far.
#[derive(Default)]
struct Done {
    read_source_bytes: u64,
    added_bytes: u64,
    checksummed_bytes: u64,
    /// Chunks that were never read.
    unread: ExtentMap,
    /// What the first look found of the files, against the snapshot before.
    figures: MetadataFigures,
    metadata_read_bytes: u64,
}

/// What a pass read.
struct Copied {
    notes: Notes,
    checked: Checked,
}

/// The last pass. All of it was read at rest.
struct Last {
    pass: Pass,
    copied: Copied,
}

impl Run<'_> {
    /// One pass; what it came to, if all that was left was read at rest.
    fn pass<A: Append>(
        &mut self,
        rest: &mut dyn Rest,
        writer: &mut ImageWriter<A>,
    ) -> Result<Option<Last>> {
        let ice = Ice::new(rest.rest()?, self.schedule.reserve());
        let pass = ice.looked(self.look(&ice, writer.header()))?;
        let (copied, is_complete) = self.copy(&pass, &ice, writer)?;
        if is_complete {
            return Ok(Some(Last { pass, copied }));
        }
        self.keep(pass, copied);
        drop(ice);
        self.restless
            .wait(self.live.job.name, rest, self.observer)?;
        Ok(None)
    }

    /// Stores what nothing shows to be as it was: at rest as long as that may be, or while the source goes on.
    /// Says whether the source was at rest until the end.
    fn copy<A: Append>(
        &mut self,
        pass: &Pass,
        ice: &Ice<'_>,
        writer: &mut ImageWriter<A>,
    ) -> Result<(Copied, bool)> {
        let job = pass.job(self.live);
        // Where the checksums are is looked up at rest.
        let summed = sums::summed(&job)?;
        let checks = Checks::begin(&summed);
        let unproven_bytes = pass.unproven_bytes(writer.header().chunk_size);
        let twice_bytes = pass.twice.as_ref().map_or(0, Twice::bytes);
        let frozen = self.go_on(&job, pass, ice, unproven_bytes.saturating_add(twice_bytes))?;
        let copying = Instant::now();
        let begins = self.begins(pass, unproven_bytes);
        let quiet = Quiet::begin(self.observer, ice, &begins);
        let transfer = Transfer {
            job: &job,
            plan: &pass.plan,
            rung: pass.selected.rung,
            unread: pass.unread.as_ref(),
            is_searched: true,
            before: (!self.is_first()).then_some(&*self.known.chunks),
            checks: &checks,
            ice: Some(ice),
            options: self.options,
            observer: &quiet,
        };
        let mut notes = transfer.run(&mut None, Chunks::Listed(Vec::new()), writer)?;
        let read_at_rest = ice.read_at_rest();
        if ice.is_whole() {
            let is_same = pass.twice.as_ref().map_or(Ok(true), |twice| {
                twice.is_same(&(self.live.look)(ice.since())?.source, ice)
            });
            self.restless.read_twice(is_same?);
        }
        let ended = ice.end()?;
        quiet.catch_up();
        let read_bytes = notes.read_source_bytes;
        let seconds = frozen.or(ended).or_else(|| ice.ended());
        self.rest.add(Freeze {
            seconds: seconds.unwrap_or_default().as_secs_f64(),
            unproven_bytes,
            read_bytes: match ended {
                Some(_) => read_bytes,
                None => read_at_rest,
            },
        });
        self.schedule.passed(read_bytes, copying.elapsed());
        let checked = checks.finish(&job);
        self.note(&mut notes, &checked, job.source.geometry().size_bytes);
        let is_complete = ended.is_some() && self.restless.is_same();
        Ok((Copied { notes, checked }, is_complete))
    }

    /// Lets the source go on, unless the rest of it is to be read at rest. How long it was at rest then.
    fn go_on(
        &mut self,
        job: &CaptureJob<'_>,
        pass: &Pass,
        ice: &Ice<'_>,
        unproven_bytes: u64,
    ) -> Result<Option<Duration>> {
        let left = ice.left().unwrap_or_default();
        let step = self.schedule.next(unproven_bytes, left);
        if step == Step::ReadNow {
            return Ok(None);
        }
        let rested = ice.end()?;
        if step == Step::GiveUp {
            let all = changing(job.name, &pass.found.source, &pass.figures);
            return Err(give_up(all, &self.schedule, unproven_bytes));
        }
        Ok(rested)
    }

    fn is_first(&self) -> bool {
        self.rest.freezes.is_empty()
    }

    /// What is told when a pass begins.
    fn begins<'e>(&self, pass: &'e Pass, unproven_bytes: u64) -> Event<'e>
    where
        Self: 'e,
    {
        let name = self.live.job.name;
        match self.is_first() {
            true => Event::Started {
                name,
                rung: Some(pass.selected.rung),
                reason: &pass.selected.reason,
                total_bytes: pass.plan.copy.total_bytes(),
            },
            false => Event::Again {
                name,
                total_bytes: unproven_bytes,
            },
        }
    }

    /// Notes what a pass did.
    fn note(&mut self, notes: &mut Notes, checked: &Checked, size_bytes: u64) {
        let read = std::mem::replace(&mut notes.read, ExtentMapBuilder::new()).finish();
        let unread = match self.is_past_first() {
            true => self.done.unread.difference(&read),
            false => read.complement(size_bytes),
        };
        let done = &mut self.done;
        done.unread = unread;
        done.read_source_bytes += notes.read_source_bytes;
        done.added_bytes += notes.added_bytes;
        done.checksummed_bytes += checked.figures.checksummed_bytes;
        let last = &mut self.known.last;
        let unchecked: ExtentMap = checked.unchecked.iter().copied().collect();
        let doubtful = checked.doubtful.union(&unchecked.intersection(&read));
        last.damaged = last.damaged.difference(&read).union(&doubtful);
    }

    const fn is_past_first(&self) -> bool {
        self.rest.freezes.len() > 1
    }

    /// Keeps what a pass came to for the next one.
    fn keep(&mut self, mut pass: Pass, copied: Copied) {
        let known = &mut self.known;
        known.signatures = copied.notes.signatures.finish();
        known.chunks = match copied.notes.chunks {
            Chunks::Listed(list) => list,
            Chunks::Tree(_) => Vec::new(),
        };
        let (source, described) = (&pass.found.source, pass.plan.wanted());
        known
            .last
            .follow(source, described, &mut pass.drafts, &known.signatures);
    }

    /// Commits the snapshot that the last pass found.
    fn commit<A: Append>(
        mut self,
        last: Last,
        writer: &mut ImageWriter<A>,
        began: Began,
    ) -> Result<CaptureSummary> {
        let Last { mut pass, copied } = last;
        let Copied { mut notes, checked } = copied;
        let drafts = std::mem::take(&mut pass.drafts);
        let next_reads_all_because = pass.figures.next_reads_all_because.take();
        let mut job = pass.job(self.live);
        let previous = job.previous.filter(|_| pass.selected.rung != Rung::Full);
        job.consistency = pass.found.source.consistency;
        self.rest.consistency = pass.found.source.consistency;
        if self.rest.consistency.is_still() {
            // Nothing of it was mounted, so nothing was brought to rest.
            self.rest = RestFigures::default();
        }
        let chunk_size = writer.header().chunk_size;
        if let Chunks::Listed(list) = &notes.chunks {
            let changed = changed(previous, list, &pass.plan, chunk_size);
            notes.changed_bytes = changed.all;
            notes.changed_used_bytes = changed.used;
        }
        notes.read_source_bytes = self.done.read_source_bytes;
        notes.added_bytes = self.done.added_bytes;
        notes.skipped_bytes = pass.plan.copy.intersection(&self.done.unread).total_bytes();
        let mut figures = std::mem::take(&mut self.done.figures);
        figures.metadata_read_bytes = self.done.metadata_read_bytes;
        figures.next_reads_all_because = next_reads_all_because;
        figures.join(checked.figures, 0);
        figures.checksummed_bytes = self.done.checksummed_bytes;
        let is_kept = !self.options.reliance.is_off;
        let drafts = drafts.into_iter().chain(self.apart);
        let drafts = drafts.filter(|(part, _)| is_kept && !checked.unchecked.contains(part));
        let drafts = drafts.collect();
        let ended = Ended {
            job: &job,
            plan: pass.plan.clone(),
            selected: pass.selected.clone(),
            figures,
            drafts,
            doubtful: self.known.last.damaged,
            rest: self.rest,
        };
        ended.commit(notes, writer, began)
    }
}

/// Bytes of chunks that the snapshot before does not have.
struct ChangedBytes {
    /// Plain bytes.
    all: u64,
    /// Those of them that are in use.
    used: u64,
}

/// What of `chunks` the snapshot before does not have.
fn changed(
    previous: Option<&Snapshot>,
    chunks: &[(u64, Reference)],
    plan: &Plan,
    chunk_size: ChunkSize,
) -> ChangedBytes {
    let mut before = Known::new(previous);
    let mut changed = ChangedBytes { all: 0, used: 0 };
    for (number, reference) in chunks {
        let plain_bytes = u64::from(reference.plain_bytes);
        let is_same = match before.at(*number) {
            Some(known) => {
                known.plain_bytes == reference.plain_bytes && known.digest == reference.digest
            }
            // Zeroes that were written over a hole read the same.
            None => previous.is_some() && reference.is_zero(),
        };
        let start_bytes = number.saturating_mul(chunk_size.bytes());
        if let Some(chunk) = Extent::new(start_bytes, plain_bytes).filter(|_| !is_same) {
            changed.all += plain_bytes;
            changed.used += plan.copy.within(chunk).map(Extent::len_bytes).sum::<u64>();
        }
    }
    changed
}
