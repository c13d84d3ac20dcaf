//! What is settled before a run: its plan, its rung, what is known of the target, where writes go.

use super::output::{Output, Staging};
use super::pending::recorded;
use super::{CloneOptions, Group, Job, Update};
use crate::change::metadata::check;
use crate::change::{Selection, Situation, distrust, select};
use crate::chunk::first_chunk;
use crate::commit::TargetWriter;
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::intent::{IntentLog, Interrupted, RunMeta, Start, Untouched};
use crate::mark::Mark;
use crate::plan::Plan;
use crate::progress::Observer;
use crate::record::{Record, RecordStore};
use crate::rung::Rung;
use crate::spot::StagedPart;
use crate::stage::{Rooms, Space};
use klon_partition::filesystem::{ChangeToken, probe};
use klon_partition::{Extent, ExtentMap};

/// A job whose plan and rung are settled.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) wanted: ExtentMap,
    /// The first chunk, which comes to the target last.
    first: Extent,
    /// What of `wanted` is metadata whose digests go into the record.
    pub(super) metadata: Option<ExtentMap>,
    pub(super) selection: Selection,
    /// Bytes of the target that were read for the selection.
    pub(super) checked_bytes: u64,
    /// The record that was there, to be believed only in [`Rung::Digest`].
    pub(super) previous: Option<Record>,
    /// The change token of what is on the target.
    pub(super) target_token: Option<ChangeToken>,
    pub(super) is_marked: bool,
    /// What this run marks the target with.
    pub(super) mark: Mark,
    /// The run to be gone on with, in [`Rung::Resume`].
    pub(super) interrupted: Option<Interrupted>,
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
        let loaded = recorded(records, job.target_identity, &job.target, options.threads);
        let (previous, record_fault) = match loaded {
            Ok(record) => (record, None),
            Err(error @ Error::Target(_)) => return Err(error),
            Err(error) => (None, Some(error.to_string())),
        };
        // A log that can't be read says nothing: then the target is compared.
        let interrupted = Interrupted::load(&records.log_path(job.target_identity))
            .ok()
            .flatten();
        let situation = Situation {
            source: job.source_identity,
            source_bytes,
            source_summary: job.usage.summary.as_ref(),
            target_bytes,
            target_summary: on_target.as_ref().map(|filesystem| filesystem.summary()),
            target_token,
            mark: mark.as_ref(),
            interrupted: interrupted.as_ref(),
            record_fault,
        };
        let mut selection = select(options.rung, &situation, previous.as_ref());
        let mut checked_bytes = 0;
        if let (Rung::Digest, Some(record)) = (selection.rung, &previous) {
            let is_cancelled = || observer.is_cancelled();
            let checked = check(&job.target, record, options.threads, &is_cancelled)?;
            checked_bytes = checked.read_bytes;
            if let Some(drift) = checked.drift {
                selection = distrust(options.rung, drift);
            }
        }
        let wanted = plan.wanted();
        let mut own_mark = Mark::new(&job.source_identity.to_string());
        if let (Rung::Resume, Some(interrupted)) = (selection.rung, &interrupted) {
            own_mark.run = interrupted.run;
        }
        Ok(Self {
            first: first_chunk(plan.source_bytes)?,
            plan,
            wanted,
            metadata: None,
            selection,
            checked_bytes,
            previous,
            target_token,
            is_marked: mark.is_some(),
            mark: own_mark,
            interrupted,
        })
    }

    /// The run to be gone on with.
    fn resumed(&self) -> Option<&Interrupted> {
        self.interrupted
            .as_ref()
            .filter(|_| self.selection.rung == Rung::Resume)
    }

    /// Whether what is on the target is to be saved: what an earlier run left unfinished is not.
    fn is_staged(&self, job: &Job<'_>, options: &CloneOptions) -> bool {
        job.present.is_some() && options.update == Update::Staged && !self.is_marked
    }

    /// What interrupted attempts at this update have staged.
    fn staged_parts(&self, job: &Job<'_>, options: &CloneOptions) -> &[StagedPart] {
        let is_meant = |interrupted: &&Interrupted| {
            &interrupted.meta.source == job.source_identity && self.is_staged(job, options)
        };
        let interrupted = self.interrupted.as_ref().filter(is_meant);
        interrupted.map_or(&[], |interrupted| &interrupted.staged)
    }

    /// Begins the log of this run, and takes over what earlier ones have.
    pub(super) fn begin_log(
        &mut self,
        job: &Job<'_>,
        records: &RecordStore,
        options: &CloneOptions,
    ) -> Result<IntentLog> {
        let untouched = match (self.selection.rung, &self.previous) {
            (Rung::Full, _) => Untouched::Nothing,
            (Rung::Digest, Some(record)) => Untouched::Record(Hex(record.digest)),
            _ => Untouched::Unknown,
        };
        let meta = RunMeta {
            source: job.source_identity.clone(),
            target: job.target_identity.clone(),
            source_bytes: self.plan.source_bytes,
            target_bytes: self.plan.target_bytes,
            untouched: self
                .resumed()
                .map_or(untouched, |interrupted| interrupted.meta.untouched),
        };
        let start = Start {
            run: self.mark.run,
            meta: &meta,
            data: &self.plan.copy,
            zero: &self.plan.zero,
            earlier: self.resumed(),
            staged: self.staged_parts(job, options),
        };
        let path = records.log_path(job.target_identity);
        let log = IntentLog::begin(path.clone(), &start)?;
        self.interrupted = Interrupted::load(&path)?;
        Ok(log)
    }

    /// Where writes go: a target that an earlier run left unfinished has nothing to be saved.
    pub(super) fn output<'a>(
        &'a self,
        job: &Job<'a>,
        options: &CloneOptions,
        group: Option<Group<'_>>,
    ) -> Result<Output<'a>> {
        let mark = self.mark.clone();
        let Some(present) = job.present.filter(|_| self.is_staged(job, options)) else {
            let writer = TargetWriter::begin(job.target, &self.wanted, mark, self.first);
            return Ok(Output::InPlace(Box::new(writer)));
        };
        // What the record describes must stay, also where the filesystem has freed it since.
        let described = self
            .previous
            .as_ref()
            .map(Record::wanted)
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
        let parts = self.staged_parts(job, options);
        let is_new = parts.is_empty();
        let mut staging = Staging::new(space, rooms, &self.wanted, mark, (options.threads, parts))?;
        // All of it is staged then, and only long runs of zeroes that no map tells of would need none;
        // what no one proved free often is nothing else.
        let room_bytes = staging.stager.room_bytes();
        let known = self.plan.copy.difference(&job.usage.unproven);
        if self.selection.rung == Rung::Full && is_new && known.total_bytes() > room_bytes {
            return Err(Error::NoRoom { room_bytes });
        }
        staging.token = self.target_token.map(|token| token.0);
        Ok(Output::Staged(Box::new(staging)))
    }
}
