//! What a volume to be cloned is asked.

use super::Job;
use crate::change::look::Subject;
use crate::error::Result;
use crate::record::Consistency;
use crate::source::{self, Filled};

impl Job<'_> {
    /// The bytes of the source that nobody has any more, as far as that is known now.
    pub(crate) fn filled(&self) -> Filled {
        self.lost.map_or_else(Filled::default, |lost| lost())
    }

    /// How the source is at rest.
    pub(crate) fn consistency(&self) -> Consistency {
        self.rested.map_or(Consistency::Still, |it| it.consistency)
    }

    /// The source, as its files are asked.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            source: self.source,
            usage: self.usage,
            continuity: self.continuity,
            written_by: self.written_by,
            rested: self.rested,
        }
    }

    /// Checks that the source is as it was when its used map was made.
    pub(crate) fn check_source(&self) -> Result<()> {
        source::check(self.source, self.usage, self.watch)
    }
}
