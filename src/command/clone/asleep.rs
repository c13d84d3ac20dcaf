//! Targets that are asleep between runs: a run wakes them, and puts them to sleep again however it ends.

use crate::cli::{CloneArgs, IdentityArg};
use crate::dormant::{State, is_asleep, turn};
use crate::error::{Advice, refused};
use crate::jobs::planned::{find_drive, partition_place, planned_partition};
use crate::messages::say;
use crate::named::Place;
use anyhow::Result;
use klon_imaging::RecordStore;
use klon_partition::Identity;
use klon_partition::planner::Plan;
use klon_partition::system::System;

/// A run, as far as its targets go.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) args: &'a CloneArgs,
    pub(super) plan: Option<&'a Plan>,
    pub(super) records: &'a RecordStore,
}

/// The targets of a run, as far as they are there, with what their records are kept by.
fn targets(run: Of<'_>, system: &System) -> Result<Vec<(Place, Identity)>> {
    let Of { args, plan, .. } = run;
    if let Some(target) = args.target.as_ref().filter(|target| target.exists()) {
        let place = Place::resolve_here(target, system)?;
        if place.image.is_some() {
            return Ok(Vec::new());
        }
        let place = place.into_raw();
        // What can't be opened is told by the run itself.
        let identity = place.open().and_then(|open| open.identity(system));
        return Ok(identity.into_iter().map(|it| (place.clone(), it)).collect());
    }
    // What can't be found is told by the run itself.
    let Some((plan, Ok(drive))) = plan.map(|plan| (plan, find_drive(plan, system))) else {
        return Ok(Vec::new());
    };
    let disk = system.disk_of(&drive.place.path)?;
    let mut all = Vec::new();
    for volume in &plan.volumes {
        let is_meant = args.only.is_empty()
            || args
                .only
                .iter()
                .any(|name| *name == volume.name || *name == volume.group);
        if let Ok(partition) = planned_partition(volume, &drive).map_err(drop)
            && is_meant
        {
            let place = partition_place(&volume.name, &partition, &drive, disk.as_ref());
            all.push((place, plan.target(volume)));
        }
    }
    Ok(all)
}

/// Those that were asleep before a run.
pub(super) struct Woken(Vec<Place>);

impl Woken {
    /// Wakes what is asleep.
    ///
    /// # Errors
    /// [`refused`] for a dry run, which would have to write, and when a target that sleeps is in use.
    pub(super) fn wake(run: Of<'_>, system: &System) -> Result<Self> {
        let mut woken = Vec::new();
        for (place, _) in targets(run, system)? {
            // What can't be read is told by the run itself.
            if !place
                .open()
                .and_then(|open| is_asleep(&open))
                .unwrap_or_default()
            {
                continue;
            }
            if run.args.run.dry_run {
                return Err(refused(format!(
                    "{} is asleep, and a dry run wakes nothing. Wake it first (klon wake)",
                    place.given
                )));
            }
            if !turn(&place, State::Awake, system)?.is_empty() {
                woken.push(place);
            }
        }
        Ok(Self(woken))
    }

    /// Puts to sleep what is to be asleep, after a run that ended with `done`.
    ///
    /// # Errors
    /// The failure of the run; when a target can't be put to sleep.
    pub(super) fn after<T>(self, done: Result<T>, run: Of<'_>) -> Result<T> {
        let slept = match &done {
            Ok(_) if run.args.run.dry_run => Ok(()),
            Ok(_) => settle(run, &self.0),
            // A clone that is not finished is recognized by nothing either.
            Err(_) => sleep(self.0.iter()),
        };
        match (done, slept) {
            (Err(error), Err(_)) => Err(error.context(Advice(
                "A target that was asleep may be awake now: klon sleep puts it to sleep".to_owned(),
            ))),
            (Err(error), Ok(())) => Err(error),
            (Ok(done), slept) => slept.map(|()| done),
        }
    }
}

fn sleep<'a>(places: impl Iterator<Item = &'a Place>) -> Result<()> {
    let system = System::current()?;
    for place in places {
        turn(place, State::Asleep, &system)?;
    }
    Ok(())
}

/// What becomes of targets after a run that went well.
fn settle(run: Of<'_>, woken: &[Place]) -> Result<()> {
    let Of { args, records, .. } = run;
    let system = System::current()?;
    for (place, identity) in targets(run, &system)? {
        let outline = records.outline(&identity).unwrap_or_default();
        let was_asleep = outline.is_some_and(|it| it.manifest.is_dormant)
            || woken
                .iter()
                .any(|woken| woken.path == place.path && woken.number == place.number);
        let is_to_sleep = match args.identity {
            Some(IdentityArg::Dormant) => true,
            Some(IdentityArg::Keep | IdentityArg::New) => false,
            None => was_asleep,
        };
        if is_to_sleep != was_asleep {
            records.note_dormant(&identity, is_to_sleep)?;
        }
        if is_to_sleep {
            let slept = turn(&place, State::Asleep, &system)?;
            let given = &place.given;
            say(&format!(
                "klon: {given} is asleep: {}. klon wake {given} wakes it",
                slept.join(", ")
            ));
        }
    }
    Ok(())
}
