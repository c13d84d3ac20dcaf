//! What is settled before a run: its plan, how it finds what must be written, and where writes go.

use super::context::Context;
use super::outlook::{self, Outlook, Viewed};
use super::pending::recorded;
use super::{CloneOptions, Job, Update, within};
use crate::change::drift::{Drift, DriftCheck, check};
use crate::change::look::keeps_metadata;
use crate::change::outlook::Purpose;
use crate::change::{Approach, Proof, Recorded, Resume, Selection, Situation, distrust, select};
use crate::chunk::{self, Digested, first_chunk};
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::intent::{IntentLog, Interrupted, RunMeta, Start, Untouched};
use crate::mark::Mark;
use crate::plan::Plan;
use crate::record::{Record, RecordStore};
use crate::spot::StagedPart;
use crate::stage::{Rooms, Space};
use klon_partition::filesystem::{ChangeToken, Usage, probe};
use klon_partition::{Extent, ExtentMap};
use std::sync::Arc;
use std::thread;

/// A job whose plan and approach are settled.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) wanted: ExtentMap,
    /// The first chunk, which comes to the target last.
    pub(super) first: Extent,
    pub(super) selection: Selection,
    /// How the digests of its chunks come about.
    pub(super) digested: Digested,
    /// Bytes of the target that were read for the selection.
    pub(super) checked_bytes: u64,
    /// The record of the last clone to the target, for its history and for what it described. It
    /// says nothing of what the target holds now: that is for the approach to say.
    pub(super) previous: Option<Arc<Record>>,
    /// The change token of what is on the target.
    pub(super) target_token: Option<ChangeToken>,
    /// Whether what is on the target is to be saved.
    pub(super) is_staged: bool,
    /// What interrupted attempts at this update have staged.
    pub(super) staged: Vec<StagedPart>,
    /// What this run marks the target with.
    pub(super) mark: Mark,
}

/// What of a chunk would be left unread.
pub(super) struct Unread {
    /// What would have to be read otherwise.
    pub(super) extents: Vec<Extent>,
    /// What the record describes of the chunk, where another part of it is read.
    pub(super) described: Option<Vec<Extent>>,
}

/// How the chunks of a run are digested: as those of the record that it relies on; else so that a source which
/// keeps digests needs not be read for them, and any other can be digested in pieces.
fn digested(job: &Job<'_>, approach: &Approach, first: Extent) -> Digested {
    let record = match approach {
        Approach::Full | Approach::Compare => None,
        Approach::Digest(record) => Some(record),
        Approach::Metadata(proof) | Approach::Tracked(proof) => Some(&proof.record),
        Approach::Resume(resume) => resume.record.as_ref(),
    };
    match (record, job.source.sha256(first)) {
        (Some(record), _) => record.digested,
        (None, Ok(Some(_))) => Digested::Whole,
        (None, _) => Digested::InPieces,
    }
}

/// The record of the last clone to the target. Only a target that fails is an error.
fn last_record(job: &Job<'_>, with: Context<'_>) -> Result<Recorded> {
    let threads = with.options.threads;
    match recorded(with.records, job.target_identity, &job.target, threads) {
        Ok(Some(record)) => Ok(Recorded::Found(Arc::new(record))),
        Ok(None) => Ok(Recorded::Nothing),
        Err(error @ Error::Target(_)) => Err(error),
        Err(error) => Ok(Recorded::Damaged(error.to_string())),
    }
}

/// Whether the digests of metadata alone may show that nobody changed the target: where the source has no
/// change token, and the user asked for that heuristic.
fn trusts_metadata(job: &Job<'_>, options: &CloneOptions) -> bool {
    job.usage.token.is_none() && keeps_metadata(job.usage, &options.reliance)
}

/// What of the source may be anything but zero.
pub(super) fn data(job: &Job<'_>) -> Result<ExtentMap> {
    let mut data = ExtentMap::new();
    if let Some(whole) = job.source.geometry().extent() {
        data = job.source.data(whole).map_err(Error::Source)?;
    }
    // What is lost must not count as zero, though it may be a hole.
    Ok(data.union(&job.filled().extents))
}

/// What the target's metadata shows, read because the run is to rely on `record`.
fn checked(job: &Job<'_>, record: &Record, with: Context<'_>) -> Result<DriftCheck> {
    if record.manifest.token.is_none() && record.metadata()?.is_none() {
        // Such a record would be believed for its digests of metadata, and has none.
        return Ok(DriftCheck {
            drift: Some(Drift::Record),
            ..DriftCheck::default()
        });
    }
    let is_cancelled = || with.observer.is_cancelled();
    check(&job.target, record, with.options.threads, &is_cancelled)
}

/// What a thread came to.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(found) => found,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Where updates of a target are staged.
pub(super) fn space<'a>(job: &Job<'a>) -> Space<'a> {
    Space {
        volume: job.target,
        drive: job.drive.map(|drive| drive.device),
    }
}

/// What is on a target, and how the source is to be compared with it by all that is known of the target.
pub(super) struct OnTarget {
    pub(super) selection: Selection,
    pub(super) checked_bytes: u64,
    pub(super) previous: Option<Arc<Record>>,
    token: Option<ChangeToken>,
    pub(super) is_staged: bool,
    staged: Vec<StagedPart>,
}

impl OnTarget {
    /// Looks at the target of a job; nothing of its source is read. `interrupted` is what the log of an
    /// earlier run tells. What the selection relies on is not checked yet.
    pub(super) fn look(
        job: &Job<'_>,
        with: Context<'_>,
        interrupted: Option<Interrupted>,
    ) -> Result<Self> {
        let options = with.options;
        let mark = Mark::read(&job.target).map_err(Error::Target)?;
        let on_target = probe(&job.target).map_err(Error::Target)?;
        let token = match &on_target {
            Some(filesystem) => filesystem.change_token(&job.target).unwrap_or_default(),
            None => None,
        };
        let record = last_record(job, with)?;
        let previous = record.found().cloned();
        // What an earlier run left unfinished is not to be saved.
        let is_staged = job.present.is_some() && options.update == Update::Staged && mark.is_none();
        let staged = interrupted
            .as_ref()
            .filter(|interrupted| is_staged && &interrupted.meta.source == job.source_identity)
            .map_or_else(Vec::new, |interrupted| interrupted.staged.clone());
        let situation = Situation {
            source: job.source_identity,
            source_bytes: job.source.geometry().size_bytes,
            source_summary: job.usage.summary.as_ref(),
            target_bytes: job.target.geometry().size_bytes,
            target_summary: on_target.as_ref().map(|filesystem| filesystem.summary()),
            target_token: token,
            mark: mark.as_ref(),
            interrupted,
            record,
            trusts_metadata: options.asks_files() && trusts_metadata(job, options),
        };
        Ok(Self {
            selection: select(options.rung, situation),
            checked_bytes: 0,
            previous,
            token,
            is_staged,
            staged,
        })
    }

    /// Reads the target's metadata, if the selection relies on it.
    pub(super) fn checked(self, job: &Job<'_>, with: Context<'_>) -> Result<Self> {
        let Approach::Digest(record) = &self.selection.approach else {
            return Ok(self);
        };
        let DriftCheck { drift, read_bytes } = checked(job, record, with)?;
        let selection = match drift {
            Some(drift) => distrust(with.options.rung, drift),
            None => self.selection,
        };
        Ok(Self {
            selection,
            checked_bytes: read_bytes,
            ..self
        })
    }

    /// Reads the target's metadata while `look` reads the source: both take about as long, and mostly they
    /// are two drives.
    fn checked_beside<T>(
        self,
        job: &Job<'_>,
        with: Context<'_>,
        look: impl Fn(Selection) -> Result<(Selection, T)>,
    ) -> Result<(Self, T)> {
        let Approach::Digest(record) = &self.selection.approach else {
            return self.with_selection(look);
        };
        let record = Arc::clone(record);
        let selection = self.selection;
        let (checked, looked) = thread::scope(|scope| {
            let check = scope.spawn(|| checked(job, &record, with));
            let looked = look(selection);
            (joined(check), looked)
        });
        let DriftCheck { drift, read_bytes } = checked?;
        let (selection, found) = match drift {
            // What was found of the source is of no use then.
            Some(drift) => look(distrust(with.options.rung, drift))?,
            None => looked?,
        };
        let found_there = Self {
            selection,
            checked_bytes: read_bytes,
            ..self
        };
        Ok((found_there, found))
    }

    /// The same run with the selection that a look at the source leads to.
    pub(super) fn with_selection<T>(
        self,
        look: impl FnOnce(Selection) -> Result<(Selection, T)>,
    ) -> Result<(Self, T)> {
        let (selection, looked) = look(self.selection)?;
        Ok((Self { selection, ..self }, looked))
    }
}

impl Prepared {
    /// Settles a job, and says what is known of its source's files.
    pub(super) fn new(
        job: &Job<'_>,
        with: Context<'_>,
        purpose: Purpose,
    ) -> Result<(Self, Outlook)> {
        let source_bytes = job.source.geometry().size_bytes;
        let target_bytes = job.target.geometry().size_bytes;
        let plan = Plan::new(job.usage, &data(job)?, source_bytes, target_bytes)?;
        // A log that can't be read says nothing: then the target is compared.
        let interrupted = Interrupted::load(&with.records.log_path(job.target_identity))
            .ok()
            .flatten();
        let found = OnTarget::look(job, with, interrupted)?;
        let viewed = Viewed {
            job,
            subject: job.subject(),
            plan: &plan,
            purpose,
        };
        let looked = |selection| outlook::look(viewed, with, selection);
        let (found, outlook) = found.checked_beside(job, with, looked)?;
        Ok((Self::of(job, found, plan)?, outlook))
    }

    /// A job whose target was looked at, and its source.
    pub(super) fn of(job: &Job<'_>, found: OnTarget, plan: Plan) -> Result<Self> {
        let mut own_mark = Mark::new(&job.source_identity.to_string());
        if let Some(interrupted) = found.selection.approach.resumed() {
            own_mark.run = interrupted.run;
        }
        let first = first_chunk(plan.source_bytes).ok_or_else(Error::no_bytes)?;
        Ok(Self {
            digested: digested(job, &found.selection.approach, first),
            first,
            wanted: plan.wanted(),
            plan,
            selection: found.selection,
            checked_bytes: found.checked_bytes,
            previous: found.previous,
            target_token: found.token,
            is_staged: found.is_staged,
            staged: found.staged,
            mark: own_mark,
        })
    }

    /// How much of what is in use would not be read.
    pub(super) fn unread_bytes(&self) -> u64 {
        let Some(proof) = self.selection.approach.proof() else {
            return 0;
        };
        let chunks = chunk::chunks(&self.wanted, self.plan.source_bytes);
        let unread = chunks.filter_map(|chunk| self.unread(proof, chunk));
        let bytes = |extents: &[Extent]| extents.iter().map(|it| it.len_bytes()).sum::<u64>();
        unread.map(|unread| bytes(&unread.extents)).sum()
    }

    /// What would be left unread of a chunk; `None` when all of it is to be read.
    pub(super) fn unread(&self, proof: &Proof, chunk: Extent) -> Option<Unread> {
        if chunk == self.first {
            return None;
        }
        let wanted = within(&self.wanted, chunk);
        let copy = within(&self.plan.copy, chunk);
        if proof.unchanged.covers(chunk, &wanted) {
            let unread = Unread {
                extents: copy,
                described: None,
            };
            return (!unread.extents.is_empty()).then_some(unread);
        }
        let part = proof.unchanged.in_part(chunk, &copy, &wanted)?;
        Some(Unread {
            extents: part.proven,
            described: Some(part.described),
        })
    }

    /// Begins the log of this run, which takes over what earlier attempts have done.
    pub(super) fn begin_log(
        self,
        job: &Job<'_>,
        records: &RecordStore,
    ) -> Result<(Self, IntentLog)> {
        let meta = RunMeta {
            source: job.source_identity.clone(),
            target: job.target_identity.clone(),
            source_bytes: self.plan.source_bytes,
            target_bytes: self.plan.target_bytes,
            untouched: match &self.selection.approach {
                Approach::Full => Untouched::Nothing,
                Approach::Compare => Untouched::Unknown,
                Approach::Digest(record) => Untouched::Record(Hex(record.digest)),
                Approach::Metadata(proof) | Approach::Tracked(proof) => {
                    Untouched::Record(Hex(proof.record.digest))
                }
                Approach::Resume(resume) => resume.interrupted.meta.untouched,
            },
        };
        let start = Start {
            run: self.mark.run,
            meta: &meta,
            data: &self.plan.copy,
            zero: &self.plan.zero,
            earlier: self.selection.approach.resumed(),
            staged: &self.staged,
        };
        let path = records.log_path(job.target_identity);
        let log = IntentLog::begin(path.clone(), &start)?;
        let Approach::Resume(resume) = self.selection.approach else {
            return Ok((self, log));
        };
        // The log of the earlier attempts is replaced: from here on the new one says what they did.
        let resume = Resume {
            interrupted: Interrupted::begun(&path)?,
            ..*resume
        };
        let selection = Selection {
            approach: Approach::Resume(Box::new(resume)),
            ..self.selection
        };
        Ok((Self { selection, ..self }, log))
    }

    /// Room for an update of what is `present` on the target.
    pub(super) fn rooms(&self, job: &Job<'_>, present: &Usage, drive_taken: &ExtentMap) -> Rooms {
        // What the record describes must stay, also where the filesystem has freed it since.
        let described = self
            .previous
            .as_ref()
            .map(|record| record.wanted())
            .unwrap_or_default();
        let kept = described.union(&self.wanted);
        let volume = present.extents.union(&kept);
        let none = ExtentMap::new();
        let drive_room = job.drive.map_or(&none, |drive| drive.room);
        Rooms {
            free: volume.complement(job.target.geometry().size_bytes),
            unproven: present.unproven.difference(&kept),
            drive: drive_room.difference(drive_taken),
            is_drive_given_up: job.drive.is_some_and(|drive| drive.is_given_up),
        }
    }
}
