//! What a run knows of its source's files before it begins: what their metadata proves, and what is kept
//! of them for the next run.

use super::evidence::{Belonging, Draft, Evidence, Spool};
use super::look::{Before, Doubt, Look, Subject, Walked, is_guesswork, unwritable};
use super::proven::{Faster, WalkError};
use super::{MetadataFigures, Reliance, Rung, RungChoice, Tracked};
use crate::error::{Error, Result};
use crate::progress::Observer;
use klon_partition::ExtentMap;
use std::fmt::Display;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// What is asked of the files of a source.
pub(crate) struct Question<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) rung: RungChoice,
    pub(crate) reliance: &'a Reliance,
    /// What someone else tells of changes.
    pub(crate) tracked: Option<&'a Tracked>,
    /// The bytes of the source that are read.
    pub(crate) copy: &'a ExtentMap,
    /// The bytes of it that are in use and known to be zero.
    pub(crate) zero: &'a ExtentMap,
    /// The bytes of it that are read in any case: what nobody has any more, and what is not as the source has it.
    pub(crate) reread: &'a ExtentMap,
    /// Where evidence is kept.
    pub(crate) path: &'a Path,
    pub(crate) purpose: Purpose,
    /// Whether nothing may be written, as sources are at rest.
    pub(crate) is_at_rest: bool,
    pub(crate) observer: &'a dyn Observer,
}

/// What an earlier run described: a record, or a volume of a snapshot.
pub(crate) struct Past<'a> {
    /// What its evidence belongs to.
    pub(crate) belonging: Belonging,
    /// The run that it was, where that is known.
    pub(crate) run: Option<Uuid>,
    /// All that was in use.
    pub(crate) described: &'a ExtentMap,
    /// The part of that which was known to be zero.
    pub(crate) zero: &'a ExtentMap,
    /// The part of that which could not be read.
    pub(crate) bad: &'a ExtentMap,
}

/// What is known of a source's files.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) figures: MetadataFigures,
    /// The evidence for the next run, as far as it is known before this one begins.
    pub(crate) draft: Option<Draft>,
    /// What the earlier run says of the files, if that is shown to hold.
    pub(crate) answer: Answer,
    /// Why what someone else tells of changes was not believed.
    pub(crate) untracked: Option<String>,
    /// The contents of regular files, where a walk over all of them found those.
    pub(crate) contents: Option<ExtentMap>,
}

/// Whether files are what an earlier run found them to be.
#[derive(Debug, Default)]
pub(crate) enum Answer {
    /// Nobody asked, or the source has no files that could show it.
    #[default]
    None,
    /// Some are.
    Proven(Proven),
    /// What someone else does not name as changed.
    Tracked(Proven),
    /// Nothing may be left unread.
    Doubtful(Doubt),
}

/// What files are proven to be by their metadata.
#[derive(Debug)]
pub(crate) struct Proven {
    /// The bytes of the source that are as the earlier run described them.
    pub(crate) extents: ExtentMap,
    /// Where the runs before found signatures of what is written past the filesystem.
    pub(crate) signatures: ExtentMap,
}

/// What becomes of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A run, which keeps evidence for the next.
    Run,
    /// Saying what a run would do: nothing is written.
    Preview,
}

/// Looks at the files of a source, and compares them with what was kept of them when `past` was made.
///
/// # Errors
/// [`Error::Source`], [`Error::Interrupted`].
pub(crate) fn look(question: &Question<'_>, past: Option<&Past<'_>>) -> Result<Outlook> {
    if question.reliance.is_off {
        return Ok(Outlook::default());
    }
    let Some(look) = Look::new(question.subject, question.reliance)? else {
        return Ok(blind(question, past));
    };
    let mut looking = Looking {
        question,
        figures: MetadataFigures {
            is_heuristic: look.is_heuristic(),
            ..MetadataFigures::default()
        },
        look,
        untracked: None,
    };
    let (answer, walked) = match (past, question.tracked) {
        (Some(past), Some(tracked)) => looking.by_tracked(past, tracked)?,
        (Some(past), None) => looking.by_metadata(past)?,
        (None, _) => (Answer::None, looking.first()?),
    };
    let Looking {
        look,
        mut figures,
        untracked,
        ..
    } = looking;
    if let Some(walked) = &walked {
        figures.add(walked);
    }
    figures.metadata_read_bytes = look.read_bytes();
    let (mut draft, contents) =
        walked.map_or((None, None), |walked| (walked.draft, walked.contents));
    if let Some(draft) = &mut draft {
        draft.meta.bitmap = question.tracked.and_then(Tracked::bitmap).cloned();
    }
    Ok(Outlook {
        figures,
        draft,
        answer,
        untracked,
        contents,
    })
}

/// What is known of a source at whose files no look was taken.
fn blind(question: &Question<'_>, past: Option<&Past<'_>>) -> Outlook {
    let mut outlook = Outlook::default();
    if question.rung != RungChoice::Only(Rung::Metadata) {
        return outlook;
    }
    let doubt = match is_guesswork(question.subject.usage) {
        true => Doubt {
            reason:
                "of NTFS only a heuristic could show which files changed, and nobody asked for it"
                    .to_owned(),
            remedy: Faster::TrustFileRecords,
        },
        false => without(),
    };
    outlook.figures.doubt(&doubt);
    if past.is_some() {
        outlook.answer = Answer::Doubtful(doubt);
    }
    outlook
}

/// The doubt of a source whose files prove nothing.
pub(crate) fn without() -> Doubt {
    let reason = "nothing on such a source shows which of its files changed".to_owned();
    Doubt::until_now(reason)
}

struct Looking<'a> {
    question: &'a Question<'a>,
    look: Look<'a>,
    figures: MetadataFigures,
    /// Why what someone else tells of changes was not believed.
    untracked: Option<String>,
}

impl Looking<'_> {
    /// Leaves unread what `tracked` does not name of what was described, or what the metadata of files
    /// proves where `tracked` can't be believed.
    fn by_tracked(
        &mut self,
        past: &Past<'_>,
        tracked: &Tracked,
    ) -> Result<(Answer, Option<Walked>)> {
        let (evidence, changed) = match self.believed(past, tracked) {
            Ok(believed) => believed,
            Err(doubt) => {
                let found = self.by_metadata(past)?;
                if doubt.remedy != Faster::ThisRun {
                    self.figures.doubt(&doubt);
                }
                self.untracked = Some(doubt.reason);
                return Ok(found);
            }
        };
        // What the files of the source are is for the next run to know.
        let mut walked = self.first()?;
        if let Some(walked) = &mut walked {
            carry(walked, &evidence);
            if let Some(draft) = &mut walked.draft {
                let count = &mut draft.meta.tracked_runs_since_full;
                *count = count.saturating_add(1);
            }
        }
        self.figures.tracked_bytes = changed.total_bytes();
        let readable = past.described.difference(past.bad);
        let unchanged = readable.difference(changed).difference(&evidence.damaged);
        let proven = Proven {
            extents: same_holes(&unchanged, self.question, past),
            signatures: evidence.signatures,
        };
        Ok((Answer::Tracked(proven), walked))
    }

    /// What `tracked` names as changed since that was described, if it may be believed, and the evidence
    /// of the run that described it.
    fn believed<'t>(
        &self,
        past: &Past<'_>,
        tracked: &'t Tracked,
    ) -> Result<(Evidence, &'t ExtentMap), Doubt> {
        let evidence = self.kept(past)?;
        let reliance = self.question.reliance;
        let doubt = tracked.doubt(past.run, evidence.meta.bitmap.as_ref());
        let doubt = doubt.or_else(|| self.look.doubt_of_tracked(&evidence.meta, reliance));
        match (doubt, tracked.changed()) {
            (None, Some(changed)) => Ok((evidence, changed)),
            (doubt, _) => {
                let nobody = || Doubt::until_now("nobody tells what changed".to_owned());
                Err(doubt.unwrap_or_else(nobody))
            }
        }
    }

    /// Proves what it can of what was described.
    fn by_metadata(&mut self, past: &Past<'_>) -> Result<(Answer, Option<Walked>)> {
        let doubt = match self.evidence(past) {
            Err(doubt) => doubt,
            Ok(evidence) => {
                let readable = past.described.difference(past.bad);
                let before = Before {
                    evidence: &evidence,
                    described: &readable,
                };
                match self.walk(Some(before))? {
                    Ok(mut walked) => {
                        carry(&mut walked, &evidence);
                        let proven = std::mem::take(&mut walked.proven);
                        let proven = Proven {
                            extents: same_holes(&proven, self.question, past),
                            signatures: evidence.signatures,
                        };
                        return Ok((Answer::Proven(proven), Some(walked)));
                    }
                    Err(WalkError::Previous(error)) => unusable(&error),
                    Err(error) => Doubt::until_now(error.to_string()),
                }
            }
        };
        self.figures.doubt(&doubt);
        Ok((Answer::Doubtful(doubt), self.first()?))
    }

    /// The evidence of the run that described that, if it may be believed now.
    fn evidence(&self, past: &Past<'_>) -> Result<Evidence, Doubt> {
        let evidence = self.kept(past)?;
        match self.look.doubt(&evidence, self.question.reliance) {
            Some(doubt) => Err(doubt),
            None => Ok(evidence),
        }
    }

    /// The evidence of the run that described that.
    fn kept(&self, past: &Past<'_>) -> Result<Evidence, Doubt> {
        let size_bytes = self.question.subject.source.geometry().size_bytes;
        let found = Evidence::open(self.question.path, size_bytes);
        let Some(evidence) = found.map_err(|error| unusable(&error))? else {
            let reason = "the last run kept nothing of the files".to_owned();
            return Err(Doubt::until_now(reason));
        };
        match evidence.belonging == past.belonging {
            true => Ok(evidence),
            false => Err(unusable(&past.belonging.other())),
        }
    }

    /// Walks over the files for the next run alone, where there will be one that can use it.
    fn first(&mut self) -> Result<Option<Walked>> {
        if self.question.purpose == Purpose::Preview {
            return Ok(None);
        }
        Ok(match self.walk(None)? {
            Ok(walked) => Some(walked),
            Err(error) => {
                self.figures.next_reads_all_because = Some(error.to_string());
                None
            }
        })
    }

    fn spool(&self) -> io::Result<Spool> {
        let path = self.question.path;
        match self.question.is_at_rest {
            true => Spool::in_memory(path),
            false => Spool::begin(path),
        }
    }

    /// Walks over the files. What fails is no reason for the run to fail.
    fn walk(&mut self, previous: Option<Before<'_>>) -> Result<Result<Walked, WalkError>> {
        let is_cancelled = || self.question.observer.is_cancelled();
        let is_said_clean = self.question.reliance.is_said_clean;
        let spool = match self.question.purpose {
            Purpose::Preview => Spool::Dropped,
            Purpose::Run => self.spool().unwrap_or_else(|error| {
                self.figures.next_reads_all_because = Some(unwritable(&error));
                Spool::Dropped
            }),
        };
        match self
            .look
            .walk(previous, spool, is_said_clean, &is_cancelled)
        {
            Err(WalkError::Interrupted) => Err(Error::Interrupted),
            walked => Ok(walked),
        }
    }
}

/// Why what was kept proves nothing.
fn unusable(what: &dyn Display) -> Doubt {
    Doubt::until_now(format!(
        "what the last run kept of the files can't be used: {what}"
    ))
}

/// Where holes of a sparse source are where they were. What became one, or is none any more, was
/// written past the filesystem. What is to be read again is as it is now.
fn same_holes(proven: &ExtentMap, question: &Question<'_>, past: &Past<'_>) -> ExtentMap {
    let new = question.zero.difference(past.zero);
    let gone = question.copy.intersection(past.zero);
    let proven = proven.difference(&new).difference(&gone);
    proven.difference(question.reread)
}

/// What goes on from the run before when this one leaves files unread.
fn carry(walked: &mut Walked, before: &Evidence) {
    if let Some(draft) = &mut walked.draft {
        draft.meta.full_unix_seconds = before.meta.full_unix_seconds;
        draft.meta.runs_since_full = before.meta.runs_since_full.saturating_add(1);
        draft.meta.tracked_runs_since_full = before.meta.tracked_runs_since_full;
        draft.meta.audit_cursor_bytes = before.meta.audit_cursor_bytes;
    }
}
