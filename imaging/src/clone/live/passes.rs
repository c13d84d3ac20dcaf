//! The passes of a run: each looks at all sources while they are at rest, and copies what changed.

use super::volume::{Ended, Pass, Volume, Waiting};
use super::{Freeze, Rest, RestFigures};
use crate::clone::context::Context;
use crate::clone::phase::{During as _, Phase, Stopped};
use crate::error::Result;
use crate::live::{Ice, Quiet, Restless, Schedule, Step, changing, give_up};
use crate::progress::Event;
use std::time::{Duration, Instant};

/// The passes so far.
pub(super) struct Passes<'c> {
    pub(super) schedule: Schedule,
    pub(super) figures: RestFigures,
    pub(super) with: Context<'c>,
    /// What could not be brought to rest.
    pub(super) restless: Restless,
}

impl Passes<'_> {
    /// Copies volumes in passes. The last pass copies all that is left while the sources are at rest.
    ///
    /// # Errors
    /// As [`clone`](fn@super::clone).
    pub(super) fn run<'a>(
        &mut self,
        waiting: Vec<Waiting<'a>>,
        rest: &mut dyn Rest,
    ) -> Result<Vec<(Volume<'a>, Ended)>, Stopped> {
        let ice = self.rest(rest)?;
        let look = |waiting: Waiting<'a>| waiting.look(&ice, self.with);
        let looked = ice.looked(waiting.into_iter().map(look).collect());
        let looked: Vec<(Volume<'a>, Pass)> = looked.during(Phase::Planning)?;
        let (mut volumes, passes): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
        let mut ended = self.pass(&mut volumes, passes, &ice)?;
        drop(ice);
        self.restless_end(&volumes, rest)?;
        loop {
            if let Some(ended) = ended {
                return Ok(volumes.into_iter().zip(ended).collect());
            }
            let ice = self.rest(rest)?;
            let look = |volume: &Volume<'_>| volume.look(&ice, self.with);
            let looked = ice.looked(volumes.iter().map(look).collect());
            let passes: Vec<Pass> = looked.during(Phase::Planning)?;
            ended = self.pass(&mut volumes, passes, &ice)?;
            drop(ice);
            self.restless_end(&volumes, rest)?;
        }
    }

    /// Gives up what was another one too often, when it was read twice.
    fn restless_end(&self, volumes: &[Volume<'_>], rest: &dyn Rest) -> Result<(), Stopped> {
        let name = volumes.first().map_or("", Volume::name);
        self.restless
            .wait(name, rest, self.with.observer)
            .during(Phase::Copying)
    }

    /// Brings the sources to rest.
    fn rest<'r>(&self, rest: &'r mut dyn Rest) -> Result<Ice<'r>, Stopped> {
        let at_rest = rest.rest().during(Phase::Planning)?;
        Ok(Ice::new(at_rest, self.schedule.reserve()))
    }

    /// One pass over all volumes. What it ended with, if all that was left was copied at rest.
    fn pass(
        &mut self,
        volumes: &mut [Volume<'_>],
        passes: Vec<Pass>,
        ice: &Ice<'_>,
    ) -> Result<Option<Vec<Ended>>, Stopped> {
        let Context {
            options, observer, ..
        } = self.with;
        let checks: Result<Vec<_>> = passes.iter().map(Pass::check).collect();
        let checks = checks.during(Phase::Planning)?;
        let unproven_bytes = passes.iter().map(|pass| pass.unproven_bytes).sum();
        let to_read_bytes = passes.iter().map(Pass::to_read_bytes).sum();
        let frozen = self.go_on(volumes, &passes, ice, to_read_bytes)?;
        let copying = Instant::now();
        let of = || volumes.iter().zip(&passes);
        let begins: Vec<Event<'_>> = of().map(|(volume, pass)| volume.begins(pass)).collect();
        let (mut copied, mut told) = (Vec::new(), Vec::new());
        for (((volume, pass), check), begins) in of().zip(checks).zip(&begins) {
            let quiet = Quiet::begin(observer, ice, begins);
            let all = volume.copy(pass, check, options, &quiet);
            copied.push(all.during(Phase::Copying)?);
            told.push(quiet);
        }
        let read_bytes = copied.iter().map(|copied| copied.read_bytes).sum();
        let read_at_rest = ice.read_at_rest();
        if ice.is_whole() {
            let mut of = of();
            let is_same = of.try_fold(true, |is_same, (volume, pass)| {
                Ok(is_same && volume.is_same(pass, ice)?)
            });
            self.restless.read_twice(is_same.during(Phase::Checking)?);
        }
        let ended = ice.end().during(Phase::Checking)?;
        told.into_iter().for_each(Quiet::catch_up);
        let seconds = ended.or(frozen).or_else(|| ice.ended()).unwrap_or_default();
        self.figures.add(Freeze {
            seconds: seconds.as_secs_f64(),
            unproven_bytes,
            read_bytes: match ended {
                Some(_) => read_bytes,
                None => read_at_rest,
            },
        });
        self.schedule.passed(read_bytes, copying.elapsed());
        let copied = volumes.iter_mut().zip(copied);
        let taken: Result<Vec<_>> = copied.map(|(volume, copied)| volume.take(copied)).collect();
        let taken = taken.during(Phase::Copying)?;
        let kept = volumes.iter_mut().zip(passes).zip(taken);
        let kept = kept.map(|((volume, pass), taken)| volume.keep(pass, taken));
        let kept: Vec<Ended> = kept.collect();
        let is_complete = ended.is_some() && self.restless.is_same();
        Ok(is_complete.then_some(kept))
    }

    /// Lets the sources go on, unless the rest of them is to be copied at rest. How long they were at rest
    /// then.
    fn go_on(
        &mut self,
        volumes: &[Volume<'_>],
        passes: &[Pass],
        ice: &Ice<'_>,
        unproven_bytes: u64,
    ) -> Result<Option<Duration>, Stopped> {
        let left = ice.left().unwrap_or_default();
        let step = self.schedule.next(unproven_bytes, left);
        if step == Step::ReadNow {
            return Ok(None);
        }
        let frozen = ice.end().during(Phase::Planning)?;
        if step == Step::GiveUp {
            let all = volumes.iter().zip(passes);
            let all = all.flat_map(|(it, pass)| changing(it.name(), &pass.found, &pass.figures));
            return Err(give_up(all, &self.schedule, unproven_bytes)).during(Phase::Copying);
        }
        Ok(frozen)
    }
}
