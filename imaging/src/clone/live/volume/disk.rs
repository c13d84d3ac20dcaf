//! A disk that is cloned while several of its volumes are in use.

use super::{Known, Pass};
use crate::change::MetadataFigures;
use crate::change::evidence::Draft;
use crate::change::look::Subject;
use crate::clone::Job;
use crate::clone::context::Context;
use crate::clone::live::Found;
use crate::error::{Error, Result};
use crate::live::{Changing, Earlier, LiveVolume, Past, again, read_again};
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

/// What the volumes of a disk showed.
pub(super) struct Shown {
    /// What is as it was at the pass before.
    pub(super) proven: ExtentMap,
    /// What tells the files unchanged at the next look, with where their volumes lie.
    pub(super) drafts: Vec<(Extent, Draft)>,
    pub(super) figures: MetadataFigures,
}

/// What is as the pass before found it of what is `wanted`: volumes that nobody has mounted, and what the files of the others show.
///
/// # Errors
/// [`Error::Source`], [`Error::Interrupted`].
pub(super) fn shown(
    (found, wanted): (&Found, &ExtentMap),
    job: &Job<'_>,
    known: &Known,
    with: Context<'_>,
) -> Result<Shown> {
    let volumes = || found.volumes.iter();
    let parts: ExtentMap = mounted(&found.volumes).map(|it| it.part).collect();
    let past = Past::between(known.written_past, found.written_past);
    let used = volumes().map(|it| (it.part, &it.usage));
    let outside = read_again(used, (wanted, &found.usage), past);
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
        proven: proven.difference(&outside),
        drafts,
        figures,
    })
}

/// The volumes that are mounted for writing.
fn mounted(volumes: &[LiveVolume]) -> impl Iterator<Item = &LiveVolume> {
    volumes.iter().filter(|volume| volume.rested.is_some())
}
