//! `klon prepare`: write a plan's partitions to its drive.

use crate::cli::{Common, PrepareArgs};
use crate::command::plan::style;
use crate::confirm::{self, Loss};
use crate::description::{describe, described};
use crate::direction;
use crate::error::refused;
use crate::guard;
use crate::human;
use crate::jobs::planned::find_drive;
use crate::named::open::OpenPlace;
use crate::output;
use crate::plan_file::read_plan;
use crate::records;
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::device::{Target, Window, is_blank, open_target};
use klon_partition::inspect::{Volume, inspect};
use klon_partition::planner::{Change, Plan};
use klon_partition::system::{System, lock, tell_kernel};
use klon_partition::table::{self, Rewrite, Table};
use klon_partition::{Extent, ExtentMap, Identity, WriteAt};
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
    #[serde(serialize_with = "klon_partition::text::path")]
    path: &'a Path,
    dry_run: bool,
    changes: &'a [Change],
}

/// Writes a plan's partitions to its drive.
pub fn run(args: &PrepareArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let plan = read_plan(&args.plan)?;
    let drive = find_drive(&plan, &system)?;
    let current = current_table(&plan, &drive)?;
    let changes = plan.changes(current)?;
    if !common.json && !common.quiet {
        output::line(&plan.picture(current, style()))?;
    }
    let mut covered = ExtentMap::new();
    if !changes.is_empty() {
        // What can't be kept of the table is refused before anybody is asked.
        let device = &drive.device;
        let rewrite = Rewrite::plan(device, device, &plan.table(current)?)
            .with_context(|| drive.place.path.shown())?;
        covered = rewrite.covered().clone();
    }
    if !changes.is_empty() && !args.dry_run {
        guard::unused(&system, &drive.place.path)?;
        let confirm = &args.consent.confirm;
        let is_other = !confirm.is_empty()
            && !(confirm.iter()).any(|given| confirm::is_meant(given, &plan.drive.identity));
        let loses =
            |change: &Change| !matches!(change, Change::Create { .. } | Change::Update { .. });
        if changes.iter().any(loses) {
            direction::check_drive(&drive, &plan.drive.identity, &records::store(common)?)?;
        }
        if is_other || !covered.is_empty() || !is_drive_blank(&drive)? {
            consent(&plan, &drive, (&changes, &covered), args, &system)?;
        }
        carry_out(&plan, &drive, &changes, &system)?;
    }
    report(&plan, &drive, &changes, args, common)?;
    Ok(ExitCode::SUCCESS)
}

/// The table that the plan adds to: one that can be relied on, or one of which the backup is as planned
/// already, as an earlier run of this command leaves it when it is interrupted.
fn current_table<'a>(plan: &Plan, drive: &'a OpenPlace) -> Result<Option<&'a Table>> {
    let layout = &drive.layout;
    if layout.has_differing_copies()
        && let Some(primary) = &layout.table
        && let Ok(planned) = plan.table(Some(primary))
        && let Some(backup) = table::backup(&*drive.source)?
        && (planned.disk_guid, planned.partitions) == (backup.disk_guid, backup.partitions)
    {
        return Ok(Some(primary));
    }
    match layout.doubt() {
        Some(why) if !plan.table.is_new => Err(refused(format!(
            "the partition table of {} can't be relied on any more: {why}. Nothing was written. Mend the \
             table (sgdisk, sfdisk or testdisk), or plan again with --replace-table",
            drive.place.given
        ))),
        _ => Ok(layout.believed_table()),
    }
}

fn consent(
    plan: &Plan,
    drive: &OpenPlace,
    (changes, covered): (&[Change], &ExtentMap),
    args: &PrepareArgs,
    system: &System,
) -> Result<()> {
    // Whatever else is on it is neither lost nor in question.
    let is_lost = |volume: &Volume| {
        let is_of = |change: &Change| match change {
            Change::Remove { partition } => partition.extent == volume.extent,
            _ => false,
        };
        plan.table.is_new || volume.partition.is_none() || changes.iter().any(is_of)
    };
    let mut description = describe(drive, system, is_lost);
    description.push_str("\n  to");
    for change in changes {
        description.push_str(&format!("\n    {change}"));
        if !plan.table.is_new && takes_data(change, changes, drive) {
            description.push_str(", over data in no partition");
        }
    }
    if let Some(first) = covered.iter().next() {
        description.push_str(&format!(
            "\n  The table goes over {} from byte {} that belong to no partition and are not zero: a boot \
             loader, perhaps",
            human::size(covered.total_bytes()),
            first.offset_bytes()
        ));
    }
    confirm::ask(
        &Loss {
            identity: &plan.drive.identity,
            description: &description,
        },
        &args.consent,
    )
}

/// Whether a new partition lies where there is something that no partition has: what is seen of it in
/// many places. What a partition had that is removed is named with that.
fn takes_data(change: &Change, changes: &[Change], drive: &OpenPlace) -> bool {
    let Change::Create { partition } = change else {
        return false;
    };
    let is_named = |change: &Change| matches!(change, Change::Remove { partition: old } if old.extent.overlaps(partition.extent));
    let room = Window::new(&*drive.source, partition.extent);
    !changes.iter().any(is_named)
        && room.is_ok_and(|room| is_blank(&room).is_ok_and(|blank| !blank))
}

/// Nothing recognized, no table, and zeroes wherever one looks: nothing would be lost.
fn is_drive_blank(drive: &OpenPlace) -> Result<bool> {
    let layout = &drive.layout;
    let is_known = layout.table.is_some() || !layout.volumes.is_empty();
    Ok(!is_known && is_blank(&drive.source)?)
}

fn carry_out(plan: &Plan, drive: &OpenPlace, changes: &[Change], system: &System) -> Result<()> {
    let path = &drive.place.path;
    let _lock = match system.disk_of(path)? {
        Some(disk) => Some(lock(&disk.path)?),
        None => None,
    };
    let target = open_target(path)?;
    still(drive, &target, system)?;
    let table = plan.table(current_table(plan, drive)?)?;
    write(&target, &table, changes).with_context(|| path.shown())?;
    drop(target);
    let partitions: Vec<(u32, Extent)> = table
        .partitions
        .iter()
        .map(|partition| (partition.number, partition.extent))
        .collect();
    tell_kernel(path, &partitions).context(
        "the table is written, but the kernel does not know it yet. Detach and attach the drive",
    )?;
    Ok(())
}

/// Refuses a drive that is not what was shown before it was opened for this run alone.
fn still(drive: &OpenPlace, target: &Target, system: &System) -> Result<()> {
    let path = &drive.place.path;
    guard::unused(system, path)?;
    let now = inspect(target).with_context(|| path.shown())?;
    let is_same = target.id()? == drive.source.id()?
        && now.table == drive.layout.table
        && described(path, (&now, target), system, |_| true)
            == described(path, (&drive.layout, &*drive.source), system, |_| true);
    if is_same {
        Ok(())
    } else {
        Err(refused(format!(
            "someone changed {} after klon looked at it. Nothing was written. Look at it and run \
             the command again",
            path.shown()
        )))
    }
}

/// What an earlier layout left where the new partitions lie goes first: it would look like their
/// content.
fn write(target: &Target, table: &Table, changes: &[Change]) -> Result<()> {
    let rewrite = Rewrite::plan(target, target, table)?;
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
    rewrite.carry_out(target)?;
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
    let plan_path = confirm::quoted(&args.plan.shown());
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
