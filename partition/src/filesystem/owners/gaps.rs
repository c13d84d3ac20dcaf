//! What could not be looked at, in a list of bounded length.

use super::{Owner, Owners};
use crate::error::{Corrupt, Error, Result};
use crate::locks::{into_inner, lock};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard};

/// The most gaps that are listed. The others are only counted.
const LISTED_MAX: usize = 32;

/// Collects what went wrong while a search went on.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// The first error that was tolerated.
    first: Option<Error>,
    listed: Vec<String>,
    others: u64,
}

impl Gaps {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.0)
    }

    /// Notes something, once.
    pub(in crate::filesystem) fn note(&self, what: impl Display) {
        let mut notes = self.notes();
        if notes.listed.len() >= LISTED_MAX {
            notes.others = notes.others.saturating_add(1);
            return;
        }
        let what = what.to_string();
        if !notes.listed.contains(&what) {
            notes.listed.push(what);
        }
    }

    /// Notes all gaps of another list.
    pub(in crate::filesystem) fn note_all(&self, others: &[String]) {
        others.iter().for_each(|other| self.note(other));
    }

    /// The value of a result. An error is noted instead.
    pub(in crate::filesystem) fn tolerate<T>(&self, result: Result<T>) -> Option<T> {
        match result {
            Ok(found) => Some(found),
            Err(error) => {
                self.note(&error);
                self.notes().first.get_or_insert(error);
                None
            }
        }
    }

    /// Ends a search in which nothing may be missing.
    ///
    /// # Errors
    /// The first error that was tolerated; [`Error::Corrupt`] when there is another gap.
    pub(in crate::filesystem) fn none(self) -> Result<()> {
        let notes = into_inner(self.0);
        match (notes.first, notes.listed.first()) {
            (Some(error), _) => Err(error),
            (None, Some(gap)) => {
                Err(Corrupt::new("filesystem", "files", 0, "sound ones", gap).into())
            }
            (None, None) => Ok(()),
        }
    }

    /// All gaps that were noted.
    pub(crate) fn list(&self) -> Vec<String> {
        let notes = self.notes();
        let mut list = notes.listed.clone();
        if notes.others > 0 {
            list.push(format!("and {} more", notes.others));
        }
        list
    }

    /// `files`, with all gaps that were noted.
    pub(in crate::filesystem) fn with(&self, files: Vec<Owner>) -> Owners {
        Owners {
            files,
            gaps: self.list(),
        }
    }
}
