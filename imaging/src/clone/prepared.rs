//! What is settled before a run: its plan, how it finds what must be written, and where writes go.

use super::output::{Output, Staging};
use super::pending::recorded;
use super::{CloneOptions, Group, Job, Update};
use crate::change::metadata::check;
use crate::change::{Approach, Recorded, Resume, Selection, Situation, distrust, select};
use crate::chunk::first_chunk;
use crate::commit::TargetWriter;
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::intent::{IntentLog, Interrupted, RunMeta, Start, Untouched};
use crate::mark::Mark;
use crate::plan::Plan;
use crate::progress::Observer;
use crate::record::{Record, RecordStore};
use crate::spot::StagedPart;
use crate::stage::{Rooms, Space};
use klon_partition::filesystem::{ChangeToken, probe};
use klon_partition::{Extent, ExtentMap};
use std::sync::Arc;

/// A job whose plan and approach are settled.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) wanted: ExtentMap,
    /// The first chunk, which comes to the target last.
    pub(super) first: Extent,
    pub(super) selection: Selection,
    /// Bytes of the target that were read for the selection.
    pub(super) checked_bytes: u64,
    /// The record of the last clone to the target, for its history and for what it described. It
    /// says nothing of what the target holds now: that is for the approach to say.
    pub(super) previous: Option<Arc<Record>>,
    /// The change token of what is on the target.
    target_token: Option<ChangeToken>,
    /// Whether what is on the target is to be saved.
    is_staged: bool,
    /// What interrupted attempts at this update have staged.
    staged: Vec<StagedPart>,
    /// What this run marks the target with.
    pub(super) mark: Mark,
}

/// The record of the last clone to the target. Only a target that fails is an error.
fn last_record(job: &Job<'_>, records: &RecordStore, options: &CloneOptions) -> Result<Recorded> {
    match recorded(records, job.target_identity, &job.target, options.threads) {
        Ok(Some(record)) => Ok(Recorded::Found(Arc::new(record))),
        Ok(None) => Ok(Recorded::Nothing),
        Err(error @ Error::Target(_)) => Err(error),
        Err(error) => Ok(Recorded::Damaged(error.to_string())),
    }
}

impl Prepared {
    pub(super) fn new(
        job: &Job<'_>,
        records: &RecordStore,
        options: &CloneOptions,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let source_bytes = job.source.geometry().size_bytes;
        let target_bytes = job.target.geometry().size_bytes;
        let mut data = ExtentMap::new();
        if let Some(whole) = job.source.geometry().extent() {
            data = job.source.data(whole).map_err(Error::Source)?;
        }
        let plan = Plan::new(job.usage, &data, source_bytes, target_bytes)?;
        let mark = Mark::read(&job.target).map_err(Error::Target)?;
        let on_target = probe(&job.target).map_err(Error::Target)?;
        let target_token = match &on_target {
            Some(filesystem) => filesystem.change_token(&job.target).unwrap_or_default(),
            None => None,
        };
        let record = last_record(job, records, options)?;
        let previous = record.found().cloned();
        // A log that can't be read says nothing: then the target is compared.
        let interrupted = Interrupted::load(&records.log_path(job.target_identity))
            .ok()
            .flatten();
        // What an earlier run left unfinished is not to be saved.
        let is_staged = job.present.is_some() && options.update == Update::Staged && mark.is_none();
        let staged = interrupted
            .as_ref()
            .filter(|interrupted| is_staged && &interrupted.meta.source == job.source_identity)
            .map_or_else(Vec::new, |interrupted| interrupted.staged.clone());
        let situation = Situation {
            source: job.source_identity,
            source_bytes,
            source_summary: job.usage.summary.as_ref(),
            target_bytes,
            target_summary: on_target.as_ref().map(|filesystem| filesystem.summary()),
            target_token,
            mark: mark.as_ref(),
            interrupted,
            record,
        };
        let mut selection = select(options.rung, situation);
        let mut checked_bytes = 0;
        if let Approach::Digest(record) = &selection.approach {
            let is_cancelled = || observer.is_cancelled();
            let checked = check(&job.target, record, options.threads, &is_cancelled)?;
            checked_bytes = checked.read_bytes;
            if let Some(drift) = checked.drift {
                selection = distrust(options.rung, drift);
            }
        }
        let wanted = plan.wanted();
        let mut own_mark = Mark::new(&job.source_identity.to_string());
        if let Some(interrupted) = selection.approach.resumed() {
            own_mark.run = interrupted.run;
        }
        Ok(Self {
            first: first_chunk(plan.source_bytes)?,
            plan,
            wanted,
            selection,
            checked_bytes,
            previous,
            target_token,
            is_staged,
            staged,
            mark: own_mark,
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

    /// Where writes go: a target that an earlier run left unfinished has nothing to be saved.
    pub(super) fn output<'a>(
        &'a self,
        job: &Job<'a>,
        options: &CloneOptions,
        group: Option<Group<'_>>,
    ) -> Result<Output<'a>> {
        let mark = self.mark.clone();
        let Some(present) = job.present.filter(|_| self.is_staged) else {
            let writer = TargetWriter::begin(job.target, &self.wanted, mark, self.first);
            return Ok(Output::InPlace(Box::new(writer)));
        };
        // What the record describes must stay, also where the filesystem has freed it since.
        let described = self
            .previous
            .as_ref()
            .map(|record| record.wanted())
            .unwrap_or_default();
        let space = Space {
            volume: job.target,
            drive: job.drive.map(|drive| drive.device),
        };
        let kept = described.union(&self.wanted);
        let volume = present.extents.union(&kept);
        let none = ExtentMap::new();
        let drive_room = job.drive.map_or(&none, |drive| drive.room);
        let drive_room = drive_room.difference(group.map_or(&none, |group| group.drive_taken));
        let is_given_up = job.drive.is_some_and(|drive| drive.is_given_up);
        let rooms = Rooms {
            free: volume.complement(job.target.geometry().size_bytes),
            unproven: present.unproven.difference(&kept),
            drive: drive_room,
            is_drive_given_up: is_given_up,
        };
        let is_new = self.staged.is_empty();
        let parts = &self.staged;
        let mut staging = Staging::new(space, rooms, &self.wanted, mark, parts, options.threads)?;
        // All of it is staged then, and only long runs of zeroes that no map tells of would need none;
        // what no one proved free often is nothing else.
        let room_bytes = staging.stager.room_bytes();
        let known = self.plan.copy.difference(&job.usage.unproven);
        let is_full = matches!(self.selection.approach, Approach::Full);
        if is_full && is_new && known.total_bytes() > room_bytes {
            return Err(Error::NoRoom { room_bytes });
        }
        staging.token = self.target_token.map(|token| token.0);
        Ok(Output::Staged(Box::new(staging)))
    }
}
