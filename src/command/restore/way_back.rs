//! `klon restore PLAN NAME=DISK`: what a backup drive has of a disk back to a new one, with the table, names
//! and identities of the original. So does the disk of an image to a disk for which it is too large.

mod boot;
mod by_partitions;
mod disk;
mod image;
mod shrink;

use super::{grow, rung};
use crate::boot_fields;
use crate::cli::{Common, RestoreArgs};
use crate::confirm::{self, Loss};
use crate::description::describe;
use crate::direction;
use crate::error::{Advice, refused, usage};
use crate::jobs::VolumeJob;
use crate::jobs::planned::partition_target;
use crate::lay_out::{Prepared, covered_warning, is_drive_blank, takes_data};
use crate::messages::say;
use crate::named::Place;
use crate::named::identity::partition_identity;
use crate::named::open::OpenPlace;
use crate::output;
use crate::plan_file::size;
use crate::records;
use crate::run::policy::Policy;
use crate::run::{Run, carry_on, look};
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
pub use by_partitions::{ByPartitions, ToDisk, shrunk_image};
use disk::{Back, NewDisk, Wanted};
use klon_imaging::{RecordStore, Role};
use klon_partition::Shown;
use klon_partition::inspect::Volume;
use klon_partition::planner::{Plan, SizePolicy};
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::text::{quoted, unsealed};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `--json` says of a new disk before clones come back to it.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    table: Prepared<'a>,
    /// Numbers of partitions that are made and stay empty.
    empty: &'a [u32],
    /// Partitions of the original that are not made.
    missing: &'a [Partition],
}

/// What the user asks for, and the disks that are there.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Of `klon restore`.
    pub args: &'a RestoreArgs,
    /// What the run is to do.
    pub policy: &'a Policy,
    /// What the copies are for.
    pub role: Role,
    /// Of all commands.
    pub common: &'a Common,
    /// The disks, and who uses them.
    pub system: &'a System,
}

/// Brings clones of a plan back to new disks.
///
/// # Errors
/// When a place can't be used, something does not fit, consent is missing, or as of a clone.
pub fn run(asked: Asked<'_>, plan: &Plan, drive: &OpenPlace) -> Result<ExitCode> {
    let Asked { args, system, .. } = asked;
    check_options(args)?;
    let sizes = sizes(args, plan)?;
    let mut disks = Vec::new();
    for wanted in &targets(args, plan, system)? {
        let disk = NewDisk::look(wanted, plan, drive, system)?;
        disk.check_apart(&disks, system)?;
        disks.push(disk);
    }
    bring_back(asked, &mut disks, &sizes)
}

/// Brings the disk of an image back to a smaller one.
///
/// # Errors
/// As [`run`].
pub fn run_image(asked: Asked<'_>, disks: &ToDisk) -> Result<ExitCode> {
    let Asked { args, system, .. } = asked;
    let (image, place) = (&disks.source, &disks.target);
    let found = image::original(image, args.outside, system)?;
    let scheme = args.table.map_or(found.scheme, |table| table.into());
    let kind = |number: u32| {
        let mut volumes = image.layout.volumes.iter();
        let is_it = |volume: &&Volume| {
            volume
                .partition
                .as_ref()
                .is_some_and(|it| it.number == number)
        };
        Some(volumes.find(is_it)?.filesystem.as_ref()?.kind)
    };
    let original = found.in_scheme(scheme, kind)?;
    let mut disk = image::look(image, &original, place, system)?;
    disk.is_converted = scheme != found.scheme;
    bring_back(asked, &mut [disk], &[])
}

fn bring_back(
    asked: Asked<'_>,
    disks: &mut [NewDisk<'_>],
    sizes: &[(String, SizePolicy)],
) -> Result<ExitCode> {
    let Asked {
        args,
        policy,
        role,
        common,
        system,
    } = asked;
    let records = records::store(common)?;
    for disk in &mut *disks {
        if args.shrink.shrink {
            shrink::allow(disk, args, system)?;
        }
        disk.lay_out(sizes, args.make_empty)
            .map_err(|error| with_shrink(error, args))?;
        if role == Role::Restore {
            disk.refuse_twice(system)?;
        }
        disk.open_sources(args.outside, args.shrink.adapts(), system)?;
    }
    let mut sources: Vec<&mut SourceEnd> = Vec::new();
    for back in disks.iter_mut().flat_map(|disk| &mut disk.back) {
        sources.extend(&mut back.source);
    }
    let run = Run {
        policy,
        records: &records,
        common,
        system,
    };
    look(&mut sources, run)?;
    for disk in &*disks {
        show(disk, args, common)?;
    }
    if policy.is_dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    for disk in &*disks {
        ask(disk, args, &records, system)?;
    }
    let mut jobs = Vec::new();
    for disk in disks {
        disk.write(system)?;
        // The kernel knows its partitions only now.
        jobs.extend(bring(disk, role, &System::current()?)?);
    }
    let system = System::current()?;
    boot_fields::check(&mut jobs, policy.fixes_boot_fields, &system)?;
    for job in &mut jobs {
        job.otherwise = rung(job)?;
    }
    let run = Run {
        system: &system,
        ..run
    };
    let ended = carry_on(&mut jobs, run)?;
    grow(args, &jobs, common)?;
    Ok(ended)
}

/// What is to be done about a disk that is too small.
fn with_shrink(error: anyhow::Error, args: &RestoreArgs) -> anyhow::Error {
    let is_refused = matches!(
        error.downcast_ref(),
        Some(klon_partition::Error::Refused(_))
    );
    match is_refused && !args.shrink.shrink {
        true => error.context(Advice(
            "With --shrink, klon makes ext, NTFS and Btrfs smaller on their way, where that helps"
                .to_owned(),
        )),
        false => error,
    }
}

fn check_options(args: &RestoreArgs) -> Result<()> {
    let wrong = [
        (!args.partition.is_empty(), "--partition"),
        (args.skip_damaged, "--skip-damaged"),
        (args.table.is_some(), "--table"),
    ];
    match wrong.iter().find(|(is_given, _)| *is_given) {
        Some((_, option)) => Err(usage(format!(
            "{option} is for images. What a plan brings back is named as NAME=DISK"
        ))),
        None => Ok(()),
    }
}

/// `--size`.
fn sizes(args: &RestoreArgs, plan: &Plan) -> Result<Vec<(String, SizePolicy)>> {
    let sizes = args.size.iter().map(|text| size(text));
    let sizes = sizes.collect::<Result<Vec<_>>>()?;
    for (name, _) in &sizes {
        check_group(name, plan)?;
    }
    Ok(sizes)
}

fn check_group(name: &str, plan: &Plan) -> Result<()> {
    if plan.volumes.iter().any(|volume| volume.group == name) {
        return Ok(());
    }
    let mut groups: Vec<&str> = plan.volumes.iter().map(|v| v.group.as_str()).collect();
    groups.dedup();
    Err(usage(format!(
        "the plan has no source {}; it has {}",
        quoted(name),
        groups.join(", ")
    )))
}

/// The new disks, each with the names of what comes back to it.
fn targets(args: &RestoreArgs, plan: &Plan, system: &System) -> Result<Vec<Wanted>> {
    let mut targets: Vec<Wanted> = Vec::new();
    for given in &args.target {
        let text = given.shown();
        let (name, path) = text
            .split_once('=')
            .filter(|(name, path)| !name.is_empty() && !path.is_empty())
            .ok_or_else(|| {
                usage(format!(
                    "{} is not NAME=DISK, as in Boot=/dev/sdb: a plan says which clones there are, and \
                     not where to",
                    quoted(&text)
                ))
            })?;
        check_group(name, plan)?;
        let is_named = |wanted: &Wanted| wanted.groups.iter().any(|it| it == name);
        if targets.iter().any(is_named) {
            return Err(usage(format!("{} is given twice", quoted(name))));
        }
        let place = Place::resolve(&PathBuf::from(unsealed(path)), system)?;
        let mut known = targets.iter_mut();
        match known.find(|known| known.place.path == place.path) {
            Some(known) => known.groups.push(name.to_owned()),
            None => targets.push(Wanted {
                place,
                groups: vec![name.to_owned()],
            }),
        }
    }
    Ok(targets)
}

/// What will be written, for people or as JSON.
fn show(disk: &NewDisk<'_>, args: &RestoreArgs, common: &Common) -> Result<()> {
    let way = disk.way()?;
    if common.json {
        return Ok(output::json(&Answer {
            table: Prepared {
                event: "prepared",
                drive: &disk.identity,
                path: &disk.open.place.path,
                dry_run: args.run.dry_run,
                changes: &disk.changes,
                covered: &disk.covered,
            },
            empty: &way.empty,
            missing: &way.missing,
        })?);
    }
    for missing in &way.missing {
        say(&format!(
            "klon: warning: the plan has no clone of {} of the original. --make-empty makes it, without \
             content",
            disk::named(missing)
        ));
    }
    let lines = match disk.is_converted {
        true => boot::converted(disk.original),
        false => boot::lines(disk.original, way, disk.carrier),
    };
    for line in lines {
        say(&format!("klon: {}: {line}", disk.groups()));
    }
    if common.quiet {
        return Ok(());
    }
    let mut text = format!("{} to {}:", disk.groups(), disk.open.place.path.shown());
    if disk.changes.is_empty() {
        text.push_str("\n  its table is as that of the original already");
    }
    for change in &disk.changes {
        text.push_str(&format!("\n  {change}"));
    }
    for back in &disk.back {
        let size = back.partition(way)?.extent.len_bytes();
        let size = crate::human::size(size);
        text.push_str(&format!(
            "\n  {} back to partition {} ({size})",
            back.name, back.number
        ));
    }
    for number in &way.empty {
        text.push_str(&format!("\n  partition {number} stays empty"));
    }
    Ok(output::line(&text)?)
}

/// Asks for consent to lose what is on a disk: once, for its table and all that comes back to it.
fn ask(
    disk: &NewDisk<'_>,
    args: &RestoreArgs,
    records: &RecordStore,
    system: &System,
) -> Result<()> {
    let consent = &args.run.consent;
    let is_meant = |given: &String| confirm::is_meant(given, &disk.identity);
    let is_other = !consent.confirm.is_empty() && !consent.confirm.iter().any(is_meant);
    if !is_other && disk.covered.is_empty() && is_drive_blank(&disk.open)? {
        return Ok(());
    }
    let mut description = describe(&disk.open, system, |_| true);
    let originals = direction::originals_on(&disk.open, &disk.identity, records)?;
    for (identity, story) in originals {
        description.push_str(&format!("\n  which has an ORIGINAL: {identity} {story}"));
        if !disk.brings(&identity) {
            return Err(refused(format!(
                "{} has an original that is no source of this plan: {identity} {story}. Name another \
                 disk, or delete that record if you don't want the clone any more",
                disk.open.place.given
            )));
        }
    }
    description.push_str("\n  to");
    for change in &disk.changes {
        description.push_str(&format!("\n    {change}"));
        if takes_data(change, &disk.changes, &disk.open) {
            description.push_str(", over data in no partition");
        }
    }
    for back in &disk.back {
        let (name, number) = (&back.name, back.number);
        description.push_str(&format!("\n    bring {name} back to partition {number}"));
    }
    if let Some(covered) = covered_warning(&disk.covered) {
        description.push_str(&format!("\n  {covered}"));
    }
    let loss = Loss {
        identity: &disk.identity,
        description: &description,
    };
    confirm::ask(&loss, consent)
}

/// The jobs that fill a disk whose table is written.
fn bring(disk: &mut NewDisk<'_>, role: Role, system: &System) -> Result<Vec<VolumeJob>> {
    let open = Place::resolve(&disk.open.place.path, system)?
        .into_raw()
        .open()?;
    let table = open.layout.believed_table().cloned();
    let table = table.context("the table that was written is not there")?;
    let consent_identity = disk.identity.clone();
    let way = disk.way.take().context("the disk was not laid out")?;
    let mut jobs = Vec::new();
    for back in disk.back.drain(..) {
        let planned = back.partition(&way)?;
        let written = table.partitions.iter().find(|found| *found == planned);
        let written = written
            .with_context(|| format!("partition {} is not as it was written", planned.number))?;
        let identity = match partition_identity(&table, written) {
            Some(identity) => identity,
            None => consent_identity.clone(),
        };
        let Back {
            name,
            group,
            source,
            ..
        } = back;
        let target = partition_target(&name, written, &open, system)?;
        let is_same = source.as_ref().is_some_and(|it| it.identity == identity);
        let target = TargetEnd { identity, ..target };
        jobs.push(VolumeJob {
            // Records can't tell a partition from its copy with the same PARTUUID.
            is_ambiguous: is_same && role == Role::Backup,
            is_planned: true,
            is_drive_given_up: true,
            group: Some(group),
            role,
            is_asked: true,
            ..VolumeJob::new(name, source, target, consent_identity.clone())
        });
    }
    Ok(jobs)
}
