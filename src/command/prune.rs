//! `klon prune`: removes the snapshots of an image that no rule keeps, and frees their room.

mod compact;
mod given_back;
mod room;

use crate::cli::{Common, PruneArgs};
use crate::confirm;
use crate::error::{refused, usage};
use crate::human;
use crate::image::{ImageName, lock};
use crate::messages::say;
use crate::output;
use crate::progress::{Progress, Totals};
use crate::signals::interrupt_flag;
use crate::zone::Zone;
use anyhow::{Context as _, Result};
use given_back::Space;
use klon_imaging::image::{
    Calendar, Fate, FilesAppend, Image, KeepRules, PrunePlan, forget, forget_from, plan_prune,
    punch_unused,
};
use klon_partition::Shown;
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// What `klon prune --json` prints last.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    image: String,
    snapshots: &'a [Fate],
    removed: &'a [u64],
    /// Bytes of room that are given back, or would be; with `--compact`, by how much the file
    /// becomes smaller.
    freed_bytes: u64,
    /// Bytes of the file that remain in use.
    live_bytes: u64,
    /// The time zone whose days were counted.
    zone: &'a str,
}

/// What is to be done.
struct Work {
    name: ImageName,
    image: Image,
    fates: Vec<Fate>,
    remove: Vec<u64>,
    zone: Zone,
}

/// Prunes an image.
///
/// # Errors
/// When the image can't be opened alone, or can't be written.
pub fn run(args: &PruneArgs, common: &Common) -> Result<ExitCode> {
    let name = ImageName::parse(&args.image)?;
    let given = || name.path.shown();
    name.files()?;
    // Nobody adds to it meanwhile. A new file takes nothing from those who read the old one.
    let (lock, image) = match (args.dry_run, args.compact) {
        (true, _) => (None, name.open()?),
        (false, true) => (Some(lock::for_writing(&name.path)?), name.open()?),
        (false, false) => (Some(lock::alone(&name.path)?), name.open_alone()?),
    };
    let zone = Zone::of(args.zone);
    let fates = zone.with_calendar(|calendar| fates(args, &name, &image, calendar))?;
    let going = fates.iter().filter(|fate| fate.kept_by.is_empty());
    let work = Work {
        remove: going.map(|fate| fate.number).collect(),
        name: name.clone(),
        image,
        fates,
        zone,
    };
    if args.compact {
        return compact::run(work, args, common);
    }
    let plan = plan_prune(&work.image, &work.remove).with_context(given)?;
    if args.dry_run || plan.is_nothing() {
        work.report("would_prune", &plan, plan.freed_bytes, common)?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = name.files()?;
    room::check(&work.image, &plan, &name.path)?;
    let explained = |error| room::explained(error, &work.image, &name.path);
    let punch = files.punch().map_err(|error| no_holes(error, &given()));
    let punch = punch.map_err(explained)?;
    work.consent(args, common, &plan)?;
    let progress = Progress::new(
        common,
        Totals {
            bytes: plan.freed_bytes,
            volumes: 1,
        },
        interrupt_flag()?,
    );
    if let (Some(position), Some(first)) = (forget_from(&work.image, &plan), &lock) {
        let first = first.try_clone().with_context(given)?;
        let output = FilesAppend::resume(&files, first, position, None).with_context(given)?;
        let forgotten = forget(&work.image, &plan, output).with_context(given);
        forgotten.map_err(explained)?;
    }
    // What is used is asked of the file as it is now.
    let now = name.open_alone()?;
    let before = Space::look(&files)?;
    let hole_bytes = punch_unused(&now, &given(), &punch, &progress).with_context(|| {
        format!(
            "{}: the snapshots are removed, but not all of their room is freed yet. Run the same \
             command again",
            given()
        )
    })?;
    let freed_bytes = before.given_back(&Space::look(&files)?, hole_bytes);
    work.report("pruned", &plan, freed_bytes, common)?;
    if given_back::is_short(freed_bytes, hole_bytes) {
        say(&format!(
            "klon: the filesystem freed all but {} of {} that nothing uses any more: it keeps an extent \
             as long as a part of it is used. klon prune --compact writes what remains to a new file",
            human::size(hole_bytes - freed_bytes),
            human::size(hole_bytes)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// What becomes of each snapshot.
fn fates(
    args: &PruneArgs,
    name: &ImageName,
    image: &Image,
    calendar: &Calendar<'_>,
) -> Result<Vec<Fate>> {
    let rules = KeepRules {
        last: args.keep_last.unwrap_or(0),
        daily: args.keep_daily.unwrap_or(0),
        weekly: args.keep_weekly.unwrap_or(0),
        monthly: args.keep_monthly.unwrap_or(0),
    };
    let given = [
        args.keep_last,
        args.keep_daily,
        args.keep_weekly,
        args.keep_monthly,
    ];
    let has_rules = given.iter().any(Option::is_some);
    let all = KeepRules {
        last: u32::MAX,
        ..KeepRules::default()
    };
    match name.snapshot {
        Some(_) if has_rules => Err(usage(
            "name one snapshot to remove (FILE@N), or give rules for what is kept, not both",
        )),
        Some(number) => {
            // Says which there are.
            if image.catalog().find(Some(number)).is_none() {
                image.snapshot(Some(number))?;
            }
            let mut fates = all.fates(image.catalog(), calendar);
            let removed = fates.iter_mut().filter(|fate| fate.number == number);
            removed.for_each(|fate| fate.kept_by.clear());
            Ok(fates)
        }
        None if has_rules => Ok(rules.fates(image.catalog(), calendar)),
        None if args.compact => Ok(all.fates(image.catalog(), calendar)),
        None => Err(usage(
            "say what to keep (as --keep-last 7 --keep-weekly 4), or name one snapshot to remove (FILE@N)",
        )),
    }
}

/// The error of a prune, with words for a filesystem that can't make holes.
fn no_holes(error: io::Error, name: &str) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Unsupported => refused(format!(
            "the filesystem of {name} can't free room inside a file. Nothing was changed. --compact \
             writes what remains to a new file instead"
        )),
        _ => anyhow::Error::from(error).context(name.to_owned()),
    }
}

impl Work {
    fn consent(&self, args: &PruneArgs, common: &Common, plan: &PrunePlan) -> Result<()> {
        let given = self.name.path.shown();
        if !common.json && !common.quiet && !args.yes {
            say(&self.text(plan.freed_bytes, plan.live_bytes));
        }
        if plan.torn_bytes > 0 {
            say(&format!(
                "klon: warning: this also removes {} that an interrupted run left behind the last \
                 snapshot. To keep them, run that command again first",
                human::size(plan.torn_bytes)
            ));
        }
        if args.yes || confirm::yes(&format!("Remove {} of {given} for good", self.removed()))? {
            return Ok(());
        }
        Err(refused(format!(
            "this would remove {} of {given}. To do it, add --yes",
            self.removed()
        )))
    }

    /// The snapshots that go: `snapshot 1`, `snapshots 1, 2`.
    fn removed(&self) -> String {
        let numbers: Vec<String> = self.remove.iter().map(ToString::to_string).collect();
        let plural = if numbers.len() == 1 { "" } else { "s" };
        format!("snapshot{plural} {}", numbers.join(", "))
    }

    fn text(&self, freed_bytes: u64, live_bytes: u64) -> String {
        let mut text = format!("days: {}\n", self.zone.name());
        for (fate, entry) in self.fates.iter().zip(&self.image.catalog().snapshots) {
            let what = if fate.kept_by.is_empty() {
                "goes".to_owned()
            } else {
                format!("kept: {}", fate.kept_by.join(", "))
            };
            text.push_str(&format!(
                "{:>4}  {}  {what}\n",
                fate.number,
                self.zone.date(entry.ended_unix_seconds)
            ));
        }
        text.push_str(&format!(
            "{} to be freed; the image then takes {}\n",
            human::size(freed_bytes),
            human::size(live_bytes)
        ));
        text
    }

    fn report(
        &self,
        event: &'static str,
        plan: &PrunePlan,
        freed_bytes: u64,
        common: &Common,
    ) -> Result<()> {
        let image = self.name.path.shown();
        if common.json {
            return Ok(output::json(&Line {
                event,
                image,
                snapshots: &self.fates,
                removed: &self.remove,
                freed_bytes,
                live_bytes: plan.live_bytes,
                zone: self.zone.name(),
            })?);
        }
        if common.quiet {
            return Ok(());
        }
        if event == "would_prune" {
            return Ok(output::line(&self.text(freed_bytes, plan.live_bytes))?);
        }
        Ok(output::line(&format!(
            "{image}: {} removed, {} freed; the image now takes {}",
            human::count(self.remove.len(), "snapshot"),
            human::size(freed_bytes),
            human::size(plan.live_bytes)
        ))?)
    }
}
