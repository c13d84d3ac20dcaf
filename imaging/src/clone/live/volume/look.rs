//! The look at a source at rest, with which a pass begins.

use super::way::Staging;
use super::{Against, Done, Known, Pass, Volume, Waiting};
use crate::change::evidence::Draft;
use crate::change::look::{Rested, Subject};
use crate::change::outlook::Purpose;
use crate::change::{MetadataFigures, Reliance, Unchanged};
use crate::chunk;
use crate::clone::context::Context;
use crate::clone::live::{Consistency, LiveJob};
use crate::clone::outlook::{self, Outlook, Viewed};
use crate::clone::prepared::{Prepared, data};
use crate::clone::{CloneOptions, Job, structures, within};
use crate::error::{Error, Result};
use crate::live::{self, Ice, LastPass, LiveSource, Looking, Twice, unmapped};
use crate::plan::Plan;
use klon_partition::filesystem::Basis;
use klon_partition::{Extent, ExtentMap};
use std::sync::Arc;

/// A source at rest, and what of it goes to the target.
struct Frozen {
    found: LiveSource,
    twice: Option<Twice>,
    plan: Plan,
    rested: Rested,
}

impl Frozen {
    /// Looks at the source, which is at rest: what is in use.
    fn look(live: &LiveJob<'_>, ice: &Ice<'_>) -> Result<Self> {
        let mut found = (live.look)(ice.since())?;
        check(&live.job, &found)?;
        let twice = Twice::of(&mut found);
        let job = job(live, &found);
        let source_bytes = found.source.geometry().size_bytes;
        let target_bytes = job.target.geometry().size_bytes;
        let plan = Plan::new(&found.usage, &data(&job)?, source_bytes, target_bytes)?;
        let rested = Rested {
            since: ice.since(),
            consistency: found.consistency,
            session: found.session().cloned(),
        };
        Ok(Self {
            found,
            twice,
            plan,
            rested,
        })
    }

    /// What its files show against the pass before.
    fn shown(&self, job: &Job<'_>, last: &LastPass, with: Context<'_>) -> Result<live::Shown> {
        let looking = Looking {
            continuity: job.continuity,
            written_by: job.written_by,
            path: &|_| with.records.evidence_path(job.target_identity),
            reliance: &with.options.reliance,
            observer: with.observer,
        };
        last.shown(&self.found, &self.plan.wanted(), &looking)
    }

    fn subject<'s>(&'s self, job: &'s Job<'_>) -> Subject<'s> {
        Subject {
            rested: Some(&self.rested),
            ..job.subject()
        }
    }
}

/// The job, with the source as it was found at rest.
pub(super) fn job<'p>(live: &LiveJob<'p>, found: &'p LiveSource) -> Job<'p> {
    Job {
        source: &*found.source,
        usage: &found.usage,
        ..live.job
    }
}

/// Checks that a source at rest can be copied in passes.
fn check(base: &Job<'_>, found: &LiveSource) -> Result<()> {
    if found.source.geometry().size_bytes != base.source.geometry().size_bytes {
        return Err(Error::SourceChanged("it has another size".to_owned()));
    }
    for volume in found.mounted() {
        let usage = &volume.usage;
        let consistency = volume.rested.as_ref().map(|rested| rested.consistency);
        // What is read-only or read twice shows no writes, and needs no token for them.
        let needs_none = [Consistency::ReadOnly, Consistency::ReadTwice];
        let is_shown =
            consistency.is_some_and(|it| needs_none.contains(&it)) || usage.token.is_some();
        if usage.basis != Basis::Map || !is_shown {
            return Err(Error::Refused(format!(
                "{} can't be cloned while it is mounted: {}. Unmount it first",
                base.name,
                unmapped(usage)
            )));
        }
    }
    Ok(())
}

/// The passes rely on the files in any case.
const fn relying(options: &CloneOptions) -> CloneOptions {
    CloneOptions {
        reliance: Reliance {
            is_off: false,
            ..options.reliance
        },
        ..*options
    }
}

/// A draft of all of the source.
fn with_place(draft: Option<Draft>, job: &Job<'_>) -> Vec<(Extent, Draft)> {
    let whole = job.source.geometry().extent();
    whole.zip(draft).into_iter().collect()
}

/// What the files of a source showed.
struct Shown {
    against: Against,
    drafts: Vec<(Extent, Draft)>,
    figures: MetadataFigures,
    /// The contents of regular files, if those are known.
    contents: Option<ExtentMap>,
}

impl<'a> Waiting<'a> {
    /// Looks at the source, which is at rest, for the first time. What its files show against the record of
    /// the last clone settles how the run begins.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Interrupted`]; [`Error::Refused`] when its map can't be believed at
    /// rest either.
    pub(in crate::clone::live) fn look(
        self,
        ice: &Ice<'_>,
        with: Context<'_>,
    ) -> Result<(Volume<'a>, Pass)> {
        let frozen = Frozen::look(self.live, ice)?;
        let job = job(self.live, &frozen.found);
        let options = relying(with.options);
        let with = Context {
            options: &options,
            ..with
        };
        let viewed = Viewed {
            job: &job,
            subject: frozen.subject(&job),
            plan: &frozen.plan,
            purpose: Purpose::Run,
        };
        let look = |selection| outlook::look(viewed, with, selection);
        let (on_target, outlook) = self.on_target.with_selection(look)?;
        let Outlook {
            figures,
            draft,
            contents,
            ..
        } = outlook;
        let prepared = Prepared::of(&job, on_target, frozen.plan.clone())?;
        let staging = Staging::begin(&self.live.job, &prepared, self.has_drive_room)?;
        let mut shown = Shown {
            against: Against::Record,
            drafts: with_place(draft, &job),
            figures: figures.clone(),
            contents,
        };
        if frozen.found.itself().is_none() {
            // A record tells nothing of the files on a disk, but each pass tells the next one.
            shown.drafts = frozen.shown(&job, &LastPass::default(), with)?.drafts;
        }
        let volume = Volume {
            live: self.live,
            prepared,
            known: Known::default(),
            done: Done {
                figures: MetadataFigures {
                    metadata_read_bytes: 0,
                    ..figures
                },
                ..Done::default()
            },
            staging: staging.map(Arc::new),
        };
        let pass = volume.pass(frozen, shown, &options.reliance)?;
        Ok((volume, pass))
    }
}

impl Volume<'_> {
    /// Looks at the source, which is at rest again: what is in use, and what of it is as the pass before
    /// found it.
    ///
    /// # Errors
    /// As [`Waiting::look`].
    pub(in crate::clone::live) fn look(&self, ice: &Ice<'_>, with: Context<'_>) -> Result<Pass> {
        let frozen = Frozen::look(self.live, ice)?;
        let job = job(self.live, &frozen.found);
        let options = relying(with.options);
        let with = Context {
            options: &options,
            ..with
        };
        let last = &self.known.last;
        let shown = frozen.shown(&job, last, with)?;
        let unchanged = Unchanged::new(shown.proven, last.described.clone());
        let shown = Shown {
            against: Against::Pass(unchanged),
            drafts: shown.drafts,
            figures: shown.figures,
            contents: shown.contents,
        };
        self.pass(frozen, shown, &options.reliance)
    }

    /// The pass that begins with such a look.
    fn pass(&self, frozen: Frozen, shown: Shown, reliance: &Reliance) -> Result<Pass> {
        let Frozen {
            found, twice, plan, ..
        } = frozen;
        let job = job(self.live, &found);
        let known = shown.contents.as_ref();
        let metadata = structures::metadata(&job, &plan, known, reliance)?;
        let wanted = plan.wanted();
        if let Some(staging) = &self.staging {
            staging.keep_off(&wanted);
        }
        let mut pass = Pass {
            found,
            twice,
            plan,
            wanted,
            metadata,
            against: shown.against,
            drafts: shown.drafts,
            figures: shown.figures,
            unproven_bytes: 0,
            through_bytes: 0,
        };
        pass.unproven_bytes = self.unproven_bytes(&pass);
        pass.through_bytes = through_bytes(&pass);
        Ok(pass)
    }

    /// What would have to be read.
    fn unproven_bytes(&self, pass: &Pass) -> u64 {
        let proof = self.prepared.selection.approach.proof();
        let unchanged = match &pass.against {
            Against::Record => proof.map(|proof| &proof.unchanged),
            Against::Pass(unchanged) => Some(unchanged),
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

/// Bytes in use of the chunks that are told of while a pass goes on.
fn through_bytes(pass: &Pass) -> u64 {
    let chunks = chunk::chunks(&pass.wanted, pass.plan.source_bytes);
    let told = chunks.filter(|chunk| pass.is_told(*chunk));
    let wanted = told.flat_map(|chunk| within(&pass.wanted, chunk));
    wanted.map(|extent| extent.len_bytes()).sum()
}
