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
mod volume;

use super::context::Context;
use super::phase::{During as _, Phase, Stopped};
use super::{CloneOptions, CloneSummary, Job};
use crate::change::proven::Session;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
pub use crate::live::{AtRest, Freeze, Rest, RestFigures};
use crate::live::{Changing, Ice, Quiet, Schedule, Step, give_up};
use crate::progress::{Event, Observer};
use crate::record::RecordStore;
pub use crate::record::manifest::Consistency;
use klon_partition::ReadAt;
use klon_partition::filesystem::Usage;
use std::sync::Arc;
use std::time::Instant;
use volume::{Pass, Volume};

/// A source as it is at one moment at rest.
pub struct Found {
    /// What is read.
    pub source: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub usage: Usage,
    /// How it is mounted; `None` where the kernel can't tell its mounts apart.
    pub session: Option<Session>,
    /// How it is at rest.
    pub consistency: Consistency,
}

/// Looks at a source while it is at rest.
pub type Look<'a> = dyn Fn() -> Result<Found> + 'a;

/// One volume to be cloned while it is in use.
#[derive(Clone, Copy)]
pub struct LiveJob<'a> {
    /// Source, target and what is known of them. Source and usage are those of an earlier look.
    pub job: Job<'a>,
    /// Looks at the source.
    pub look: &'a Look<'a>,
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
    records: &RecordStore,
    options: &CloneOptions,
    observer: &dyn Observer,
) -> Result<Vec<CloneSummary>, Stopped> {
    let started = Instant::now();
    let with = Context {
        records,
        options,
        observer,
    };
    let begin = |(index, live)| Volume::begin(live, index == 0, with);
    let volumes: Result<Vec<_>> = jobs.iter().enumerate().map(begin).collect();
    let mut volumes = volumes.during(Phase::Planning)?;
    let mut schedule = Schedule::new(rest.longest());
    let mut figures = RestFigures::default();
    while !pass(&mut volumes, rest, &mut schedule, &mut figures, with)? {}
    observer.event(&Event::Committing);
    let summaries = end::commit(volumes, (records, options), &figures, started)?;
    observer.event(&Event::Finished);
    Ok(summaries)
}

/// Looks at all volumes, which are at rest.
fn look(volumes: &mut [Volume<'_>], ice: &Ice<'_>, with: Context<'_>) -> Result<Vec<Pass>> {
    let look = |volume: &mut Volume<'_>| volume.look(ice, with);
    let looked: Result<Vec<_>> = volumes.iter_mut().map(look).collect();
    // If the source was thawed meanwhile, the look is void, and so is its error.
    if ice.left().is_none_or(|left| left.is_zero()) {
        ice.end()?;
    }
    looked
}

/// A volume as it is told when it changes too fast.
fn changing<'p>(volume: &'p Volume<'_>, pass: &'p Pass) -> Changing<'p> {
    Changing {
        name: volume.name(),
        device: &*pass.found.source,
        figures: &pass.figures,
    }
}

/// One pass over all volumes; whether all that is left of them was copied at rest, so that they are
/// complete.
fn pass(
    volumes: &mut [Volume<'_>],
    rest: &mut dyn Rest,
    schedule: &mut Schedule,
    figures: &mut RestFigures,
    with: Context<'_>,
) -> Result<bool, Stopped> {
    let Context {
        options, observer, ..
    } = with;
    let is_first = schedule.passes() == 0;
    let ice = Ice::new(rest.rest().during(Phase::Planning)?);
    let passes = look(volumes, &ice, with).during(Phase::Planning)?;
    let checks: Result<Vec<_>> = passes.iter().map(Pass::check).collect();
    let checks = checks.during(Phase::Planning)?;
    let unproven_bytes = passes.iter().map(|pass| pass.unproven_bytes).sum();
    let step = schedule.next(unproven_bytes, ice.left().unwrap_or_default());
    let mut frozen = None;
    if step != Step::ReadNow {
        frozen = ice.end().during(Phase::Planning)?;
    }
    if step == Step::GiveUp {
        let changing = volumes.iter().zip(&passes);
        let changing = changing.map(|(volume, pass)| self::changing(volume, pass));
        return Err(give_up(changing, schedule, unproven_bytes)).during(Phase::Copying);
    }
    let quiet = Quiet::new(observer, &ice);
    let copying = Instant::now();
    let mut read_bytes = 0;
    let mut outputs = Vec::new();
    let mut is_told = !is_first;
    for ((volume, pass), check) in volumes.iter_mut().zip(&passes).zip(checks) {
        if is_first && !ice.is_whole() {
            volume.tell_start(pass, observer);
            is_told = true;
        }
        let copied = volume.copy(pass, check, (&ice, schedule.reserve()), options, &quiet);
        let copied = copied.during(Phase::Copying)?;
        read_bytes += copied.read_bytes;
        outputs.push(copied);
    }
    let read_at_rest = ice.read_at_rest();
    let is_complete = match ice.end().during(Phase::Checking)? {
        Some(seconds) => {
            frozen = Some(seconds);
            true
        }
        None => false,
    };
    if !is_told {
        let of = volumes.iter().zip(&passes);
        of.for_each(|(volume, pass)| volume.tell_start(pass, observer));
    }
    quiet.catch_up();
    let seconds = frozen.or_else(|| ice.ended()).unwrap_or_default();
    figures.add(Freeze {
        seconds: seconds.as_secs_f64(),
        unproven_bytes,
        read_bytes: if is_complete {
            read_bytes
        } else {
            read_at_rest
        },
    });
    schedule.passed(read_bytes, copying.elapsed());
    for (volume, copied) in volumes.iter_mut().zip(outputs) {
        volume.take(copied, is_complete).during(Phase::Copying)?;
    }
    for (volume, pass) in volumes.iter_mut().zip(passes) {
        volume.keep(pass);
    }
    Ok(is_complete)
}
