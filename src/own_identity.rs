//! Clones with an identity of their own: a source is shown with other identifiers than it has, so that plans,
//! digests, records and comparisons all know of them, and nothing of it is written.

mod chosen;
mod files;
mod references;
mod shown;
mod told;
mod words;

use crate::cli::IdentityArg;
use crate::error::refused;
use crate::jobs::VolumeJob;
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_imaging::RecordStore;
use klon_imaging::record::OwnName;
use klon_partition::Identity;

/// What the user asked for, and what records say of clones.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The identity that was asked for; `None` for the one that the clone has.
    pub identity: Option<IdentityArg>,
    /// Where the records are.
    pub records: &'a RecordStore,
}

impl<'a> Asked<'a> {
    /// Nothing: clones have the identity that their records tell.
    pub const fn nothing(records: &'a RecordStore) -> Self {
        Self {
            identity: None,
            records,
        }
    }

    /// Shows a source as its clone on `target` is to be, but for what its files name.
    ///
    /// # Errors
    /// [`refused`] for what can't have an identity of its own, with the reason.
    pub fn show(self, source: &mut SourceEnd, target: &TargetEnd) -> Result<()> {
        let Some(own) = chosen::of_target(self, source, target)? else {
            return Ok(());
        };
        let shown = shown::show(source, &own, &target.identity);
        shown.with_context(|| source.name.clone())
    }

    /// Shows a source as its clone is by its record.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub fn show_recorded(self, source: &mut SourceEnd, clone: &Identity) -> Result<()> {
        let Some(own) = chosen::recorded_of(self.records, source, clone)? else {
            return Ok(());
        };
        let shown = shown::show(source, &own, clone);
        shown.with_context(|| source.name.clone())?;
        references::refer(source, &own.names).map(drop)
    }

    /// Shows the source of each job as its clone is to be, but for what its files name.
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

/// Shows the files of all sources with the names that their clones have, and says what that changes.
///
/// # Errors
/// [`refused`] for a rescue; when a source can't be read.
pub fn refer(jobs: &mut [VolumeJob], is_rescue: bool) -> Result<()> {
    let names = names_of_all(jobs);
    for job in jobs {
        let Some(source) = job.source.as_mut() else {
            continue;
        };
        if source.own_identity.is_none() {
            continue;
        }
        if is_rescue {
            return Err(refused(format!(
                "{} has an identity of its own, and a rescue copies what it can read as it is. Rescue the source to \
                 another target",
                job.name
            )));
        }
        let found = references::refer(source, &names).with_context(|| source.name.clone())?;
        told::announce(&job.name, source, &found);
    }
    Ok(())
}

/// The names that the sources of all jobs get, each once: files on one of them name the others.
fn names_of_all(jobs: &[VolumeJob]) -> Vec<OwnName> {
    let own = jobs
        .iter()
        .filter_map(|job| job.source.as_ref()?.own_identity.as_ref());
    let mut all: Vec<OwnName> = Vec::new();
    for name in own.flat_map(|own| &own.names) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}
