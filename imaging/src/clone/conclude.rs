//! The end of a run: what was freed, and the new record.

use super::context::Context;
use super::outlook::{self, Kept};
use super::prepared::Prepared;
use super::run::{Notes, Run};
use super::{CloneSummary, Freed, Job};
use crate::chunk::CHUNK_BYTES;
use crate::clock::{milliseconds, unix_seconds_now};
use crate::error::{Error, Result};
use crate::hex::Hex;
use crate::plan::Plan;
use crate::record::manifest::{FilesystemId, Skipped};
use crate::record::{CompleteRecord, Manifest, Record, RunEntry};
use crate::tally::Tally;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{ChangeToken, Worthless, probe};
use std::time::Duration;

/// Whatever fails after the commit, the clone is whole; but what failed on the target itself may be
/// more than a lost record.
pub(super) fn after_commit(error: Error) -> Error {
    match error {
        Error::Target(_) => error,
        error => Error::AfterCommit(Box::new(error)),
    }
}

/// Treats freed space, keeps the record of a clone that is in its place, and sums up. A pending record of an
/// earlier run that was never completed is of no use any more, and goes.
pub(super) fn conclude(
    run: Run<'_>,
    with: Context<'_>,
    written_bytes: u64,
) -> Result<CloneSummary> {
    let job = run.job;
    let freed_bytes = treat_freed(&run_freed(run.prepared), job, with.options.freed)?;
    let written = Written {
        in_place_bytes: written_bytes,
        staged_bytes: 0,
        token: target_token(job)?,
    };
    let (mut summary, record, kept) = record(job, run.prepared, run.notes, written)?;
    let digest = record.digest();
    record.replace()?;
    summary.kept(kept, digest);
    with.records.remove_pending(job.target_identity)?;
    with.records.remove_log(job.target_identity)?;
    Ok(CloneSummary {
        freed_bytes,
        ..summary
    })
}

/// What a run wrote to its target.
#[derive(Clone, Copy)]
pub(super) struct Written {
    /// Bytes that were written in place or made zero there.
    pub(super) in_place_bytes: u64,
    /// Bytes that were written to free room first.
    pub(super) staged_bytes: u64,
    /// The change token that the target has then.
    pub(super) token: Option<ChangeToken>,
}

/// The record of a run, complete and durable but not in its place, and what the run did.
pub(super) fn record(
    job: &Job<'_>,
    prepared: &Prepared,
    notes: Notes,
    written: Written,
) -> Result<(CloneSummary, CompleteRecord, Option<Kept>)> {
    let Notes {
        started,
        mut digests,
        metadata,
        changed,
        read_source_bytes,
        read_target_bytes,
        signatures,
        is_all_seen,
        mut outlook,
        rest: notes_rest,
    } = notes;
    let plan = &prepared.plan;
    let changed = changed.finish();
    let elapsed = started.elapsed();
    let filled = job.filled().within(&plan.copy);
    digests.set_bad(filled.extents.clone(), filled.texts.clone());
    digests.set_left_out(plan.left_out.clone());
    digests.set_own_identity(job.own_identity.cloned());
    let summary = CloneSummary {
        name: job.name.to_owned(),
        run: prepared.mark.run,
        rung: prepared.selection.rung(),
        reason: prepared.selection.reason.clone(),
        source_bytes: plan.source_bytes,
        tally: Tally {
            used_bytes: job.usage.used_bytes(),
            read_source_bytes,
            read_target_bytes,
            changed_bytes: changed.total_bytes(),
            written_bytes: written.in_place_bytes,
            staged_bytes: written.staged_bytes,
        },
        unproven_bytes: plan.unproven.total_bytes(),
        left_out: plan.left_out.clone(),
        is_replayed: job.usage.is_replayed,
        shrunk_from_bytes: job.usage.shrunk_from_bytes,
        checked_bytes: prepared.checked_bytes,
        freed_bytes: 0,
        bad: filled.extents,
        bad_fill: filled.texts,
        metadata: std::mem::take(&mut outlook.figures),
        rest: notes_rest,
        seconds: elapsed.as_secs_f64(),
    };
    let mut manifest = manifest(job, plan, prepared.previous.as_deref(), written.token);
    manifest.run = Some(prepared.mark.run);
    manifest.consistency = summary.rest.consistency;
    // Of a source with a token they would say nothing without the target's.
    let is_of_use = manifest.token.is_some() || job.usage.token.is_none();
    if let Some(metadata) = metadata.filter(|_| is_of_use) {
        manifest.metadata_digest = Some(Hex(metadata.digest()));
        digests.keep_metadata(metadata);
    }
    manifest.remember(entry(&summary, elapsed));
    let record = digests.complete(&manifest, &plan.copy, &plan.zero, &changed)?;
    let kept = outlook.kept(is_all_seen, signatures.finish());
    Ok((summary, record, kept))
}

impl CloneSummary {
    /// Keeps evidence, now that the record of that digest is in its place. It is no failure of the clone
    /// when that fails.
    pub(super) fn kept(&mut self, kept: Option<Kept>, record: [u8; 32]) {
        if let Some(reason) = outlook::keep(kept, record) {
            self.metadata.next_reads_all_because = Some(reason);
        }
    }
}

/// The run, as the record remembers it.
fn entry(summary: &CloneSummary, elapsed: Duration) -> RunEntry {
    RunEntry {
        ended_unix_seconds: unix_seconds_now(),
        rung: summary.rung,
        reason: summary.reason.clone(),
        is_replayed: summary.is_replayed,
        shrunk_from_bytes: summary.shrunk_from_bytes,
        tally: summary.tally,
        milliseconds: milliseconds(elapsed),
    }
}

/// What the previous run copied and this one did not: what is left out by choice was not freed.
pub(super) fn run_freed(prepared: &Prepared) -> ExtentMap {
    prepared
        .previous
        .as_ref()
        .map(|record| record.wanted().difference(&prepared.wanted))
        .map(|freed| freed.difference(&prepared.plan.left_out))
        .unwrap_or_default()
}

pub(super) fn treat_freed(freed: &ExtentMap, job: &Job<'_>, treatment: Freed) -> Result<u64> {
    if treatment == Freed::Leave || freed.is_empty() {
        return Ok(0);
    }
    let size_bytes = job.target.geometry().size_bytes;
    let mut freed_bytes = 0;
    for extent in freed
        .iter()
        .filter(|extent| extent.end_bytes() <= size_bytes)
    {
        match treatment {
            Freed::Zero => job.target.zero(extent).map_err(Error::Target)?,
            Freed::Discard => job.target.discard(extent).map_err(Error::Target)?,
            Freed::Leave => {}
        }
        freed_bytes += extent.len_bytes();
    }
    job.target.sync().map_err(Error::Target)?;
    Ok(freed_bytes)
}

/// The change token of what is on the target now.
pub(crate) fn target_token(job: &Job<'_>) -> Result<Option<ChangeToken>> {
    match probe(&job.target).map_err(Error::Target)? {
        // The token is of the target, not of the source: it is the target that must be
        // recognized next time. A source that was copied whole because its filesystem could not
        // be believed gets none.
        Some(filesystem) if job.usage.token.is_some() => {
            filesystem.change_token(&job.target).map_err(Error::Target)
        }
        _ => Ok(None),
    }
}

/// What the record keeps of contents that were left out.
fn skipped(one: &Worthless) -> Skipped {
    Skipped {
        path: one.path.clone(),
        skipped_bytes: one.extents.total_bytes(),
    }
}

/// The manifest of the clone as it is on the target now.
pub(crate) fn manifest(
    job: &Job<'_>,
    plan: &Plan,
    previous: Option<&Record>,
    token: Option<ChangeToken>,
) -> Manifest {
    let previous = previous.filter(|record| &record.manifest.source == job.source_identity);
    let history = previous
        .map(|record| record.manifest.history.clone())
        .unwrap_or_default();
    Manifest {
        source: job.source_identity.clone(),
        target: job.target_identity.clone(),
        source_bytes: plan.source_bytes,
        target_bytes: plan.target_bytes,
        chunk_bytes: CHUNK_BYTES,
        filesystem: job.usage.summary.as_ref().map(FilesystemId::from),
        token: token.map(Into::into),
        metadata_digest: None,
        run: None,
        role: job.role,
        consistency: job.consistency(),
        outside: job.usage.choice,
        skipped: job.usage.skipped.iter().map(skipped).collect(),
        grown: Vec::new(),
        is_dormant: previous.is_some_and(|record| record.manifest.is_dormant),
        history,
    }
}
