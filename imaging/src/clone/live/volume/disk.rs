//! A disk that is cloned while several of its volumes are in use.

use super::look::{Frozen, Shown};
use super::{Against, Known, Pass};
use crate::change::look::Subject;
use crate::change::{MetadataFigures, Unchanged};
use crate::clone::Job;
use crate::clone::context::Context;
use crate::error::{Error, Result};
use crate::live::{Changing, Earlier, LiveVolume, again, read_again};
use klon_partition::device::Window;
use klon_partition::{Extent, ExtentMap};

impl Pass {
    /// The volumes that are mounted for writing of what is called so, with what the files of all showed.
    pub(in crate::clone::live) fn changing(&self, name: &str) -> Vec<Changing<'_>> {
        let changing = |name: String, part: Option<Extent>| Changing {
            name,
            device: &*self.found.source,
            part,
            figures: &self.figures,
        };
        if self.found.volumes.is_empty() {
            let whole = self.found.source.geometry().extent();
            return vec![changing(name.to_owned(), whole)];
        }
        let mounted = mounted(&self.found.volumes);
        let named = mounted.map(|it| changing(format!("{name}:{}", it.number), Some(it.part)));
        named.collect()
    }
}

/// What is as the pass before found it: volumes that nobody has mounted, and what the files of the others show.
///
/// # Errors
/// [`Error::Source`], [`Error::Interrupted`].
pub(super) fn shown(
    frozen: &Frozen,
    job: &Job<'_>,
    known: &Known,
    with: Context<'_>,
) -> Result<Shown> {
    let found = &frozen.found;
    let volumes = || found.volumes.iter();
    let parts: ExtentMap = mounted(&found.volumes).map(|it| it.part).collect();
    let is_written = known.written_past.is_none() || known.written_past != found.written_past;
    let used = volumes().map(|it| (it.part, &it.usage));
    let wanted = frozen.plan.wanted();
    let outside = read_again(used, (&wanted, &found.usage), is_written);
    let mut proven = known
        .described
        .difference(&parts)
        .difference(&outside)
        .difference(&known.damaged);
    let (mut drafts, mut figures) = (Vec::new(), MetadataFigures::default());
    let path = with.records.evidence_path(job.target_identity);
    for volume in mounted(&found.volumes) {
        // What is written to a volume is no trace in another's files.
        if volumes().filter(|it| it.part.overlaps(volume.part)).count() > 1 {
            continue;
        }
        let window = Window::new(job.source, volume.part).map_err(Error::Source)?;
        let start_bytes = volume.part.offset_bytes();
        let subject = Subject {
            source: &window,
            usage: &volume.usage,
            rested: volume.rested.as_ref(),
            ..job.subject()
        };
        let earlier = Earlier {
            evidence: known.evidence.get(&start_bytes),
            described: &known.described.in_part(volume.part),
            path: &path,
        };
        let walked = again(subject, earlier, &with.options.reliance, with.observer)?;
        if let Some(extents) = walked.proven {
            proven = proven.union(&extents.shifted(start_bytes));
        }
        drafts.extend(walked.draft.map(|draft| (volume.part, draft)));
        figures.join(walked.figures, start_bytes);
    }
    Ok(Shown {
        against: Against::Pass(Some(Unchanged::new(proven, known.described.clone()))),
        drafts,
        figures,
        contents: None,
    })
}

/// The volumes that are mounted for writing.
fn mounted(volumes: &[LiveVolume]) -> impl Iterator<Item = &LiveVolume> {
    volumes.iter().filter(|volume| volume.rested.is_some())
}
