//! `klon check-boot`: what firmware would find on a disk, and what would be mounted then. Nothing is written, and
//! nothing is booted or mounted.

mod config;
mod disk;
mod firmware;
mod system;

use crate::cli::{CheckBootArgs, Common};
use crate::error::{DIFFERENT, refused, usage};
use crate::human;
use crate::named::Place;
use crate::output;
use anyhow::Result;
use klon_partition::system::System;
use serde::Serialize;
use std::process::ExitCode;

/// What is known of one thing that a boot needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is there.
    Found,
    /// It is not.
    Missing,
    /// It could not be looked at.
    Unknown,
    /// It need not be there.
    Note,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    state: State,
    text: String,
}

/// All that was looked for.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, state: State, text: &str) {
        self.0.push(Finding {
            state,
            text: text.to_owned(),
        });
    }

    fn found(&mut self, text: &str) {
        self.add(State::Found, text);
    }

    fn missing(&mut self, text: &str) {
        self.add(State::Missing, text);
    }

    fn unknown(&mut self, text: &str) {
        self.add(State::Unknown, text);
    }

    fn note(&mut self, text: &str) {
        self.add(State::Note, text);
    }

    fn count(&self, state: State) -> usize {
        self.0
            .iter()
            .filter(|finding| finding.state == state)
            .count()
    }
}

/// The answer of `klon check-boot --json`.
#[derive(Serialize)]
struct Answer<'a> {
    event: &'static str,
    /// What was looked at.
    name: &'a str,
    /// Whether nothing is missing.
    is_complete: bool,
    findings: &'a [Finding],
}

/// Looks for all that a boot from a disk needs.
///
/// # Errors
/// [`usage`] for what is no disk with partitions; when it can't be read.
pub fn run(args: &CheckBootArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let place = Place::resolve(&args.target, &system)?;
    let open = place.open()?;
    if open.partition.is_some() || open.layout.table.is_none() && open.layout.doubt().is_none() {
        return Err(usage(format!(
            "{} is no disk with partitions: firmware starts from whole disks",
            open.place.given
        )));
    }
    if let Some(why) = open.layout.doubt() {
        return Err(refused(format!(
            "the partition table of {} can't be relied on ({why}), so klon can't say what firmware makes of it",
            open.place.given
        )));
    }
    let volumes = disk::volumes(&open)?;
    let mut report = Report::default();
    firmware::check(&open, &volumes, &mut report, &system)?;
    system::check(&volumes, &mut report)?;
    let missing = report.count(State::Missing);
    if common.json {
        output::json(&Answer {
            event: "boot_checked",
            name: &open.place.given,
            is_complete: missing == 0,
            findings: &report.0,
        })?;
    } else {
        output::line(&told(&report, &open.place.given))?;
    }
    Ok(match missing {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(DIFFERENT),
    })
}

/// A line for each, and a sum.
fn told(report: &Report, name: &str) -> String {
    let mut text = String::new();
    for finding in &report.0 {
        let state = match finding.state {
            State::Found => "found  ",
            State::Missing => "MISSING",
            State::Unknown => "unknown",
            State::Note => "note   ",
        };
        text.push_str(&format!("{state}  {}\n", finding.text));
    }
    let (missing, unknown) = (report.count(State::Missing), report.count(State::Unknown));
    text.push_str(&match missing {
        0 => format!("{name}: all that klon looked for is there"),
        _ => format!("{name}: {} missing", human::count(missing, "thing")),
    });
    if unknown > 0 {
        text.push_str(&format!(
            ", and {} could not be looked at",
            human::count(unknown, "thing")
        ));
    }
    text
}
