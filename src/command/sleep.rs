//! `klon sleep` and `klon wake`: whether anything recognizes a clone.

use crate::cli::{Common, SleepArgs};
use crate::dormant::{State, turn};
use crate::error::refused;
use crate::named::Place;
use crate::output;
use crate::records;
use anyhow::Result;
use klon_partition::Identity;
use klon_partition::system::System;
use serde::Serialize;
use std::process::ExitCode;

/// What `--json` says.
#[derive(Serialize)]
struct Answer<'a> {
    event: &'static str,
    target: &'a str,
    identity: &'a Identity,
    /// What fell asleep, or woke.
    volumes: &'a [String],
}

/// Puts a clone to sleep.
///
/// # Errors
/// [`refused`] for what no record calls a clone, what is in use, and what can't sleep.
pub fn sleep(args: &SleepArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let place = Place::resolve(&args.target, &system)?;
    let identity = place.open()?.identity(&system)?;
    if !records.path(&identity).exists() {
        return Err(refused(format!(
            "no record here says that {} is a clone, and klon puts nothing else to sleep",
            place.given
        )));
    }
    records.note_dormant(&identity, true)?;
    let volumes = turn(&place, State::Asleep, &system)?;
    let answer = Answer {
        event: "asleep",
        target: &place.given,
        identity: &identity,
        volumes: &volumes,
    };
    answer.report(common)
}

/// Wakes what is asleep.
///
/// # Errors
/// [`refused`] for what is in use.
pub fn wake(args: &SleepArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let place = Place::resolve(&args.target, &system)?;
    let volumes = turn(&place, State::Awake, &system)?;
    // A volume by itself is recognized by what is on it.
    let identity = place.open()?.identity(&system)?;
    records.note_dormant(&identity, false)?;
    let answer = Answer {
        event: "awake",
        target: &place.given,
        identity: &identity,
        volumes: &volumes,
    };
    answer.report(common)
}

impl Answer<'_> {
    fn report(&self, common: &Common) -> Result<ExitCode> {
        if common.json {
            output::json(self)?;
        } else if !common.quiet {
            let what = match self.volumes {
                [] => "nothing changed".to_owned(),
                volumes => volumes.join(", "),
            };
            output::line(&format!("{} is {}: {what}", self.target, self.event))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
