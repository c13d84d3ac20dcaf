//! The audit of what an image would leave unread.

use super::super::reference::Reference;
use super::super::snapshot::Snapshot;
use super::known::Known;
use super::outlook::{Outlook, Unread, Viewed};
use super::selected::Selected;
use super::{CaptureJob, Volumes};
use crate::change::AuditResult;
use crate::change::audit::{
    FILES_MAX, ITS_METADATA, Sample, Sampling, Task, disabled, fallen, named,
};
use crate::chunk::{ChunkSize, Digested};
use crate::error::Result;
use crate::pipeline::Flow;
use crate::plan::Plan;
use crate::rung::Rung;
use klon_partition::device::Window;
use klon_partition::filesystem::{Owner, owners};
use klon_partition::{Extent, ExtentMap};

/// Reads a sample of what would be left unread. When that is not as the snapshot before has it, the run
/// becomes one that reads everything.
///
/// # Errors
/// [`crate::Error::Source`], [`crate::Error::Interrupted`].
pub(super) fn audit(
    viewed: Viewed<'_>,
    outlook: &mut Outlook,
    selected: Selected,
) -> Result<Selected> {
    let Viewed {
        job,
        plan,
        options,
        observer,
        ..
    } = viewed;
    let chunk_size = viewed.header.chunk_size;
    let used_bytes = job.usage.used_bytes();
    let budget_bytes = options.reliance.audit.budget_bytes(used_bytes);
    let (Some(unread), Some(previous)) = (&outlook.unread, job.previous) else {
        return Ok(selected);
    };
    if budget_bytes == 0 {
        return Ok(selected);
    }
    let cursors = outlook
        .drafts
        .iter()
        .map(|(_, draft)| draft.meta.audit_cursor_bytes);
    let chunk_len = chunk_size.buffer_len();
    let sampling = Sampling {
        source: job.source,
        budget_bytes,
        cursor_bytes: cursors.max().unwrap_or(0),
        flow: Flow::of_items(options.threads, chunk_len, chunk_len),
        chunk_len,
        digested: Digested::Whole,
        observer,
    };
    let Sample {
        read_bytes,
        cursor_bytes,
        differs,
    } = sampling.sample(
        || Ok(tasks(plan, unread, previous, chunk_size)),
        |task, stored| {
            // What can't be read shows nothing: then all of the chunk counts that is not zero.
            if previous.read_chunk(&task.stored, stored).is_err() {
                stored.fill(0);
            }
            Ok(())
        },
    )?;
    let figures = &mut outlook.figures;
    figures.audited_bytes = read_bytes;
    for (_, draft) in &mut outlook.drafts {
        draft.meta.audit_cursor_bytes = cursor_bytes;
    }
    if differs.is_empty() {
        if read_bytes > 0 {
            figures.audit = AuditResult::Passed;
        }
        return Ok(selected);
    }
    figures.audit = AuditResult::Failed;
    figures.audit_files = files(job, &differs);
    let what = named(&figures.audit_files);
    for (_, draft) in &mut outlook.drafts {
        draft.meta.disable(disabled(&what, ITS_METADATA));
    }
    outlook.unread = None;
    let reason = fallen(&what, ITS_METADATA);
    Ok(Selected::new(Rung::Digest, reason))
}

/// The chunks that would be left unread, and parts of others.
fn tasks<'a>(
    plan: &'a Plan,
    unread: &'a Unread,
    previous: &'a Snapshot,
    chunk_size: ChunkSize,
) -> impl Iterator<Item = Result<Task<Reference>>> + Send + 'a {
    let mut known = Known::new(Some(previous));
    let chunks = chunk_size.chunks(&plan.copy, plan.source_bytes);
    chunks.filter_map(move |chunk| {
        let stored = known.at(chunk_size.index(chunk.offset_bytes()))?;
        let is_same_len = u64::from(stored.plain_bytes) == chunk.len_bytes();
        let copy: Vec<Extent> = plan.copy.within(chunk).collect();
        let (copy, described) = match unread.covers(chunk) {
            true => (copy, None),
            false => {
                let part = unread.in_part(chunk, &copy)?;
                (part.proven, Some(part.described))
            }
        };
        let task = Task {
            chunk,
            copy,
            digest: stored.digest,
            described,
            stored,
        };
        is_same_len.then_some(Ok(task))
    })
}

/// The files that have some of `extents`. Of a partition, its number and a colon stand before each path.
fn files(job: &CaptureJob<'_>, extents: &ExtentMap) -> Vec<Owner> {
    let volumes = job.volumes.iter().flat_map(|Volumes { all, .. }| all);
    let mut files = Vec::new();
    for volume in volumes {
        let Ok(window) = Window::new(job.source, volume.part) else {
            continue;
        };
        let found = owners(
            &window,
            &extents.in_part(volume.part),
            FILES_MAX - files.len(),
        );
        files.extend(found.files.into_iter().map(|file| {
            Owner {
                path: match volume.number {
                    0 => file.path,
                    number => format!("{number}:{}", file.path),
                },
                extent: file
                    .extent
                    .shifted(volume.part.offset_bytes())
                    .unwrap_or(file.extent),
                ..file
            }
        }));
    }
    files
}
