//! Which rung a run takes: a rung whose needs can't be shown falls to the one below.

use super::drift::Drift;
use super::look::Doubt;
use super::{Approach, Resume, Rung, RungChoice};
use crate::intent::Interrupted;
use crate::mark::Mark;
use crate::record::Record;
use klon_partition::Identity;
use klon_partition::filesystem::{ChangeToken, Summary};
use std::sync::Arc;

/// What is known before a run.
#[derive(Debug)]
pub struct Situation<'a> {
    /// What will be cloned.
    pub source: &'a Identity,
    /// Its size.
    pub source_bytes: u64,
    /// Its filesystem.
    pub source_summary: Option<&'a Summary>,
    /// The target's size.
    pub target_bytes: u64,
    /// The filesystem that is on the target now.
    pub target_summary: Option<&'a Summary>,
    /// The change token of the target's filesystem now.
    pub target_token: Option<ChangeToken>,
    /// The mark of an unfinished run on the target.
    pub mark: Option<&'a Mark>,
    /// The log of the latest run that was interrupted.
    pub interrupted: Option<Interrupted>,
    /// The record of the last clone to the target.
    pub record: Recorded,
    /// Whether the digests of metadata alone, without a change token, may show that nobody changed the
    /// target. That is a heuristic, which the user asked for.
    pub trusts_metadata: bool,
}

/// The record of the last clone to a target.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// There is none.
    Nothing,
    /// It can't be read, for this reason.
    Damaged(String),
    /// It can be read. Whether it still describes the target is for [`select`] to find out.
    Found(Arc<Record>),
}

impl Recorded {
    /// The record, if it can be read.
    #[must_use]
    pub const fn found(&self) -> Option<&Arc<Record>> {
        match self {
            Self::Found(record) => Some(record),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }
}

/// How a run finds what must be written, and why that way.
#[derive(Debug)]
pub struct Selection {
    /// How changes are found, with what this way needs.
    pub approach: Approach,
    /// Why that way.
    pub reason: String,
}

impl Selection {
    /// The name of the way.
    #[must_use]
    pub const fn rung(&self) -> Rung {
        self.approach.rung()
    }
}

/// What is left when neither a log nor a record is of use.
#[derive(Clone, Copy)]
enum Plain {
    Full,
    Compare,
}

impl From<Plain> for Approach {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Full => Self::Full,
            Plain::Compare => Self::Compare,
        }
    }
}

/// Chooses the approach. [`Approach::Digest`] is chosen only when the record may be believed.
#[must_use]
pub fn select(choice: RungChoice, mut situation: Situation<'_>) -> Selection {
    let asked = |approach| Selection {
        approach,
        reason: "asked for".to_owned(),
    };
    match choice {
        RungChoice::Only(Rung::Full) => return asked(Approach::Full),
        RungChoice::Only(Rung::Compare) => return asked(Approach::Compare),
        RungChoice::Only(Rung::Digest | Rung::Metadata | Rung::Tracked | Rung::Resume)
        | RungChoice::Auto
        | RungChoice::Else(..) => {}
    }
    let interrupted = situation.interrupted.take();
    if let Some(interrupted) = interrupted.filter(|log| may_resume(&situation, log)) {
        return Selection {
            approach: Approach::Resume(Box::new(Resume::new(
                interrupted,
                situation.record.found(),
            ))),
            reason: "an earlier run was interrupted, and its log says how far it got".to_owned(),
        };
    }
    let (approach, reason) = match (choice, usable(&situation)) {
        (_, Ok(record)) => (Approach::Digest(record), BY_DIGEST.to_owned()),
        (RungChoice::Only(rung), Err((reason, _))) => {
            (Approach::Compare, not_possible(rung, &reason))
        }
        (RungChoice::Auto, Err((reason, plain))) => (plain.into(), reason),
        (RungChoice::Else(Rung::Full, reason), Err(_)) => (Approach::Full, reason.to_owned()),
        (RungChoice::Else(_, reason), Err(_)) => (Approach::Compare, reason.to_owned()),
    };
    Selection { approach, reason }
}

/// The choice when the record fits in everything that [`select`] was told, but the metadata on
/// the target is not as it says.
#[must_use]
pub fn distrust(choice: RungChoice, drift: Drift) -> Selection {
    let reason = match drift {
        Drift::In(chunk) => format!(
            "something changed the target's metadata behind its filesystem's back since the last \
             clone, first in the 1 MiB from byte {}",
            chunk.offset_bytes()
        ),
        Drift::Record => {
            "the record of the last clone can't be used: its digests of metadata contradict each other".to_owned()
        }
    };
    let reason = match choice {
        RungChoice::Only(rung) => not_possible(rung, &reason),
        RungChoice::Auto | RungChoice::Else(..) => reason,
    };
    Selection {
        approach: Approach::Compare,
        reason,
    }
}

/// What is chosen in place of `Rung::Metadata`, when there is a doubt: [`Rung::Digest`], or [`Rung::Compare`]
/// where only a heuristic shows that the target is what the record says.
#[must_use]
pub(crate) fn doubted(choice: RungChoice, record: Arc<Record>, doubt: &Doubt) -> Selection {
    let is_asked = choice == RungChoice::Only(Rung::Metadata);
    // Nothing but the heuristic, which failed, shows that nobody changed such a target.
    let (approach, by) = match record.manifest.token {
        Some(_) => (Approach::Digest(record), Some(BY_DIGEST)),
        None => (Approach::Compare, None),
    };
    let reason = match (is_asked, by) {
        (true, _) => not_possible(Rung::Metadata, &doubt.reason),
        (false, Some(by)) => format!("{by}; {}", doubt.reason),
        (false, None) => doubt.reason.clone(),
    };
    Selection { approach, reason }
}

/// Why a rung that was asked for is not the one that is taken.
pub(crate) fn not_possible(rung: Rung, reason: &str) -> String {
    format!("{rung} is not possible: {reason}")
}

/// Why a run is one by digests.
const BY_DIGEST: &str = "compared with the record of the last clone";

/// Whether the mark on the target is that of the run whose log is at hand.
fn may_resume(situation: &Situation<'_>, interrupted: &Interrupted) -> bool {
    let Some(mark) = situation.mark else {
        return false;
    };
    let meta = &interrupted.meta;
    mark.run == interrupted.run
        && mark.staged.is_none()
        && &meta.source == situation.source
        && (meta.source_bytes, meta.target_bytes)
            == (situation.source_bytes, situation.target_bytes)
}

/// The record, if the target can be shown to be what it describes; else why not, and what is best
/// then.
fn usable(situation: &Situation<'_>) -> Result<Arc<Record>, (String, Plain)> {
    let compare = |reason: String| Err((reason, Plain::Compare));
    if let Some(mark) = situation.mark {
        return compare(format!(
            "an earlier run from {} did not finish",
            mark.source
        ));
    }
    let record = match &situation.record {
        Recorded::Found(record) => record,
        Recorded::Damaged(fault) => {
            return compare(format!(
                "the record of the last clone can't be used: {fault}"
            ));
        }
        Recorded::Nothing => return Err(without_record(situation)),
    };
    let manifest = &record.manifest;
    if &manifest.source != situation.source {
        let reason = format!("the target is a clone of {}", manifest.source);
        return Err((reason, without_record(situation).1));
    }
    if !manifest.grown.is_empty() {
        let what = "the clone was grown since it was made, and its growth goes";
        return compare(what.to_owned());
    }
    if (manifest.source_bytes, manifest.target_bytes)
        != (situation.source_bytes, situation.target_bytes)
    {
        return compare("the source or the target changed its size".to_owned());
    }
    let Some(token) = manifest.token else {
        if situation.trusts_metadata {
            return match manifest.metadata_digest {
                Some(_) => Ok(Arc::clone(record)),
                None => compare("the last run kept nothing of the files".to_owned()),
            };
        }
        return compare(
            "nothing on such a volume shows whether someone changed the clone".to_owned(),
        );
    };
    match situation.target_token {
        Some(now) if now.0 == token.0 => Ok(Arc::clone(record)),
        _ => compare("someone changed the target since the last clone".to_owned()),
    }
}

fn without_record(situation: &Situation<'_>) -> (String, Plain) {
    let id = |summary: &Summary| summary.uuid.clone().map(|uuid| (summary.kind, uuid));
    let source = situation.source_summary.and_then(id);
    if source.is_some() && source == situation.target_summary.and_then(id) {
        let reason = "the target holds this filesystem already, but there is no record of a clone"
            .to_owned();
        return (reason, Plain::Compare);
    }
    ("first clone to this target".to_owned(), Plain::Full)
}

#[cfg(test)]
mod tests;
