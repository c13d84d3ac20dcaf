//! Clones with an identity of their own: a source is shown with other identifiers than it has, so that plans,
//! digests, records and comparisons all know of them, and nothing of it is written.

mod chosen;
mod shown;
mod told;

use crate::cli::IdentityArg;
use crate::error::{refused, usage};
use crate::jobs::VolumeJob;
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_imaging::RecordStore;

/// What the user asked for, and what records say of clones.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The identity that was asked for; `None` for the one that the clone has.
    pub identity: Option<IdentityArg>,
    /// Where the records are.
    pub records: &'a RecordStore,
}

impl Asked<'_> {
    /// Shows a source as its clone on `target` is to be.
    ///
    /// # Errors
    /// [`refused`] for what can't have an identity of its own, with the reason.
    pub fn show(self, source: &mut SourceEnd, target: &TargetEnd) -> Result<()> {
        let Some(own) = chosen::of_target(self, source, target)? else {
            return Ok(());
        };
        shown::show(source, &own).with_context(|| source.name.clone())
    }

    /// Shows the source of each job so.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub fn show_all(self, jobs: &mut [VolumeJob]) -> Result<()> {
        for job in jobs {
            if let Some(source) = &mut job.source {
                self.show(source, &job.target)?;
            }
        }
        Ok(())
    }
}

/// Checks what has to do with all sources of a run, and says what klon changes on their clones.
///
/// # Errors
/// [`refused`] or [`usage`] for what does not go together with an identity of its own.
pub fn announce(jobs: &[VolumeJob], asked: Asked<'_>, is_rescue: bool) -> Result<()> {
    for job in jobs {
        let Some(source) = &job.source else { continue };
        let Some(own) = &source.own_identity else {
            continue;
        };
        if is_rescue {
            return Err(match asked.identity {
                Some(_) => usage("--rescue and an identity of its own exclude each other"),
                None => refused(format!(
                    "{} has an identity of its own, and a rescue copies what it can read as it is. Add --identity keep",
                    job.name
                )),
            });
        }
        told::announce(&job.name, source, own);
    }
    Ok(())
}
