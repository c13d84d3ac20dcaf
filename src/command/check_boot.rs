//! `klon check-boot`: what firmware would find on a disk, and what would be mounted then. Nothing is written, and
//! nothing is booted or mounted.

mod checked;
mod config;
mod disk;
mod firmware;
mod loaders;
mod look;
mod meter;
mod report;
mod system;

use crate::cli::{CheckBootArgs, Common};
use crate::error::{DIFFERENT, refused, usage};
use crate::human;
use crate::named::Place;
use crate::output;
use anyhow::Result;
use klon_partition::system::System;
use report::{Finding, Report, State};
use serde::Serialize;
use std::process::ExitCode;

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
    report.end();
    let missing = report.count(State::Missing);
    if common.json {
        output::json(&Answer {
            event: "boot_checked",
            name: &open.place.given,
            is_complete: missing == 0,
            findings: report.findings(),
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
    for finding in report.findings() {
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
