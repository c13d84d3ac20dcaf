//! Walks over the files of a source at rest, against the pass before.

use crate::change::evidence::{Draft, Evidence, Spool};
use crate::change::look::{Look, Subject, unwritable};
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

/// What of a source is as `evidence` of the pass before tells, which described that; and what tells it
/// unchanged at the next one.
///
/// # Errors
/// [`Error::Source`], [`Error::Interrupted`].
pub(crate) fn again(
    subject: Subject<'_>,
    (evidence, described, path): (Option<&Evidence>, &ExtentMap, &Path),
    reliance: &Reliance,
    observer: &dyn Observer,
) -> Result<Walked> {
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
    let previous = evidence.map(|evidence| (evidence, described));
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
