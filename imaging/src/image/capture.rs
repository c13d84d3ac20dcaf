//! Taking an image: everything of a source that the file does not have yet is added to it, as a new
//! snapshot.

mod audit;
mod conclude;
mod forward;
mod job;
mod known;
mod live;
mod outlook;
mod selected;
mod sums;
mod transfer;
mod work;

pub use forward::{Forward, ForwardGeometry};
pub use job::{CaptureJob, CaptureOptions, CaptureSummary, SourceVolume, Volumes};
pub use live::{LiveCapture, LookAt, LookedAt, capture_live};

use super::append::Append;
use super::writer::{ImageWriter, TreeBuilder};
use crate::change::RungChoice;
use crate::error::{Error, Result};
use crate::live::RestFigures;
use crate::plan::Plan;
use crate::progress::{Event, Observer};
use crate::rung::Rung;
use crate::source;
use conclude::{Began, Ended};
use klon_partition::ExtentMap;
use outlook::Viewed;
use selected::Selected;
use sums::Checks;
use transfer::{Chunks, Transfer};

/// Adds a snapshot of a source to an image.
///
/// # Errors
/// [`Error::Source`], [`Error::SourceChanged`], [`Error::Image`], [`Error::ImageWrite`],
/// [`Error::Interrupted`]: no snapshot was added, those before are as they were, and what is in the
/// file already is not written again by the next run.
pub fn capture<A: Append>(
    job: &CaptureJob<'_>,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    capture_from(job, None, writer, options, observer)
}

/// Adds a snapshot of a stream. The source of the job says how large it is ([`ForwardGeometry`]).
///
/// # Errors
/// As [`capture`]; nothing is committed before the stream has said that it ended well.
pub fn capture_forward<A: Append>(
    job: &CaptureJob<'_>,
    stream: &mut dyn Forward,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    capture_from(job, Some(stream), writer, options, observer)
}

fn capture_from<A: Append>(
    job: &CaptureJob<'_>,
    mut stream: Option<&mut dyn Forward>,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<CaptureSummary> {
    let began = Began::now(writer);
    let plan = plan(job)?;
    begin(job, writer, options)?;
    let viewed = Viewed {
        job,
        plan: &plan,
        header: writer.header(),
        options,
        observer,
    };
    let selected = Selected::by_snapshot(job, options.rung);
    let (mut outlook, selected) = outlook::look(viewed, selected)?;
    let selected = audit::audit(viewed, &mut outlook, selected)?;
    observer.event(&Event::Started {
        name: job.name,
        rung: Some(selected.rung),
        reason: &selected.reason,
        total_bytes: plan.copy.total_bytes(),
    });
    let summed = sums::summed(job)?;
    let checks = Checks::begin(&summed);
    let transfer = Transfer {
        job,
        plan: &plan,
        rung: selected.rung,
        unread: outlook.unread.as_ref(),
        is_searched: !outlook.drafts.is_empty(),
        before: None,
        checks: &checks,
        ice: None,
        options,
        observer,
    };
    let run = transfer.run(&mut stream, Chunks::Tree(TreeBuilder::default()), writer);
    let rest = || stream.map_or(Ok(()), |s| s.check_rest().map_err(Error::Source));
    let mut notes = match run.and_then(|notes| rest().map(|()| notes)) {
        Ok(notes) => notes,
        Err(error) => {
            // The next run can use what is in the file already. Only the first error matters.
            let _ = writer.sync();
            return Err(error);
        }
    };
    notes.read_source_bytes += outlook.figures.audited_bytes;
    let checked = checks.finish(job);
    outlook.figures.join(checked.figures, 0);
    observer.event(&Event::Committing);
    source::check(job.source, job.usage, job.watch)?;
    let drafts = outlook.drafts.into_iter();
    let drafts = drafts.filter(|(part, _)| !checked.unchecked.contains(part));
    let ended = Ended {
        job,
        plan,
        selected,
        figures: outlook.figures,
        drafts: drafts.collect(),
        doubtful: checked.doubtful,
        rest: RestFigures::of(job.consistency),
    };
    let summary = ended.commit(notes, writer, began)?;
    observer.event(&Event::Finished);
    Ok(summary)
}

/// Begins a run that adds to an image.
fn begin<A: Append>(
    job: &CaptureJob<'_>,
    writer: &mut ImageWriter<A>,
    options: &CaptureOptions,
) -> Result<()> {
    if let Some(volumes) = &job.volumes {
        volumes.records.remove_left_over();
    }
    writer.begin_commit()?;
    if options.rung == RungChoice::Only(Rung::Full) {
        writer.forget_chunks();
    }
    Ok(())
}

/// Which bytes of the source go into the image.
fn plan(job: &CaptureJob<'_>) -> Result<Plan> {
    let geometry = job.source.geometry();
    let mut data = ExtentMap::new();
    if let Some(whole) = geometry.extent() {
        data = job.source.data(whole).map_err(Error::Source)?;
    }
    // Unknown bytes must not count as zero.
    data = data.union(&job.bad);
    Plan::new(job.usage, &data, geometry.size_bytes, geometry.size_bytes)
}
