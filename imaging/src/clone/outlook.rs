//! What a run knows of its source's files before it begins, and what is kept of them beside its record.

use super::context::Context;
use super::{Job, Rewrite};
use crate::change::evidence::{Belonging, Draft, Findings};
use crate::change::look::{Subject, unwritable};
use crate::change::outlook::{self, Answer, Past, Proven, Purpose, Question};
use crate::change::{
    Approach, MetadataFigures, Proof, RungChoice, Selection, Tracked, Unchanged, doubted,
};
use crate::error::Result;
use crate::plan::Plan;
use crate::record::{Consistency, OwnIdentity, Record};
use klon_partition::ExtentMap;
use std::sync::Arc;

/// What is known of a source's files.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    pub(super) figures: MetadataFigures,
    /// The evidence for the next run, as far as it is known before this one begins.
    pub(super) draft: Option<Draft>,
    /// The bytes of the source that are damaged, or could not be compared with its filesystem's checksums.
    pub(super) damaged: ExtentMap,
    /// The contents of regular files, where those are known.
    pub(super) contents: Option<ExtentMap>,
}

/// A source whose files are looked at.
#[derive(Clone, Copy)]
pub(super) struct Viewed<'a> {
    pub(super) job: &'a Job<'a>,
    /// The source as the look takes it; it may be mounted and at rest.
    pub(super) subject: Subject<'a>,
    pub(super) plan: &'a Plan,
    pub(super) purpose: Purpose,
}

/// Looks at the files of a source. If `selection` is [`Approach::Digest`], and nothing speaks against
/// it, it becomes [`Approach::Metadata`], else it says why not.
///
/// # Errors
/// [`crate::Error::Source`], [`crate::Error::Interrupted`].
pub(super) fn look(
    viewed: Viewed<'_>,
    with: Context<'_>,
    selection: Selection,
) -> Result<(Selection, Outlook)> {
    let Viewed {
        job,
        subject,
        plan,
        purpose,
    } = viewed;
    let options = with.options;
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
        reread: &reread(job, &selection),
        path: &with.records.evidence_path(job.target_identity),
        purpose,
        observer: with.observer,
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
    let of_record = |proven| {
        let record = Arc::clone(&record);
        proof(record, described.clone(), proven, options.rewrite)
    };
    let mut selection = match std::mem::take(&mut found.answer) {
        Answer::None => match record.manifest.token {
            Some(_) => selection,
            None => doubted(options.rung, Arc::clone(&record), &outlook::without()),
        },
        Answer::Doubtful(doubt) => doubted(options.rung, Arc::clone(&record), &doubt),
        Answer::Proven(proven) => Selection {
            approach: Approach::Metadata(of_record(proven)),
            reason: found.figures.shown("the last clone"),
        },
        Answer::Tracked(proven) => Selection {
            approach: Approach::Tracked(of_record(proven)),
            reason: job.tracked.map(Tracked::reason).unwrap_or_default(),
        },
    };
    if let Some(untracked) = &found.untracked {
        selection.reason = format!("{}; {untracked}", selection.reason);
    }
    Ok((selection, found.into()))
}

/// What is read whatever its files prove: what is lost, and where an identity of its own differs, or did in the
/// clone of the record. Such bytes come from elsewhere than the files.
fn reread(job: &Job<'_>, selection: &Selection) -> ExtentMap {
    let changed =
        |own: Option<&OwnIdentity>| own.map(|own| own.changed.clone()).unwrap_or_default();
    let before = match &selection.approach {
        Approach::Digest(record) => record.own_identity.as_ref(),
        _ => None,
    };
    let own = changed(job.own_identity).union(&changed(before));
    job.filled().extents.union(&own)
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
    record: Arc<Record>,
    described: ExtentMap,
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
        let findings = Findings {
            signatures,
            damaged: self.damaged,
        };
        Some(Kept { draft, findings })
    }
}

/// The evidence for the next run, when this one is over.
#[derive(Debug)]
pub(super) struct Kept {
    draft: Draft,
    findings: Findings,
}

/// Keeps it of a run whose record, of that digest, is in its place. Why it could not be kept.
pub(super) fn keep(kept: Option<Kept>, record: [u8; 32]) -> Option<String> {
    let Kept { draft, findings } = kept?;
    let kept = draft.keep(Belonging::Record(record), &findings);
    kept.err().map(|error| unwritable(&error))
}
