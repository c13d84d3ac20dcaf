//! What could not be looked at, in a list of bounded length.

use super::{Owner, Owners};
use crate::error::Result;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gaps that are listed; of others, there is the number.
const LISTED_MAX: usize = 32;

/// Collects what went wrong while something else went on.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    listed: Vec<String>,
    others: u64,
}

impl Gaps {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Notes everything that another list has.
    pub(in crate::filesystem) fn note_all(&self, others: &[String]) {
        others.iter().for_each(|other| self.note(other));
    }

    /// What there is of a result; what went wrong instead is noted.
    pub(in crate::filesystem) fn tolerate<T>(&self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }

    /// All that was noted.
    pub(crate) fn list(&self) -> Vec<String> {
        let notes = self.notes();
        let mut list = notes.listed.clone();
        if notes.others > 0 {
            list.push(format!("and {} more", notes.others));
        }
        list
    }

    /// `files`, with all that was noted.
    pub(in crate::filesystem) fn with(&self, files: Vec<Owner>) -> Owners {
        Owners {
            files,
            gaps: self.list(),
        }
    }
}
