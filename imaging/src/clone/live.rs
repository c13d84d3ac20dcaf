//! Clones of sources that are mounted and written to meanwhile.
//!
//! A source is brought to rest for moments, and copied in passes. Each pass begins at rest: what is in use
//! is found, and the walk over the files keeps what tells them unchanged. Then the source goes on, and all
//! that is not proven to be as the pass before found it is copied while it is written to. What is copied so
//! is only a guess of what the source will be; the next pass shows which of it holds. When little is left,
//! the source stays at rest until that is copied, too: then all of the target is the source's state of
//! that moment, and only then is it committed.
//!
//! A pass is a run of rung `metadata` against the pass before, whose digests and evidence are in memory. So
//! nothing is written to a filesystem at rest: no record, no log, no evidence, no progress. As the log of
//! chunks that are done can't be kept then, a run that is interrupted leaves none, and the next one
//! compares.

mod end;
mod passes;
mod volume;

use super::context::Context;
use super::phase::{During as _, Phase, Stopped};
use super::{CloneSummary, Job};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
pub use crate::live::{AtRest, Freeze, LiveSource, LiveVolume, Rest, RestFigures};
use crate::live::{Restless, Schedule};
use crate::progress::Event;
pub use crate::record::manifest::Consistency;
use crate::source::{self, Watch};
use passes::Passes;
use std::time::{Instant, SystemTime};
use volume::Waiting;

/// Looks at a source that came to rest then.
pub type Look<'a> = dyn Fn(SystemTime) -> Result<LiveSource> + 'a;

/// One volume to be cloned while it is in use.
#[derive(Clone, Copy)]
pub struct LiveJob<'a> {
    /// Source, target and what is known of them. Source and usage are those of an earlier look.
    pub job: Job<'a>,
    /// Looks at the source.
    pub look: &'a Look<'a>,
    /// Tells of what of a disk nobody has mounted for writing, before the commit.
    pub beside: Option<&'a Watch<'a>>,
}

/// Clones volumes that are in use, each to its state of the same moment, and replaces their records. What
/// is staged is committed by one write.
///
/// # Errors
/// As [`clone`](fn@super::clone). [`Error::RefusedUnless`] when too much keeps changing for the time
/// that the sources may be at rest: what was written bears the unfinished mark.
pub fn clone(
    jobs: &[LiveJob<'_>],
    rest: &mut dyn Rest,
    with: Context<'_>,
) -> Result<Vec<CloneSummary>, Stopped> {
    let started = Instant::now();
    let observer = with.observer;
    let begin = |(index, live)| Waiting::begin(live, index == 0, with);
    let waiting: Result<Vec<_>> = jobs.iter().enumerate().map(begin).collect();
    let waiting = waiting.during(Phase::Planning)?;
    let mut passes = Passes {
        schedule: Schedule::new(rest.longest()),
        figures: RestFigures::default(),
        with,
        restless: Restless::default(),
    };
    let copied = passes.run(waiting, rest)?;
    observer.event(&Event::Committing);
    for live in jobs {
        source::check_watch(live.beside).during(Phase::Checking)?;
    }
    let summaries = end::commit(copied, with, &passes.figures, started)?;
    observer.event(&Event::Finished);
    Ok(summaries)
}
