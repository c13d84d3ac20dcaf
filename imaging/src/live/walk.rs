//! Walks over the files of a frozen source and compares them with the previous pass.

use crate::change::evidence::{Draft, Evidence, Spool};
use crate::change::look::{Before, Look, Subject, unwritable};
use crate::change::proven::WalkError;
use crate::change::{MetadataFigures, Reliance};
use crate::error::{Error, Result};
use crate::progress::Observer;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Usage};
use std::path::Path;

/// What the files of a source showed.
#[derive(Default)]
pub(crate) struct Walked {
    /// What is as it was at the pass before.
    pub(crate) proven: Option<ExtentMap>,
    pub(crate) draft: Option<Draft>,
    pub(crate) figures: MetadataFigures,
    /// The contents of regular files, where those are known.
    pub(crate) contents: Option<ExtentMap>,
}

/// What the pass before left.
#[derive(Clone, Copy)]
pub(crate) struct Earlier<'a> {
    /// What tells the files unchanged; `None` if that is not known.
    pub(crate) evidence: Option<&'a Evidence>,
    /// What was in use.
    pub(crate) described: &'a ExtentMap,
    /// Where evidence would be kept, for messages.
    pub(crate) path: &'a Path,
}

/// Which parts of a source are as the pass before found them, and what tells them unchanged at the next one.
///
/// # Errors
/// [`Error::Source`], [`Error::Interrupted`].
pub(crate) fn again(
    subject: Subject<'_>,
    earlier: Earlier<'_>,
    reliance: &Reliance,
    observer: &dyn Observer,
) -> Result<Walked> {
    let Earlier {
        evidence,
        described,
        path,
    } = earlier;
    let mut figures = MetadataFigures::default();
    let Some(look) = Look::new(subject, reliance)? else {
        return Ok(Walked {
            figures,
            ..Walked::default()
        });
    };
    let spool = Spool::in_memory(path).unwrap_or_else(|error| {
        figures.next_reads_all_because = Some(unwritable(&error));
        Spool::Dropped
    });
    let previous = evidence.map(|evidence| Before {
        evidence,
        described,
    });
    let is_said_clean = reliance.is_said_clean;
    let is_cancelled = || observer.is_cancelled();
    let mut walked = match look.walk(previous, spool, is_said_clean, &is_cancelled) {
        Ok(walked) => walked,
        Err(WalkError::Interrupted) => return Err(Error::Interrupted),
        Err(error) => {
            figures.next_reads_all_because = Some(error.to_string());
            return Ok(Walked {
                figures,
                ..Walked::default()
            });
        }
    };
    figures.add(&walked);
    figures.metadata_read_bytes = look.read_bytes();
    if let (Some(draft), Some(evidence)) = (&mut walked.draft, evidence) {
        draft.meta.go_on(&evidence.meta);
    }
    let proven = evidence.map(|_| walked.proven);
    Ok(Walked {
        proven,
        draft: walked.draft,
        figures,
        contents: walked.contents,
    })
}

/// Why nothing shows which bytes of a source at rest are free.
pub(crate) fn unmapped(usage: &Usage) -> String {
    match &usage.basis {
        Basis::Whole { reason, .. } | Basis::Contained { reason } => reason.clone(),
        Basis::Map => "nothing in its filesystem shows whether it was written to".to_owned(),
    }
}
