//! The look at a source at rest, with which a pass begins.

use super::super::job::{CaptureJob, CaptureOptions, SourceVolume, Volumes};
use super::super::outlook::{self, Beforehand, Unread, Viewed};
use super::super::plan;
use super::super::selected::Selected;
use super::{LiveCapture, LookedAt, Run};
use crate::change::evidence::Draft;
use crate::change::{MetadataFigures, Reliance, Unchanged};
use crate::chunk::ChunkSize;
use crate::error::{Error, Result};
use crate::image::header::Header;
use crate::live::{Ice, LiveVolume, Looking, Twice};
use crate::plan::Plan;
use crate::progress::Observer;
use crate::record::ImageSource;
use klon_partition::filesystem::Basis;
use klon_partition::{Extent, ReadAt};

/// What was found of a source at the start of a pass, at rest.
pub(super) struct Pass {
    pub(super) found: LookedAt,
    /// What was read of volumes that can't be brought to rest, if there are any.
    pub(super) twice: Option<Twice>,
    pub(super) plan: Plan,
    pub(super) selected: Selected,
    /// What is as the image has it; `None` when nothing shows that.
    pub(super) unread: Option<Unread>,
    /// What tells the files of mounted volumes unchanged at the next look, with where the volumes lie.
    pub(super) drafts: Vec<(Extent, Draft)>,
    pub(super) figures: MetadataFigures,
}

impl Pass {
    /// The job, with the source as it was found.
    pub(super) fn job<'p>(&'p self, live: &LiveCapture<'p>) -> CaptureJob<'p> {
        job(live, &self.found)
    }

    /// What would have to be read.
    pub(super) fn unproven_bytes(&self, chunk_size: ChunkSize) -> u64 {
        let chunks = chunk_size.chunks(&self.plan.copy, self.plan.source_bytes);
        let is_read = |chunk: &Extent| {
            let unread = self.unread.as_ref();
            unread.is_none_or(|unread| !unread.covers(*chunk))
        };
        let copied = |chunk| self.plan.copy.within(chunk).map(Extent::len_bytes);
        chunks.filter(is_read).flat_map(copied).sum()
    }
}

fn job<'p>(live: &LiveCapture<'p>, found: &'p LookedAt) -> CaptureJob<'p> {
    let of = |volume: &'p LiveVolume| SourceVolume {
        number: volume.number,
        part: volume.part,
        usage: &volume.usage,
        rested: volume.rested.as_ref(),
    };
    let volumes = live.job.volumes.as_ref().map(|volumes| Volumes {
        all: found.source.volumes.iter().map(of).collect(),
        ..volumes.clone()
    });
    CaptureJob {
        source: &*found.source.source,
        usage: &found.source.usage,
        partitions: found.partitions.clone(),
        volumes,
        watch: None,
        ..live.job.clone()
    }
}

/// What is found of the volumes that nobody has mounted for writing, before the others are brought to rest:
/// they do not change.
///
/// # Errors
/// [`Error::Source`], [`Error::Interrupted`].
pub(super) fn beforehand(
    live: &LiveCapture<'_>,
    header: &Header,
    options: &CaptureOptions,
    observer: &dyn Observer,
) -> Result<Beforehand> {
    let job = &live.job;
    let viewed = Viewed {
        job,
        plan: &plan(job)?,
        header,
        options: &relying(options),
        observer,
    };
    let selected = Selected::by_snapshot(job, options.rung);
    let is_still = |part| !live.mounted.overlaps(part);
    outlook::beforehand(viewed, selected.rung, &is_still)
}

/// The passes rely on the files in any case.
fn relying(options: &CaptureOptions) -> CaptureOptions {
    CaptureOptions {
        reliance: Reliance {
            is_off: false,
            ..options.reliance
        },
        ..*options
    }
}

impl Run<'_> {
    /// Looks at the source, which is at rest: what is in use, and what of it is as it was.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Interrupted`]; [`Error::Refused`] when a mounted volume's map can't be
    /// believed at rest either.
    pub(super) fn look(&mut self, ice: &Ice<'_>, header: &Header) -> Result<Pass> {
        let mut found = (self.live.look)(ice.since())?;
        self.check(&found)?;
        let twice = Twice::of(&mut found.source);
        let job = job(self.live, &found);
        let plan = plan(&job)?;
        let options = relying(self.options);
        let looked = match self.is_first() {
            true => self.first(&job, &plan, header, &options)?,
            false => self.again(&found, &job, &plan, (header, &options))?,
        };
        drop(job);
        self.done.metadata_read_bytes += looked.figures.metadata_read_bytes;
        Ok(Pass {
            found,
            twice,
            plan,
            selected: self.selected.clone(),
            unread: looked.unread,
            drafts: looked.drafts,
            figures: looked.figures,
        })
    }

    fn check(&self, found: &LookedAt) -> Result<()> {
        let base = &self.live.job;
        let is_same_size = found.source.source.geometry() == base.source.geometry();
        if !is_same_size {
            return Err(Error::SourceChanged("it has another size".to_owned()));
        }
        for volume in found.source.mounted() {
            if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &volume.usage.basis {
                return Err(Error::Refused(format!(
                    "{} can't be imaged while it is mounted: {reason}. Unmount it first",
                    base.name
                )));
            }
        }
        Ok(())
    }

    /// What the files show against the snapshot before.
    fn first(
        &mut self,
        job: &CaptureJob<'_>,
        plan: &Plan,
        header: &Header,
        options: &CaptureOptions,
    ) -> Result<outlook::Outlook> {
        let viewed = Viewed {
            job,
            plan,
            header,
            options,
            observer: self.observer,
        };
        let selected = Selected::by_snapshot(job, options.rung);
        let beforehand = std::mem::take(&mut self.beforehand);
        let (mut found, selected) = outlook::look_beside(viewed, selected, beforehand)?;
        self.selected = selected;
        self.done.figures = MetadataFigures {
            metadata_read_bytes: 0,
            ..found.figures.clone()
        };
        let drafts = std::mem::take(&mut found.drafts).into_iter();
        let is_mounted = |(part, _): &(Extent, Draft)| mounted(job).any(|it| it.part == *part);
        (found.drafts, self.apart) = drafts.partition(is_mounted);
        Ok(found)
    }

    /// What is as the pass before found it.
    fn again(
        &self,
        found: &LookedAt,
        job: &CaptureJob<'_>,
        plan: &Plan,
        (header, options): (&Header, &CaptureOptions),
    ) -> Result<outlook::Outlook> {
        let Some(volumes) = &job.volumes else {
            return Ok(outlook::Outlook::default());
        };
        let path = |partition| {
            let of = ImageSource {
                identity: job.source_identity,
                given_name: job.given_name.as_deref(),
                partition,
            };
            volumes.records.image_evidence_path(header.uuid, of)
        };
        let looking = Looking {
            continuity: volumes.continuity,
            written_by: volumes.written_by,
            path: &path,
            reliance: &options.reliance,
            observer: self.observer,
        };
        let (known, wanted) = (&self.known, plan.wanted());
        let shown = known.last.shown(&found.source, &wanted, &looking)?;
        Ok(outlook::Outlook {
            unread: Some(Unread {
                unchanged: Unchanged::new(shown.proven, known.last.described.clone()),
                wanted,
                signatures: known.signatures.clone(),
            }),
            drafts: shown.drafts,
            figures: shown.figures,
        })
    }
}

/// The volumes that are mounted for writing.
fn mounted<'j>(job: &'j CaptureJob<'_>) -> impl Iterator<Item = &'j SourceVolume<'j>> {
    let all = job.volumes.iter().flat_map(|volumes| &volumes.all);
    all.filter(|volume| volume.rested.is_some())
}
