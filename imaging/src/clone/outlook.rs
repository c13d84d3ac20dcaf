//! What a run knows of its source's files before it begins, and what is kept of them beside its record.

use super::{CloneOptions, Job, Rewrite};
use crate::change::evidence::{Belonging, Draft};
use crate::change::look::{Subject, unwritable};
use crate::change::outlook::{self, Answer, Past, Proven, Purpose, Question};
use crate::change::{
    Approach, MetadataFigures, Proof, RungChoice, Selection, Tracked, Unchanged, doubted,
};
use crate::error::Result;
use crate::plan::Plan;
use crate::progress::Observer;
use crate::record::{Consistency, Record, RecordStore};
use klon_partition::ExtentMap;
use std::sync::Arc;

/// What is known of a source's files.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    pub(super) figures: MetadataFigures,
    /// The evidence for the next run, as far as it is known before this one begins.
    pub(super) draft: Option<Draft>,
    /// What of the source is damaged, or could not be compared with its filesystem's checksums.
    pub(super) damaged: ExtentMap,
    /// The contents of regular files, where those are known.
    pub(super) contents: Option<ExtentMap>,
}

/// Looks at the files of a source. Where `selection` is [`Approach::Digest`], and nothing speaks against
/// it, it becomes [`Approach::Metadata`], else it says why not.
///
/// # Errors
/// [`crate::Error::Source`], [`crate::Error::Interrupted`].
pub(super) fn look(
    (job, plan): (&Job<'_>, &Plan),
    records: &RecordStore,
    options: &CloneOptions,
    selection: Selection,
    with: (Purpose, &dyn Observer),
) -> Result<(Selection, Outlook)> {
    look_at(
        (job, job.subject(), plan),
        records,
        options,
        selection,
        with,
    )
}

/// Looks at a source that may be mounted and at rest.
///
/// # Errors
/// As [`look`].
pub(super) fn look_at(
    (job, subject, plan): (&Job<'_>, Subject<'_>, &Plan),
    records: &RecordStore,
    options: &CloneOptions,
    selection: Selection,
    (purpose, observer): (Purpose, &dyn Observer),
) -> Result<(Selection, Outlook)> {
    let is_asked = options.asks_files();
    let rested = subject.rested.map(|rested| rested.consistency);
    let question = Question {
        is_at_rest: rested.is_some_and(Consistency::is_short),
        subject,
        rung: options.rung,
        reliance: &options.reliance,
        tracked: job.tracked.filter(|_| options.rung == RungChoice::Auto),
        copy: &plan.copy,
        zero: &plan.zero,
        lost: &job.filled().extents,
        path: &records.evidence_path(job.target_identity),
        purpose,
        observer,
    };
    let Approach::Digest(record) = &selection.approach else {
        let found = outlook::look(&question, None)?;
        return Ok((selection, found.into()));
    };
    let record = Arc::clone(record);
    let described = record.wanted();
    let past = Past {
        belonging: Belonging::Record(record.digest),
        run: record.manifest.run,
        described: &described,
        zero: &record.zero,
        bad: &record.bad,
    };
    let mut found = outlook::look(&question, is_asked.then_some(&past))?;
    let proof = |proven| {
        let of = (Arc::clone(&record), described.clone());
        proof(of, proven, options.rewrite)
    };
    let mut selection = match std::mem::take(&mut found.answer) {
        Answer::None => match record.manifest.token {
            Some(_) => selection,
            None => doubted(options.rung, Arc::clone(&record), &outlook::without()),
        },
        Answer::Doubtful(doubt) => doubted(options.rung, Arc::clone(&record), &doubt),
        Answer::Proven(proven) => Selection {
            approach: Approach::Metadata(proof(proven)),
            reason: found.figures.shown("the last clone"),
        },
        Answer::Tracked(proven) => Selection {
            approach: Approach::Tracked(proof(proven)),
            reason: job.tracked.map(Tracked::reason).unwrap_or_default(),
        },
    };
    if let Some(untracked) = &found.untracked {
        selection.reason = format!("{}; {untracked}", selection.reason);
    }
    Ok((selection, found.into()))
}

impl From<outlook::Outlook> for Outlook {
    fn from(found: outlook::Outlook) -> Self {
        let outlook::Outlook {
            figures,
            draft,
            contents,
            ..
        } = found;
        Self {
            figures,
            draft,
            contents,
            damaged: ExtentMap::new(),
        }
    }
}

/// What is left unread, and what showed that.
fn proof(
    (record, described): (Arc<Record>, ExtentMap),
    proven: Proven,
    rewrite: Rewrite,
) -> Box<Proof> {
    let Proven {
        extents,
        signatures,
    } = proven;
    let unchanged = Unchanged::new(extents, described);
    Box::new(Proof {
        record,
        unchanged: match rewrite {
            Rewrite::Blocks => unchanged,
            Rewrite::Chunks => unchanged.by_chunks(),
        },
        signatures,
    })
}

impl Outlook {
    /// The evidence for the next run, of one that saw all content and found those signatures in it.
    pub(super) fn kept(self, is_all_seen: bool, signatures: ExtentMap) -> Option<Kept> {
        let draft = self.draft.filter(|_| is_all_seen)?;
        Some(Kept {
            draft,
            signatures,
            damaged: self.damaged,
        })
    }
}

/// The evidence for the next run, when this one is over.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) draft: Draft,
    pub(super) signatures: ExtentMap,
    /// What of the source is damaged, or could not be compared with its checksums.
    pub(super) damaged: ExtentMap,
}

/// Keeps it of a run whose record, of that digest, is in its place. Why it could not be kept.
pub(super) fn keep(kept: Option<Kept>, record: [u8; 32]) -> Option<String> {
    let Kept {
        draft,
        signatures,
        damaged,
    } = kept?;
    let kept = draft.keep(Belonging::Record(record), (&signatures, &damaged));
    kept.err().map(|error| unwritable(&error))
}
