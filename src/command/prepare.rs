//! `klon prepare`: write a plan's partitions to its drive.

use crate::boot_code::BootCode;
use crate::cli::{Common, PrepareArgs};
use crate::command::plan::style;
use crate::confirm::{self, Loss};
use crate::description::describe;
use crate::direction;
use crate::error::refused;
use crate::guard;
use crate::jobs::planned::find_drive;
use crate::lay_out::{self, Prepared, WantedTable, covered_warning, is_drive_blank, takes_data};
use crate::named::open::OpenPlace;
use crate::output;
use crate::plan_copy::{self, OpenedDrive};
use crate::plan_file::read_plan;
use crate::records;
use anyhow::{Context as _, Result};
use klon_partition::ExtentMap;
use klon_partition::Shown;
use klon_partition::inspect::Volume;
use klon_partition::planner::{Change, Plan};
use klon_partition::system::System;
use klon_partition::table::{self, Rewrite, Table};
use std::process::ExitCode;

/// Writes a plan's partitions to its drive.
///
/// # Errors
/// When the drive is in use or another one than planned, consent is missing, or its table can't be
/// written.
pub fn run(args: &PrepareArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let plan = read_plan(&args.plan)?;
    let drive = find_drive(&plan, &system)?;
    let current = current_table(&plan, &drive)?;
    let changes = plan.changes(current)?;
    if !common.json && !common.quiet {
        output::line(&plan.picture(current, style()))?;
    }
    let table = plan.table(current)?;
    let mut covered = ExtentMap::new();
    if !changes.is_empty() {
        // What can't be kept of the table is refused before anybody is asked.
        let device = &drive.device;
        let rewrite =
            Rewrite::plan(device, device, &table).with_context(|| drive.place.path.shown())?;
        covered = rewrite.covered().clone();
    }
    let preparing = Preparing {
        plan: &plan,
        drive: &drive,
        changes: &changes,
        covered: &covered,
        args,
    };
    let code = boot_code(&preparing, &table)?;
    if (!changes.is_empty() || code.is_some()) && !args.dry_run {
        guard::unused(&system, &drive.place.path)?;
        let confirm = &args.consent.confirm;
        let is_other = !confirm.is_empty()
            && !(confirm.iter()).any(|given| confirm::is_meant(given, &plan.drive.identity));
        let loses =
            |change: &Change| !matches!(change, Change::Create { .. } | Change::Update { .. });
        if changes.iter().any(loses) {
            direction::check_drive(&drive, &plan.drive.identity, &records::store(common)?)?;
        }
        // Boot code alone goes where there is nothing.
        let is_code_alone = changes.is_empty() && !is_other;
        if !is_code_alone && (is_other || !covered.is_empty() || !is_drive_blank(&drive)?) {
            consent(&preparing, &system)?;
        }
        let wanted = WantedTable {
            table: &table,
            changes: &changes,
            marked: &[],
        };
        lay_out::carry_out(&drive, &wanted, &system, |target| {
            if let Some(code) = &code {
                code.write(target)?;
            }
            let opened = OpenedDrive {
                path: &drive.place.path,
                target,
                table: &table,
            };
            plan_copy::keep_on(&plan, &args.plan, &opened);
            Ok(())
        })?;
    }
    report(&preparing, code.is_some(), common)?;
    Ok(ExitCode::SUCCESS)
}

/// What is done to a drive.
struct Preparing<'a> {
    plan: &'a Plan,
    drive: &'a OpenPlace,
    changes: &'a [Change],
    /// Bytes of the drive that the new table replaces, though they are no table.
    covered: &'a ExtentMap,
    args: &'a PrepareArgs,
}

/// The boot code that the drive gets with its new table, or lacks, as a run leaves it that was interrupted. What
/// someone else has installed there since is left alone.
fn boot_code<'a>(preparing: &Preparing<'a>, table: &Table) -> Result<Option<BootCode<'a>>> {
    let Some(original) = preparing.plan.boots_as(table) else {
        return Ok(None);
    };
    let is_new = |change: &Change| matches!(change, Change::NewTable { .. });
    let code = BootCode::of(original, table);
    let is_due =
        preparing.changes.iter().any(is_new) || code.is_missing(&**preparing.drive.own()?)?;
    Ok(is_due.then_some(code))
}

/// The table that the plan adds to. It can be relied on, or its backup already is as planned: an interrupted
/// run of this command leaves it so.
fn current_table<'a>(plan: &Plan, drive: &'a OpenPlace) -> Result<Option<&'a Table>> {
    let layout = &drive.layout;
    if layout.has_differing_copies()
        && let Some(primary) = &layout.table
        && let Ok(planned) = plan.table(Some(primary))
        && let Some(backup) = table::backup(&**drive.own()?)?
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

fn consent(preparing: &Preparing<'_>, system: &System) -> Result<()> {
    let (plan, drive, changes) = (preparing.plan, preparing.drive, preparing.changes);
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
    if let Some(covered) = covered_warning(preparing.covered) {
        description.push_str(&format!("\n  {covered}"));
    }
    confirm::ask(
        &Loss {
            identity: &plan.drive.identity,
            description: &description,
        },
        &preparing.args.consent,
    )
}

fn report(preparing: &Preparing<'_>, has_code: bool, common: &Common) -> Result<()> {
    let Preparing {
        plan,
        drive,
        changes,
        covered,
        args,
    } = *preparing;
    if common.json {
        return Ok(output::json(&Prepared {
            event: "prepared",
            drive: &plan.drive.identity,
            path: &drive.place.path,
            dry_run: args.dry_run,
            changes,
            covered,
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    let plan_path = confirm::quoted(&args.plan.shown());
    let text = match (changes.is_empty() && !has_code, args.dry_run) {
        (true, _) => {
            format!("Nothing to do: the drive is as planned. Next: klon clone {plan_path}")
        }
        (false, true) => {
            let mut lines: Vec<String> = changes.iter().map(|one| format!("  {one}")).collect();
            if has_code {
                lines.push("  write the BIOS boot code of the disk".to_owned());
            }
            lines.extend(covered_warning(covered).map(|covered| format!("  {covered}")));
            format!("Would do:\n{}", lines.join("\n"))
        }
        (false, false) => format!("The drive is prepared. Next: klon clone {plan_path}"),
    };
    Ok(output::line(&text)?)
}
