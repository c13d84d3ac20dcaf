//! `klon restore`: a snapshot of an image, or partitions of it, back to a drive. For the library this
//! is a clone whose source is the snapshot. With a plan, the clones on its drive, back to a new disk.

mod way_back;

use crate::boot_fields;
use crate::cli::{Common, RestoreArgs, RungArg};
use crate::confirm;
use crate::direction;
use crate::error::usage;
use crate::image::{self, ImageName, state};
use crate::jobs::planned::find_drive;
use crate::jobs::{self, VolumeJob};
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::plan_copy;
use crate::plan_file::find_plan;
use crate::records;
use crate::run::policy::Policy;
use crate::run::{Run, carry_out};
use crate::source::SourceEnd;
use crate::source::damaged_image;
use crate::source::packed;
use crate::still::ways::Ways;
use crate::target::TargetEnd;
use crate::threads;
use anyhow::Result;
use klon_imaging::change::{Reliance, Rung, resembles};
use klon_imaging::clone::Update;
use klon_imaging::{CloneOptions, Role};
use klon_partition::Shown;
use klon_partition::planner::Plan;
use klon_partition::system::System;
use klon_partition::text::{quoted, unsealed};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use way_back::Asked;
pub use way_back::{ByPartitions, ToDisk};

/// Restores a snapshot, or partitions of it, or the sources of a plan.
///
/// # Errors
/// As of a clone; damage in the image, too.
pub fn run(args: &RestoreArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let policy = policy(args);
    let asked = Asked {
        args,
        policy: &policy,
        role: Role::Restore,
        common,
        system: &system,
    };
    if let Some((plan, drive)) = planned(args, &system)? {
        return way_back::run(asked, &plan, &drive);
    }
    let shrunk = way_back::shrunk_image(args, &system);
    let shrunk = shrunk.map_err(|error| damaged_image::hinted(error, args.skip_damaged))?;
    if let Some(disks) = shrunk {
        check_options(args)?;
        if let Some(snapshot) = &disks.source.snapshot {
            state::warn(snapshot.image());
        }
        return way_back::run_image(asked, &disks);
    }
    check_options(args)?;
    if args.table.is_some() {
        return Err(usage(
            "--table is for all of a disk in an image, and one disk that it goes to",
        ));
    }
    let records = records::store(common)?;
    let mut jobs = jobs_of(args, &system)?;
    for source in jobs.iter_mut().filter_map(|job| job.source.as_mut()) {
        source.limit(args.outside);
    }
    check_distinct(&jobs)?;
    boot_fields::check(&mut jobs, policy.fixes_boot_fields, &system)?;
    // All partitions come from the same image.
    let snapshot = |job: &VolumeJob| job.source.as_ref()?.snapshot.clone();
    if let Some(snapshot) = jobs.iter().find_map(snapshot) {
        state::warn(snapshot.image());
    }
    // That the target may be the original of clones is what a restore is for.
    direction::check(&mut jobs, &records, policy.is_direction_forced)?;
    if args.rung == RungArg::Auto {
        choose_rungs(&mut jobs)?;
    }
    let run = Run {
        policy: &policy,
        records: &records,
        common,
        system: &system,
    };
    let ended = carry_out(&mut jobs, run)?;
    grow(args, &jobs, common)?;
    Ok(ended)
}

/// What is restored as it is, and where it goes.
fn jobs_of(args: &RestoreArgs, system: &System) -> Result<Vec<VolumeJob>> {
    let mut jobs = Vec::new();
    for Named { source, target } in pairs(args)? {
        let source = image_or_packed(&source)?;
        let is_image = source.image.is_some();
        let open = |place: &Place, target: &TargetEnd| match (is_image, args.skip_damaged) {
            (false, _) => {
                let packed = packed::source(place, system, target)?;
                packed.ok_or_else(|| no_image(&place.given))
            }
            (true, true) => damaged_image::open(place, system, target),
            (true, false) => {
                let sector_bytes = target.disk().map(|disk| disk.logical_sector_bytes);
                let place = place.clone();
                let place = place.shrinking(args.shrink.shrink, args.scratch.as_deref());
                let place = place.for_sectors(sector_bytes.filter(|_| args.shrink.adapts()));
                SourceEnd::open(&place, &Ways::none(), system, target.geometry())
            }
        };
        let job = jobs::pair::pair_with(&source, &target, open, system);
        jobs.push(job.map_err(|error| damaged_image::hinted(error, args.skip_damaged))?);
    }
    Ok(jobs)
}

/// Clones a whole disk to another one by its partitions.
///
/// # Errors
/// As of a clone.
pub fn clone_by_partitions(
    args: &RestoreArgs,
    policy: &Policy,
    common: &Common,
    disks: &ToDisk,
) -> Result<ExitCode> {
    let asked = Asked {
        args,
        policy,
        role: Role::Backup,
        common,
        system: &System::current()?,
    };
    way_back::run_image(asked, disks)
}

/// `--grow`: what is restored grows into the room that it has. What a damaged image lacks is grown as well.
fn grow(args: &RestoreArgs, jobs: &[VolumeJob], common: &Common) -> Result<()> {
    if !args.grow || args.run.dry_run {
        return Ok(());
    }
    for job in jobs {
        let place = &job.target.place;
        let mut path = place.path.clone().into_os_string();
        if let Some(number) = place.number {
            path.push(format!(":{number}"));
        }
        super::grow::after_restore(Path::new(&path), common)?;
    }
    Ok(())
}

/// The plan that is given in the place of an image, or that the drive carries which is; and the drive.
fn planned(args: &RestoreArgs, system: &System) -> Result<Option<(Plan, OpenPlace)>> {
    let is_named = args.target.iter().any(|it| it.shown().contains('='));
    let found = match args.image.is_file() {
        true => find_plan(&args.image),
        false => Ok(None),
    };
    match found {
        Ok(Some(plan)) => {
            let drive = find_drive(&plan, system)?;
            Ok(Some((plan, drive)))
        }
        Ok(None) if is_named && args.target.iter().all(|it| !it.exists()) => {
            plan_copy::of_drive(&args.image, system).map(Some)
        }
        Err(error) if is_named => Err(error),
        // It is no image either, which is said then.
        _ => Ok(None),
    }
}

fn check_options(args: &RestoreArgs) -> Result<()> {
    let wrong = [
        (!args.size.is_empty(), "--size"),
        (args.make_empty, "--make-empty"),
    ];
    match wrong.iter().find(|(is_given, _)| *is_given) {
        Some((_, option)) => Err(usage(format!("{option} is for plans"))),
        None => Ok(()),
    }
}

/// Chooses the rung of each volume of an image. A packed disk is read in order, so that looking into it here and
/// there would take long.
fn choose_rungs(jobs: &mut [VolumeJob]) -> Result<()> {
    let is_image = |job: &&mut VolumeJob| {
        let source = job.source.as_ref();
        source.is_some_and(|source| source.snapshot.is_some())
    };
    for job in jobs.iter_mut().filter(is_image) {
        job.otherwise = rung(job)?;
    }
    Ok(())
}

/// The rung for a target that has no usable record, and why.
fn rung(job: &VolumeJob) -> Result<Option<(Rung, &'static str)>> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(None);
    };
    let is_there = resembles(&*source.device, &*now.open.device)?;
    Ok(is_there.map(|is_there| {
        if is_there {
            (Rung::Compare, "some of it is on the target already")
        } else {
            (Rung::Full, "none of it is on the target yet")
        }
    }))
}

/// What is restored, and where it goes, as the user names them.
#[derive(Debug)]
struct Named {
    source: PathBuf,
    target: PathBuf,
}

/// What goes where.
fn pairs(args: &RestoreArgs) -> Result<Vec<Named>> {
    match &args.target[..] {
        [] => {}
        [target] => {
            return Ok(vec![Named {
                source: args.image.clone(),
                target: target.clone(),
            }]);
        }
        _ => {
            return Err(usage(
                "one image is restored to one target. Several, as NAME=DISK, are for plans",
            ));
        }
    }
    args.partition
        .iter()
        .map(|given| {
            let parsed = given.split_once('=').and_then(|(number, target)| {
                Some((number.parse::<u32>().ok()?, target)).filter(|pair| !pair.1.is_empty())
            });
            let (number, target) = parsed.ok_or_else(|| {
                usage(format!(
                    "--partition {given}: expected the number of a partition and a target, as in \
                     2=/dev/sdb3"
                ))
            })?;
            let mut source = args.image.clone().into_os_string();
            source.push(format!(":{number}"));
            Ok(Named {
                source: source.into(),
                target: unsealed(target).into(),
            })
        })
        .collect()
}

/// The image of klon, or the packed disk in a file, that is restored. Refuses anything else.
fn image_or_packed(source: &Path) -> Result<Place> {
    match Place::at_path(source)? {
        Some(place) if place.image.is_some() || source.is_file() => Ok(place),
        _ => {
            let text = source.shown();
            let whole = match text.rsplit_once(':') {
                Some((whole, number)) if number.parse::<u32>().is_ok() && !source.exists() => whole,
                _ => &text,
            };
            Err(no_image(whole))
        }
    }
}

fn no_image(given: &str) -> anyhow::Error {
    let before = given.rsplit_once('@').filter(|(file, _)| {
        let image = ImageName::find(Path::new(&unsealed(file)));
        image.is_ok_and(|image| image.is_some())
    });
    let file = given.rsplit_once('@').map_or(given, |(file, _)| file);
    if !Path::new(&unsealed(given)).exists() && !Path::new(&unsealed(file)).exists() {
        return image::not_there(Path::new(&unsealed(file)));
    }
    usage(match before {
        Some((file, number)) => format!(
            "{} is not a snapshot number; `klon list {}` shows them",
            quoted(number),
            confirm::quoted(file)
        ),
        None => format!(
            "{given} is neither a klon image nor a packed disk. To copy a disk, a volume or a file \
             that holds one, use `klon clone`"
        ),
    })
}

/// Refuses one target for two partitions: only the second would remain on it.
fn check_distinct(jobs: &[VolumeJob]) -> Result<()> {
    for (index, job) in jobs.iter().enumerate() {
        let target = &job.consent_identity;
        if jobs[..index]
            .iter()
            .any(|other| &other.consent_identity == target)
        {
            return Err(usage(format!("{target} is given as a target twice")));
        }
    }
    Ok(())
}

/// What the arguments ask for. A restore goes to the original, as its name says.
fn policy(args: &RestoreArgs) -> Policy {
    let usual = Policy::new(threads::count(args.run.threads));
    Policy {
        options: CloneOptions {
            rung: args.rung.into(),
            update: if args.in_place {
                Update::InPlace
            } else {
                Update::Staged
            },
            // An image tells by itself what it holds.
            reliance: Reliance {
                is_off: true,
                ..Reliance::USUAL
            },
            ..usual.options
        },
        outside: Some(args.outside),
        is_direction_forced: true,
        fixes_boot_fields: args.run.fix_boot_fields,
        is_verified: args.run.verify,
        is_dry_run: args.run.dry_run,
        consent: args.run.consent.clone(),
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::{pairs, policy};
    use crate::cli::{Cli, Command, RestoreArgs};
    use clap::Parser;
    use klon_imaging::change::{Rung, RungChoice};
    use klon_imaging::clone::{Rewrite, Update};
    use std::path::PathBuf;

    fn args(options: &[&str]) -> RestoreArgs {
        let given = ["klon", "restore", "a.klon"].iter().chain(options);
        match Cli::try_parse_from(given).unwrap().command {
            Command::Restore(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_restore_may_go_to_the_original_but_asks() {
        let policy = policy(&args(&["/dev/null"]));
        assert!(policy.is_direction_forced);
        assert!(!policy.consent.yes && policy.rescue.is_none() && !policy.is_strict);
        assert_eq!(policy.options.update, Update::Staged);
        assert_eq!(policy.options.rewrite, Rewrite::Blocks);
    }

    #[test]
    fn a_restore_has_the_options_of_a_run() {
        let given = ["x", "--rung", "full", "--in-place", "--verify", "--dry-run"];
        let policy = policy(&args(&given));
        assert_eq!(policy.options.rung, RungChoice::Only(Rung::Full));
        assert_eq!(policy.options.update, Update::InPlace);
        assert!(policy.is_verified && policy.is_dry_run);
    }

    #[test]
    fn partitions_go_where_they_are_sent() {
        let found = pairs(&args(&["--partition", "2=b.img", "--partition", "3=c.img"])).unwrap();
        let wanted = [("a.klon:2", "b.img"), ("a.klon:3", "c.img")];
        let wanted = wanted.map(|(from, to)| (PathBuf::from(from), PathBuf::from(to)));
        let found: Vec<_> = found.into_iter().map(|it| (it.source, it.target)).collect();
        assert_eq!(found, wanted);
        let wrong = pairs(&args(&["--partition", "2="])).unwrap_err();
        assert!(wrong.to_string().contains("--partition 2=: expected"));
    }
}
