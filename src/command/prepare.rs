//! `klon prepare`: write a plan's partitions to its drive.

use crate::cli::{Common, PrepareArgs};
use crate::command::plan::style;
use crate::confirm::{self, Loss};
use crate::error::refused;
use crate::guard;
use crate::jobs::{find_drive, read_plan};
use crate::output;
use crate::place::OpenPlace;
use crate::volume::describe;
use anyhow::{Context as _, Result};
use klon_partition::device::{Target, open_target};
use klon_partition::inspect::inspect;
use klon_partition::planner::{Change, Plan};
use klon_partition::system::{System, lock, tell_kernel};
use klon_partition::table::{self, Table};
use klon_partition::{Extent, Identity, WriteAt};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// What is cleared at both ends of a new partition: room for every signature that a filesystem,
/// RAID or volume manager leaves there.
const CLEARED_BYTES: u64 = 1 << 20;

/// The answer of `klon prepare --json`.
#[derive(Serialize)]
struct Answer<'a> {
    event: &'static str,
    drive: &'a Identity,
    path: &'a Path,
    dry_run: bool,
    changes: &'a [Change],
}

/// Writes a plan's partitions to its drive.
pub fn run(args: &PrepareArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let plan = read_plan(&args.plan)?;
    let drive = find_drive(&plan, &system)?;
    let current = drive.layout.table.as_ref();
    let changes = plan.changes(current)?;
    if !common.json && !common.quiet {
        output::line(&plan.picture(current, style()))?;
    }
    if !changes.is_empty() && !args.dry_run {
        guard::unused(&system, &drive.place.path)?;
        consent(&plan, &drive, &changes, args, &system)?;
        carry_out(&plan, &drive, &changes, &system)?;
    }
    report(&plan, &drive, &changes, args, common)?;
    Ok(ExitCode::SUCCESS)
}

fn consent(
    plan: &Plan,
    drive: &OpenPlace,
    changes: &[Change],
    args: &PrepareArgs,
    system: &System,
) -> Result<()> {
    let mut description = describe(&drive.place.path, &drive.layout, system);
    description.push_str("\n  to");
    for change in changes {
        description.push_str(&format!("\n    {change}"));
    }
    confirm::ask(
        &Loss {
            identity: &plan.drive.identity,
            description: &description,
        },
        &args.consent,
    )
}

fn carry_out(plan: &Plan, drive: &OpenPlace, changes: &[Change], system: &System) -> Result<()> {
    let path = &drive.place.path;
    let _lock = match system.disk_of(path)? {
        Some(disk) => Some(lock(&disk.path)?),
        None => None,
    };
    let target = open_target(path)?;
    still(drive, &target, system)?;
    let table = plan.table(drive.layout.table.as_ref())?;
    write(&target, &table, changes).with_context(|| path.display().to_string())?;
    drop(target);
    let partitions: Vec<(u32, Extent)> = table
        .partitions
        .iter()
        .map(|partition| (partition.number, partition.extent))
        .collect();
    tell_kernel(path, &partitions).context(
        "the table is written, but the kernel does not know it yet; detach and attach the drive",
    )?;
    Ok(())
}

/// Refuses a drive that is not what was shown before it was opened for this run alone.
fn still(drive: &OpenPlace, target: &Target, system: &System) -> Result<()> {
    let path = &drive.place.path;
    guard::unused(system, path)?;
    let now = inspect(target).with_context(|| path.display().to_string())?;
    let is_same = target.id()? == drive.source.id()?
        && now.table == drive.layout.table
        && describe(path, &now, system) == describe(path, &drive.layout, system);
    match is_same {
        true => Ok(()),
        false => Err(refused(format!(
            "{} changed since it was looked at. Nothing was written; look at it and run the command \
             again",
            path.display()
        ))),
    }
}

/// What an earlier layout left where the new partitions lie goes first: it would look like their
/// content.
fn write(target: &Target, table: &Table, changes: &[Change]) -> Result<()> {
    for change in changes {
        let Change::Create { partition } = change else {
            continue;
        };
        if partition.partition_type.is_extended() {
            continue;
        }
        for extent in ends(partition.extent) {
            target.zero(extent)?;
        }
    }
    target.sync()?;
    table::write(target, table)?;
    Ok(())
}

fn ends(extent: Extent) -> impl Iterator<Item = Extent> {
    let len_bytes = extent.len_bytes().min(CLEARED_BYTES);
    let last = extent.end_bytes().saturating_sub(len_bytes);
    [extent.offset_bytes(), last]
        .into_iter()
        .filter_map(move |at| Extent::new(at, len_bytes))
}

fn report(
    plan: &Plan,
    drive: &OpenPlace,
    changes: &[Change],
    args: &PrepareArgs,
    common: &Common,
) -> Result<()> {
    if common.json {
        return Ok(output::json(&Answer {
            event: "prepared",
            drive: &plan.drive.identity,
            path: &drive.place.path,
            dry_run: args.dry_run,
            changes,
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    let plan_path = args.plan.display();
    let text = match (changes.is_empty(), args.dry_run) {
        (true, _) => {
            format!("Nothing to do: the drive is as planned. Next: klon clone {plan_path}")
        }
        (false, true) => {
            let changes: Vec<String> = changes.iter().map(|one| format!("  {one}")).collect();
            format!("Would do:\n{}", changes.join("\n"))
        }
        (false, false) => format!("The drive is prepared. Next: klon clone {plan_path}"),
    };
    Ok(output::line(&text)?)
}
