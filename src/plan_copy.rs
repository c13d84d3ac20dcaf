//! The copy of a plan that its drive carries: it tells what is on the drive where the file is lost, too.

use crate::confirm::quoted;
use crate::error::{plain_words, refused};
use crate::jobs::planned::find_drive;
use crate::messages::say;
use crate::named::Place;
use crate::named::open::OpenPlace;
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::carried::{Carried, carried, carry};
use klon_partition::device::{Target, open_around};
use klon_partition::inspect::inspect;
use klon_partition::planner::Plan;
use klon_partition::system::System;
use klon_partition::table::Table;
use std::path::Path;

/// Writes a copy of the plan to its drive. If there is no room for it, klon says so: the clones are whole all
/// the same.
pub fn keep(plan: &Plan, path: &Path, system: &System) {
    let copied = || -> Result<Carried> {
        let target = open_around(&find_drive(plan, system)?.place.path)?;
        let layout = inspect(&target)?;
        match layout.believed_table() {
            Some(table) => Ok(carry(&target, table, plan)?),
            None => Ok(Carried::NoRoom),
        }
    };
    tell(copied(), path, &plan.drive.identity.to_string());
}

/// A drive that is open for writing.
pub struct OpenedDrive<'a> {
    /// Its path.
    pub path: &'a Path,
    /// What is written to.
    pub target: &'a Target,
    /// The table that it has.
    pub table: &'a Table,
}

/// Keeps the plan, which came from the file at `path`, on a drive.
pub fn keep_on(plan: &Plan, path: &Path, drive: &OpenedDrive<'_>) {
    let copied = carry(drive.target, drive.table, plan).map_err(Into::into);
    tell(copied, path, &drive.path.shown());
}

fn tell(copied: Result<Carried>, path: &Path, drive: &str) {
    let why = match copied {
        Ok(Carried::Yes | Carried::Already) => return,
        Ok(Carried::NoRoom) => "there is no room for it before the first partition".to_owned(),
        Err(error) => plain_words(&format!("{error:#}")),
    };
    say(&format!(
        "klon: warning: {drive} carries no copy of its plan: {why}. Without {}, klon restore can't bring back \
         what was on the sources",
        quoted(&path.shown())
    ));
}

/// The plan that a drive carries, and the drive.
///
/// # Errors
/// [`refused`] when it carries none, or that of another drive; when it can't be read.
pub fn of_drive(given: &Path, system: &System) -> Result<(Plan, OpenPlace)> {
    let place = Place::resolve(given, system)?;
    let none = || {
        refused(format!(
            "{} carries no intact plan of klon. Name the plan file itself",
            place.given
        ))
    };
    if place.image.is_some() || place.number.is_some() || place.is_export() {
        return Err(none());
    }
    let open = place.clone().into_raw().open()?;
    let table = open.layout.believed_table().ok_or_else(none)?;
    let plan = carried(&*open.device, table)
        .with_context(|| format!("the plan that {} carries", place.given))?
        .ok_or_else(none)?;
    let is_its = match table.disk_guid {
        Some(guid) => plan.table.disk_guid == Some(guid),
        None => plan.table.disk_guid.is_none() && plan.table.disk_signature == table.disk_signature,
    };
    if !is_its {
        return Err(refused(format!(
            "{} carries the plan of another drive: it is a copy of that drive",
            place.given
        )));
    }
    Ok((plan, open))
}
