//! The look at a source at rest, with which a pass begins.

use super::way::Staging;
use super::{Pass, Volume};
use crate::change::evidence::Draft;
use crate::change::look::{Rested, Subject};
use crate::change::outlook::Purpose;
use crate::change::{MetadataFigures, Reliance, Unchanged};
use crate::chunk;
use crate::clone::context::Context;
use crate::clone::live::Consistency;
use crate::clone::live::Found;
use crate::clone::outlook::{self, Outlook, Viewed};
use crate::clone::prepared::{OnTarget, Prepared, data};
use crate::clone::{CloneOptions, Job, structures, within};
use crate::error::{Error, Result};
use crate::live::{Ice, Walked, again, unmapped};
use crate::plan::Plan;
use klon_partition::filesystem::Basis;
use klon_partition::{Extent, ExtentMap};
use std::sync::Arc;

/// What the files of a source showed.
struct Shown {
    /// What is as it was at the pass before.
    unchanged: Option<Unchanged>,
    draft: Option<Draft>,
    figures: MetadataFigures,
    /// The contents of regular files, where those are known.
    contents: Option<ExtentMap>,
}

impl Shown {
    /// What a pass showed, against one that described that.
    fn of(shown: Walked, described: &ExtentMap) -> Self {
        let unchanged = |proven| Unchanged::new(proven, described.clone());
        Self {
            unchanged: shown.proven.map(unchanged),
            draft: shown.draft,
            figures: shown.figures,
            contents: shown.contents,
        }
    }
}

impl Volume<'_> {
    /// Looks at the source, which is at rest: what is in use, and what of it is as it was.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Interrupted`]; [`Error::Refused`] when its map can't be believed at
    /// rest either.
    pub(in crate::clone::live) fn look(
        &mut self,
        ice: &Ice<'_>,
        with: Context<'_>,
    ) -> Result<Pass> {
        let found = (self.live.look)()?;
        self.check(&found)?;
        let job = Job {
            source: &*found.source,
            usage: &found.usage,
            ..self.live.job
        };
        let source_bytes = found.source.geometry().size_bytes;
        let target_bytes = job.target.geometry().size_bytes;
        let plan = Plan::new(&found.usage, &data(&job)?, source_bytes, target_bytes)?;
        let wanted = plan.wanted();
        let rested = Rested {
            since: ice.since(),
            consistency: found.consistency,
            session: found.session.clone(),
        };
        let subject = Subject {
            rested: Some(&rested),
            ..job.subject()
        };
        // The passes rely on the files in any case.
        let options = CloneOptions {
            reliance: Reliance {
                is_off: false,
                ..with.options.reliance
            },
            ..*with.options
        };
        let with = Context {
            options: &options,
            ..with
        };
        let shown = match self.on_target.take() {
            Some(on_target) => {
                let viewed = Viewed {
                    job: &job,
                    subject,
                    plan: &plan,
                    purpose: Purpose::Run,
                };
                self.first(on_target, viewed, with)?
            }
            None => {
                let path = with.records.evidence_path(job.target_identity);
                let evidence = self.known.evidence.as_ref();
                let before = (evidence, &self.known.described, &*path);
                let shown = again(subject, before, &options.reliance, with.observer)?;
                Shown::of(shown, &self.known.described)
            }
        };
        let known = shown.contents.as_ref();
        let metadata = structures::metadata(&job, &plan, known, &options.reliance)?;
        if let Some(staging) = &self.staging {
            staging.keep_off(&wanted);
        }
        let mut pass = Pass {
            found,
            plan,
            wanted,
            metadata,
            unchanged: shown.unchanged,
            draft: shown.draft,
            figures: shown.figures,
            unproven_bytes: 0,
        };
        pass.unproven_bytes = self.unproven_bytes(&pass);
        Ok(pass)
    }

    fn check(&self, found: &Found) -> Result<()> {
        let base = &self.live.job;
        if found.source.geometry().size_bytes != base.source.geometry().size_bytes {
            return Err(Error::SourceChanged("it has another size".to_owned()));
        }
        // What is read-only shows no writes, and needs no token for them.
        let is_read_only = found.consistency == Consistency::ReadOnly;
        let is_shown = is_read_only || found.usage.token.is_some();
        if found.usage.basis == Basis::Map && is_shown {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{} can't be cloned while it is mounted: {}. Unmount it first",
            base.name,
            unmapped(&found.usage)
        )))
    }

    /// What the files show against the record of the last clone, and how the run begins after that.
    fn first(
        &mut self,
        on_target: OnTarget,
        viewed: Viewed<'_>,
        with: Context<'_>,
    ) -> Result<Shown> {
        let look = |selection| outlook::look(viewed, with, selection);
        let (on_target, outlook) = on_target.with_selection(look)?;
        let Outlook {
            figures,
            draft,
            contents,
            ..
        } = outlook;
        let prepared = Prepared::of(viewed.job, on_target, viewed.plan.clone())?;
        let staging = Staging::begin(&self.live.job, &prepared, self.has_drive_room)?;
        self.staging = staging.map(Arc::new);
        self.prepared = Some(prepared);
        self.done.figures = MetadataFigures {
            metadata_read_bytes: 0,
            ..figures.clone()
        };
        Ok(Shown {
            unchanged: None,
            draft,
            figures,
            contents,
        })
    }

    /// What would have to be read.
    fn unproven_bytes(&self, pass: &Pass) -> u64 {
        let prepared = self.prepared.as_ref();
        let proof = prepared.and_then(|prepared| prepared.selection.approach.proof());
        let unchanged = match self.last {
            None => proof.map(|proof| &proof.unchanged),
            Some(_) => pass.unchanged.as_ref(),
        };
        let chunks = chunk::chunks(&pass.wanted, pass.plan.source_bytes);
        let is_read = |chunk: &Extent| {
            let wanted = within(&pass.wanted, *chunk);
            chunk.offset_bytes() == 0 || unchanged.is_none_or(|it| !it.covers(*chunk, &wanted))
        };
        let copied = |chunk| pass.plan.copy.within(chunk).map(Extent::len_bytes);
        chunks.filter(is_read).flat_map(copied).sum()
    }
}
