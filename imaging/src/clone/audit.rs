//! The audit of what a clone would leave unread.

use super::Job;
use super::context::Context;
use super::outlook::Outlook;
use super::prepared::{Prepared, Unread};
use crate::change::audit::{
    Account, FILES_MAX, ITS_METADATA, Sample, Sampling, Task, disabled, fallen, named,
};
use crate::change::{Approach, AuditResult, Proof, Selection, Tracked};
use crate::chunk::{CHUNK_LEN, read_data};
use crate::error::{Error, Result};
use klon_partition::ReadAt;
use klon_partition::filesystem::owners;
use std::sync::Arc;

/// Reads a sample of what `prepared` would leave unread, and notes in `outlook` what it showed. When the
/// sample is not as the record says, the run becomes one that reads everything.
///
/// # Errors
/// [`Error::Source`], [`Error::Target`], [`Error::RecordIo`], [`Error::Interrupted`].
pub(super) fn audit(
    job: &Job<'_>,
    prepared: &mut Prepared,
    outlook: &mut Outlook,
    with: Context<'_>,
) -> Result<()> {
    let Some(proof) = prepared.selection.approach.proof() else {
        return Ok(());
    };
    let budget_bytes = with
        .options
        .reliance
        .audit
        .budget_bytes(job.usage.used_bytes());
    if budget_bytes == 0 {
        return Ok(());
    }
    let draft = outlook.draft.as_ref();
    let sampling = Sampling {
        source: job.source,
        budget_bytes,
        cursor_bytes: draft.map_or(0, |draft| draft.meta.audit_cursor_bytes),
        flow: with.options.threads.into(),
        chunk_len: CHUNK_LEN,
        digested: prepared.digested,
        observer: with.observer,
    };
    let Sample {
        read_bytes,
        cursor_bytes,
        differs,
    } = sampling.sample(
        || tasks(prepared, proof),
        |task, current| {
            let target: &dyn ReadAt = &job.target;
            let stored = task.described.as_ref().unwrap_or(&task.copy);
            let read = read_data(target, task.chunk, stored, current);
            read.map(drop).map_err(Error::Target)
        },
    )?;
    let record = Arc::clone(&proof.record);
    let figures = &mut outlook.figures;
    figures.audited_bytes = read_bytes;
    if let Some(draft) = &mut outlook.draft {
        draft.meta.audit_cursor_bytes = cursor_bytes;
    }
    if differs.is_empty() {
        if read_bytes > 0 {
            figures.audit = AuditResult::Passed;
        }
        return Ok(());
    }
    figures.audit = AuditResult::Failed;
    figures.audit_files = owners(&job.source, &differs, FILES_MAX).files;
    figures.is_audit_of_tracked = matches!(prepared.selection.approach, Approach::Tracked(_));
    let what = named(&figures.audit_files);
    let account = account(job, &prepared.selection);
    if let Some(draft) = &mut outlook.draft {
        draft.meta.disable(disabled(&what, account));
    }
    prepared.selection = Selection {
        // Without a token the target was believed by the very heuristic that failed.
        approach: match record.manifest.token {
            Some(_) => Approach::Digest(record),
            None => Approach::Compare,
        },
        reason: fallen(&what, account),
    };
    Ok(())
}

/// What should have told of a change.
const fn account(job: &Job<'_>, selection: &Selection) -> Account {
    match (&selection.approach, job.tracked) {
        (Approach::Tracked(_), Some(Tracked::Bitmap { .. })) => Account {
            name: "the bitmap",
            verb: "name",
        },
        (Approach::Tracked(_), _) => Account {
            name: "the list of changed ranges",
            verb: "name",
        },
        _ => ITS_METADATA,
    }
}

/// The chunks that would be left unread, and parts of others.
fn tasks<'a>(
    prepared: &'a Prepared,
    proof: &'a Proof,
) -> Result<impl Iterator<Item = Result<Task<()>>> + Send + 'a> {
    let items = proof.record.digests()?;
    let tasks = items.map(|item| {
        let (chunk, digest) = item?;
        let task = |unread: Unread| Task {
            chunk,
            copy: unread.extents,
            digest,
            described: unread.described,
            stored: (),
        };
        Ok(prepared.unread(proof, chunk).map(task))
    });
    Ok(tasks.filter_map(Result::transpose))
}
