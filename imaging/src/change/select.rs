//! Which rung a run takes: a rung whose needs can't be shown falls to the one below.

use super::metadata::Drift;
use super::{Rung, RungChoice};
use crate::intent::Interrupted;
use crate::mark::Mark;
use crate::record::Record;
use klon_partition::Identity;
use klon_partition::filesystem::{ChangeToken, Summary};

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
    /// The log of the run that left the mark.
    pub interrupted: Option<&'a Interrupted>,
    /// Whether the target's record exists but can't be read, and how.
    pub record_fault: Option<String>,
}

/// The rung of a run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// How changes are found.
    pub rung: Rung,
    /// Why that way.
    pub reason: String,
}

/// Chooses the rung. [`Rung::Digest`] is chosen only when `record` may be believed.
#[must_use]
pub fn select(choice: RungChoice, situation: &Situation<'_>, record: Option<&Record>) -> Selection {
    let (rung, reason) = match (choice, usable(situation, record)) {
        (RungChoice::Only(rung @ (Rung::Full | Rung::Compare)), _) => {
            (rung, "asked for".to_owned())
        }
        _ if may_resume(situation) => (
            Rung::Resume,
            "an earlier run was interrupted, and its log says how far it got".to_owned(),
        ),
        (_, Ok(())) => (
            Rung::Digest,
            "compared with the record of the last clone".to_owned(),
        ),
        (RungChoice::Only(Rung::Digest | Rung::Resume), Err((reason, _))) => {
            (Rung::Compare, not_possible(&reason))
        }
        (RungChoice::Auto, Err((reason, rung))) => (rung, reason),
        (RungChoice::Else(rung, reason), Err(_)) => (rung, reason.to_owned()),
    };
    Selection { rung, reason }
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
        RungChoice::Only(_) => not_possible(&reason),
        RungChoice::Auto | RungChoice::Else(..) => reason,
    };
    let rung = Rung::Compare;
    Selection { rung, reason }
}

fn not_possible(reason: &str) -> String {
    format!("digest is not possible: {reason}")
}

/// Whether the mark on the target is that of a run whose log is at hand.
fn may_resume(situation: &Situation<'_>) -> bool {
    let (Some(mark), Some(interrupted)) = (situation.mark, situation.interrupted) else {
        return false;
    };
    let meta = &interrupted.meta;
    mark.run == interrupted.run
        && mark.staged.is_none()
        && &meta.source == situation.source
        && (meta.source_bytes, meta.target_bytes)
            == (situation.source_bytes, situation.target_bytes)
}

/// Whether the target can be shown to be what the record describes; else why not, and the rung
/// that is best then.
fn usable(situation: &Situation<'_>, record: Option<&Record>) -> Result<(), (String, Rung)> {
    let compare = |reason: String| Err((reason, Rung::Compare));
    if let Some(mark) = situation.mark {
        return compare(format!(
            "an earlier run from {} did not finish",
            mark.source
        ));
    }
    if let Some(fault) = &situation.record_fault {
        return compare(format!(
            "the record of the last clone can't be used: {fault}"
        ));
    }
    let Some(record) = record else {
        return Err(without_record(situation));
    };
    let manifest = &record.manifest;
    if &manifest.source != situation.source {
        let reason = format!("the target is a clone of {}", manifest.source);
        return Err((reason, without_record(situation).1));
    }
    if (manifest.source_bytes, manifest.target_bytes)
        != (situation.source_bytes, situation.target_bytes)
    {
        return compare("the source or the target changed its size".to_owned());
    }
    let Some(token) = manifest.token else {
        return compare(
            "nothing on such a volume shows whether someone changed the clone".to_owned(),
        );
    };
    match situation.target_token {
        Some(now) if now.0 == token.0 => Ok(()),
        _ => compare("someone changed the target since the last clone".to_owned()),
    }
}

fn without_record(situation: &Situation<'_>) -> (String, Rung) {
    let id = |summary: &Summary| summary.uuid.clone().map(|uuid| (summary.kind, uuid));
    let source = situation.source_summary.and_then(id);
    if source.is_some() && source == situation.target_summary.and_then(id) {
        let reason = "the target holds this filesystem already, but there is no record of a clone"
            .to_owned();
        return (reason, Rung::Compare);
    }
    ("first clone to this target".to_owned(), Rung::Full)
}

#[cfg(test)]
mod tests;
