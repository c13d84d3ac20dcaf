//! `klon plan`: lay out a drive and write that down; no disk is written.

mod sizes;
mod skipped;
mod source;

use crate::advice;
use crate::cli::{Common, PlanArgs};
use crate::confirm;
use crate::error::{Advice, usage};
use crate::guard::{self, Protected};
use crate::lay_out::covered_warning;
use crate::messages::say;
use crate::named::Place;
use crate::named::identity::identity_of;
use crate::named::open::OpenPlace;
use crate::output;
use crate::plan_file::{read_plan, size};
use anyhow::{Context as _, Error, Result};
use klon_imaging::OwnFile;
use klon_partition::Error as PartitionError;
use klon_partition::ExtentMap;
use klon_partition::Shown;
use klon_partition::filesystem::Kind;
use klon_partition::planner::{
    Drive, Minimum, Options, Plan, Proposal, Request, Reserve, SizePolicy, SourceRequest, Style,
    parse_size, plan, random_id,
};
use klon_partition::system::System;
use klon_partition::table::{Rewrite, Scheme, unknown_hybrid_extents};
use klon_partition::text::{quoted, unsealed};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// Lays out a drive.
///
/// # Errors
/// When a place can't be used, or the plan does not fit.
pub fn run(args: &PlanArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let drive_place = Place::resolve(&args.drive, &system)?.into_raw();
    let drive = drive_place.open()?;
    if drive.partition.is_some() {
        return Err(usage("--drive must name a whole drive, not a partition"));
    }
    let request = Request {
        drive: described(&drive, &system)?,
        sources: sources(args, &system, &drive).map_err(|error| {
            let advice = "klon can't plan for a source with bad sectors. klon clone --rescue \
                SOURCE TARGET copies everything that can be read";
            if crate::source::bad_sectors::is_unread(&error) {
                error.context(advice)
            } else {
                error
            }
        })?,
        options: options(args, drive.layout.geometry.size_bytes)?,
    };
    let mut proposal = plan(&request, &mut random_id).map_err(|error| mended(&request, error))?;
    let changes = proposal.plan.changes(request.drive.table.as_ref())?;
    if !changes.is_empty() {
        let covered = covered(&request, &proposal.plan, &drive)?;
        proposal.warnings.splice(0..0, covered_warning(&covered));
    }
    for warning in &proposal.warnings {
        let advice = advice::about_plan(warning).map(|advice| format!(". {advice}"));
        say(&format!(
            "klon: warning: {warning}{}",
            advice.unwrap_or_default()
        ));
    }
    let toml = proposal.plan.to_toml()?;
    if let Some(path) = &args.output {
        write_new(path, &toml, request.options.previous.is_some())?;
    }
    if common.json {
        output::json(&proposal)?;
    } else if !common.quiet {
        show(&proposal, &request, changes.is_empty(), args, &toml)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The drive as the planner wants to know it.
fn described(drive: &OpenPlace, system: &System) -> Result<Drive> {
    let listed_elsewhere = match drive.layout.believed_table() {
        Some(table) => unknown_hybrid_extents(&drive.device, table)?,
        None => ExtentMap::new(),
    };
    Ok(Drive {
        listed_elsewhere,
        ..Drive::new(
            identity_of(system, &drive.place.path, &drive.layout)?,
            &drive.layout,
        )
    })
}

/// The data that the planned table would overwrite. What can't be kept of the drive's table is refused now,
/// not by `klon prepare`.
fn covered(request: &Request, plan: &Plan, drive: &OpenPlace) -> Result<ExtentMap> {
    let rewrite = plan
        .table(request.drive.table.as_ref())
        .and_then(|table| Rewrite::plan(&drive.device, &drive.device, &table))
        .map_err(|error| by_replacing(request, error))
        .with_context(|| drive.place.path.shown())?;
    Ok(rewrite.covered().clone())
}

/// Adds to the refusal of a plan the option that helps, where one does.
fn mended(request: &Request, error: PartitionError) -> Error {
    let is_refusal = matches!(error, PartitionError::Refused(_));
    if is_refusal && helps(request, |options| options.may_shrink = true) {
        let advice =
            "To let klon shrink filesystems on their way, add --shrink, or --size NAME=fit";
        return Error::from(error).context(Advice(advice.to_owned()));
    }
    if is_refusal && !request.options.may_shrink && asks_kernel(request) {
        let advice = "How small a Btrfs can be is not known yet. With --shrink klon lets the kernel tell it, \
                      in an overlay, and shrinks what has no room";
        return Error::from(error).context(Advice(advice.to_owned()));
    }
    by_replacing(request, error)
}

/// Whether there is a Btrfs whose least size only the kernel knows.
fn asks_kernel(request: &Request) -> bool {
    let sources = request.sources.iter();
    let mut volumes = sources.flat_map(|source| &source.source.volumes);
    volumes.any(|volume| {
        let summary = volume.filesystem.as_ref();
        summary.is_some_and(|summary| summary.kind == Kind::Btrfs)
            && matches!(volume.minimum, Minimum::Unknown(_))
    })
}

/// Adds to a refusal the option that helps, where replacing the drive's table does.
fn by_replacing(request: &Request, error: PartitionError) -> Error {
    let is_refusal = matches!(error, PartitionError::Refused(_));
    if is_refusal && helps(request, |options| options.replace_table = true) {
        let advice = "To replace the table of the drive, add --replace-table";
        return Error::from(error).context(Advice(advice.to_owned()));
    }
    error.into()
}

/// Whether there is a plan with other options.
fn helps(request: &Request, change: fn(&mut Options)) -> bool {
    let mut other = request.clone();
    change(&mut other.options);
    other.options != request.options && plan(&other, &mut random_id).is_ok()
}

fn show(
    proposal: &Proposal,
    request: &Request,
    is_unchanged: bool,
    args: &PlanArgs,
    toml: &str,
) -> Result<()> {
    let Some(path) = &args.output else {
        say(&proposal.plan.picture(request.drive.table.as_ref(), style()));
        say(&sizes::told(&proposal.sizes));
        return Ok(output::document(toml)?);
    };
    let mut text = proposal.plan.picture(request.drive.table.as_ref(), style());
    text.push('\n');
    text.push_str(&sizes::told(&proposal.sizes));
    let shown = confirm::quoted(&path.shown());
    text.push_str(&if is_unchanged {
        format!("\nThe drive is as planned already. Next: klon clone {shown}\n")
    } else {
        format!("\nPlan written to {shown}. Next: klon prepare {shown}\n")
    });
    Ok(output::line(&text)?)
}

/// As wide as the terminal, within reason; ASCII where the locale asks for it.
pub fn style() -> Style {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default();
    let is_ascii = ["C", "POSIX"].contains(&locale.as_str());
    Style {
        width: columns.unwrap_or(80_usize).clamp(60, 120),
        is_ascii,
    }
}

/// Writes a plan: to a name that is free, or in the place of the plan that is there.
fn write_new(path: &Path, text: &str, replaces: bool) -> Result<()> {
    let write = || -> std::io::Result<()> {
        // A link to a plan stays one.
        let path = if replaces {
            path.canonicalize()?
        } else {
            path.to_owned()
        };
        let new = OwnFile::create(&path)?;
        new.file().write_all(text.as_bytes())?;
        new.file().sync_all()?;
        new.into_place(replaces)
    };
    write()
        .map_err(|error| advice::to_write(error.into(), path, advice::ELSEWHERE))
        .with_context(|| path.shown())
}

fn options(args: &PlanArgs, drive_bytes: u64) -> Result<Options> {
    let date_stamp = match args.date_stamp.as_deref() {
        Some("today") => Some(today()),
        other => other.map(str::to_owned),
    };
    Ok(Options {
        scheme: args.table.map(Scheme::from),
        replace_table: args.replace_table,
        may_shrink: args.shrink,
        date_stamp,
        reserve: reserve(args, drive_bytes)?,
        alignment_bytes: None,
        previous: previous(args)?,
    })
}

/// `--reserve`.
fn reserve(args: &PlanArgs, drive_bytes: u64) -> Result<Reserve> {
    let Some(text) = &args.reserve else {
        return Ok(Reserve {
            bytes: drive_bytes / 100,
            is_required: false,
        });
    };
    let share = text.strip_suffix('%').map(str::parse::<u32>);
    let bytes = match share {
        Some(Ok(percent @ 0..100)) => drive_bytes / 100 * u64::from(percent),
        Some(_) => return Err(usage(format!("--reserve {text}: expected 0% to 99%"))),
        None => parse_size(text).map_err(|error| usage(format!("--reserve {text}: {error}")))?,
    };
    Ok(Reserve {
        bytes,
        is_required: true,
    })
}

/// The plan that is about to be replaced: an MBR table holds no names to find its volumes by.
fn previous(args: &PlanArgs) -> Result<Option<Plan>> {
    match &args.output {
        Some(path) if path.exists() => read_plan(path)
            .map(Some)
            .context("this file exists and is not a plan. Name another one, or remove it"),
        _ => Ok(None),
    }
}

/// Today's date, UTC, as in 2026-11-21.
fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

fn sources(args: &PlanArgs, system: &System, drive: &OpenPlace) -> Result<Vec<SourceRequest>> {
    let mut sizes = args
        .size
        .iter()
        .map(|text| size(text))
        .collect::<Result<Vec<_>>>()?;
    let drive_location = drive.location(system)?;
    let mut requests = Vec::new();
    for text in &args.sources {
        let (name, path) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| {
                usage(format!(
                    "{} is not NAME=SOURCE, as in Boot=/dev/sda",
                    quoted(text)
                ))
            })?;
        let place = Place::resolve(Path::new(&unsealed(path)), system)?;
        place
            .refuse_export("can't be in a plan yet. `klon clone` takes it as a source by itself")?;
        let open = place.open()?;
        guard::is_a_source(&open)?;
        let location = open.location(system)?;
        let protected = Protected {
            name: path,
            location: &location,
        };
        guard::apart("the drive", &drive_location, &protected)?;
        let at = sizes.iter().position(|(of, _)| of == name);
        let size = at.map(|at| sizes.remove(at).1).unwrap_or_default();
        let is_small = matches!(size, SizePolicy::Fit | SizePolicy::Fixed { .. });
        let source = source::describe(&open, args.shrink || is_small, system);
        requests.push(SourceRequest {
            name: name.to_owned(),
            size,
            source: source.with_context(|| path.to_owned())?,
        });
    }
    skipped::leave_out(&args.skip, &mut requests)?;
    match sizes.first() {
        Some((name, _)) => Err(usage(format!(
            "--size names {}, which is not a source of this plan",
            quoted(name)
        ))),
        None => Ok(requests),
    }
}
