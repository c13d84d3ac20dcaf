//! `klon clone`: every volume of a plan, or one source to one target.

mod asleep;

use crate::boot_fields;
use crate::cli::{CloneArgs, Common, RestoreArgs, RungArg, StillArg};
use crate::command::restore::{self, ByPartitions};
use crate::direction;
use crate::error::usage;
use crate::jobs::{self, BadSectors, Shrinks, Sources, VolumeJob};
use crate::ledger;
use crate::named::Place;
use crate::own_identity;
use crate::plan_copy;
use crate::plan_file;
use crate::records;
use crate::run::policy::{Policy, Rescue};
use crate::run::{Run, carry_out, left_out, rescue};
use crate::source::SourceEnd;
use crate::source::live;
use crate::source::tracking::{self, Asked};
use crate::still::Moments;
use crate::still::ways::Ways;
use crate::target::TargetEnd;
use crate::threads;
use anyhow::{Context as _, Result};
use asleep::Woken;
use klon_imaging::CloneOptions;
use klon_imaging::clone::Update;
use klon_partition::Shown;
use klon_partition::planner::Plan;
use klon_partition::system::System;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Clones every volume of a plan, or one source to one target.
///
/// # Errors
/// When a place can't be used, consent is missing, or a volume could not be cloned.
pub fn run(args: &CloneArgs, common: &Common) -> Result<ExitCode> {
    let ways = Ways::new(&args.still, args.run.dry_run, common.quiet)?;
    ways.around(|ways| clone(args, ways, common))
}

fn clone(args: &CloneArgs, ways: &Ways, common: &Common) -> Result<ExitCode> {
    let records = records::store(common)?;
    let plan = plan(args)?;
    let run = asleep::Of {
        args,
        plan: plan.as_ref(),
        records: &records,
    };
    let woken = Woken::wake(run, &System::current()?)?;
    let done = clone_awake(run, ways, common);
    woken.after(done, run)
}

/// Clones to targets that are awake.
fn clone_awake(run: asleep::Of<'_>, ways: &Ways, common: &Common) -> Result<ExitCode> {
    let asleep::Of {
        args,
        plan,
        records,
    } = run;
    let system = System::current()?;
    let policy = Policy {
        // Why there is none is told by `klon ledger status`; the run says that nothing covers it.
        continuity: ledger::continuity(common, Path::new("/")).ok(),
        ..policy(args)
    };
    if let Some(done) = by_partitions(args, &policy, common, &system)? {
        return Ok(done);
    }
    let how = sources(args, ways)?;
    let asked = own_identity::Asked {
        identity: args.identity,
        records,
    };
    let how = How {
        sources: how,
        identity: asked,
    };
    let mut jobs = match jobs(args, plan, how, &system) {
        Err(error) if args.rescue.is_none() => return Err(rescue::hinted(error, rescue::CLONE)),
        jobs => jobs?,
    };
    if policy.rescue.is_some() {
        rescue::check(&policy, &jobs)?;
    }
    check_together(args, &jobs)?;
    if policy.rescue.is_some() && policy.fixes_boot_fields {
        return Err(usage("--fix-boot-fields and --rescue exclude each other"));
    }
    own_identity::refer(&mut jobs, policy.rescue.is_some())?;
    boot_fields::check(&mut jobs, policy.fixes_boot_fields, &system)?;
    direction::check(&mut jobs, records, policy.is_direction_forced)?;
    left_out::choose(&mut jobs, policy.outside, records);
    let run = Run {
        policy: &policy,
        records,
        common,
        system: &system,
    };
    let done = carry_out(&mut jobs, run)?;
    if let Some(plan) = plan.filter(|_| !policy.is_dry_run) {
        // The targets are free again.
        drop(jobs);
        plan_copy::keep(plan, &args.source, &system);
    }
    Ok(done)
}

/// A whole disk that goes to another one by its partitions: one that has sectors of another size, or gets a table of
/// another kind.
fn by_partitions(
    args: &CloneArgs,
    policy: &Policy,
    common: &Common,
    system: &System,
) -> Result<Option<ExitCode>> {
    let is_other = args.rescue.is_some() || tracking(args).is_some();
    let Some(target) = args.target.as_ref().filter(|_| !is_other) else {
        return Ok(None);
    };
    let source = match Place::resolve(&args.source, system) {
        Err(_) if args.table.is_none() => return Ok(None),
        source => source?,
    };
    let is_whole = source.number.is_none() && source.image.is_none() && !source.is_export();
    if !is_whole && args.table.is_none() {
        return Ok(None);
    }
    let wanted = ByPartitions {
        shrinks: false,
        table: args.table,
    };
    let disks = match wanted.look(&source, target, system) {
        // Who clones the disk as a whole tells what is wrong.
        Err(_) if args.table.is_none() => None,
        found => found?,
    };
    let Some(disks) = disks else {
        return Ok(None);
    };
    let given = [
        (args.identity.is_some(), "--identity"),
        (args.skip.is_some(), "--skip"),
    ];
    if let Some((_, option)) = given.iter().find(|(is_given, _)| *is_given) {
        return Err(usage(format!(
            "{option} is for volumes, and for disks that go to one with the same sectors and table. Clone the \
             partitions one by one"
        )));
    }
    let restore = RestoreArgs {
        image: args.source.clone(),
        target: vec![target.clone()],
        partition: Vec::new(),
        rung: RungArg::Auto,
        in_place: args.in_place,
        outside: args.outside.unwrap_or_default(),
        skip_damaged: false,
        size: Vec::new(),
        make_empty: false,
        shrink: args.shrink,
        scratch: args.replay.scratch.clone(),
        table: args.table,
        grow: false,
        run: args.run.clone(),
    };
    restore::clone_by_partitions(&restore, policy, common, &disks).map(Some)
}

/// The plan that is given; `None` where a source and a target are.
fn plan(args: &CloneArgs) -> Result<Option<Plan>> {
    if args.target.is_some() {
        return Ok(None);
    }
    if tracking(args).is_some() {
        return Err(usage(
            "--changed and --bitmap are for one source and one target",
        ));
    }
    let given = args.source.shown();
    let plan = plan_file::find_plan(&args.source).with_context(|| {
        "expected a plan file, or a source and a target (klon clone SOURCE TARGET)".to_owned()
    })?;
    plan.map(Some).ok_or_else(|| {
        usage(format!(
            "the target is missing: klon clone {given} TARGET. ({given} is not a plan file, which \
             would name its targets itself)"
        ))
    })
}

/// Groups of a plan are frozen one after the other, and snapshots made one by one.
fn check_together(args: &CloneArgs, jobs: &[VolumeJob]) -> Result<()> {
    let sources = || {
        jobs.iter()
            .filter_map(|job| Some((&job.group, job.source.as_ref()?)))
    };
    let is_live = |(_, source): &(_, &SourceEnd)| source.live.is_some();
    let mut groups: Vec<_> = sources().filter(is_live).map(|(group, _)| group).collect();
    groups.dedup();
    for (_, source) in sources().filter(is_live) {
        live::tell_unaudited(&source.name, args.reliance.audit);
    }
    let snapshots = sources().filter(|(_, source)| source.rested.is_some());
    match args.together && groups.len() + snapshots.count() > 1 {
        true => Err(usage(
            "volumes of several groups can't be frozen at the same instant yet, nor be read from snapshots of \
             the same instant. Name one group with --only, and freeze it with --still freeze",
        )),
        false => Ok(()),
    }
}

/// How the sources are opened.
fn sources<'a>(args: &'a CloneArgs, ways: &'a Ways) -> Result<Sources<'a>> {
    let is_rescue = args.rescue.is_some();
    if is_rescue && !matches!(args.still.still, StillArg::Auto | StillArg::Refuse) {
        return Err(usage(
            "a rescue can be had with --still auto and --still refuse",
        ));
    }
    let moments = Moments::asked(args.still.still, args.freeze.freeze_max);
    let moments = moments.filter(|_| !is_rescue);
    Ok(Sources {
        bad: match args.rescue {
            None => BadSectors::Stop,
            Some(_) => BadSectors::Around,
        },
        moments,
        ways,
        replay: &args.replay,
        shrinks: match (args.shrink.shrink, is_rescue) {
            (_, true) => Shrinks::Nothing,
            (true, false) => Shrinks::All,
            (false, false) => Shrinks::AsPlanned,
        },
        adapts: args.shrink.adapts() && !is_rescue,
        skips: args.skip.is_some(),
    })
}

/// How sources are opened, and shown.
#[derive(Clone, Copy)]
struct How<'a> {
    sources: Sources<'a>,
    identity: own_identity::Asked<'a>,
}

fn jobs(
    args: &CloneArgs,
    plan: Option<&Plan>,
    how: How<'_>,
    system: &System,
) -> Result<Vec<VolumeJob>> {
    let How { sources, identity } = how;
    if let Some(target) = &args.target {
        if !args.only.is_empty() {
            return Err(usage("--only is for plans"));
        }
        let source = Place::resolve(&args.source, system)?;
        let Some(asked) = tracking(args) else {
            let open = |place: &Place, target: &TargetEnd| {
                let mut source = sources.at_node(place, system, target)?;
                identity.show(&mut source, target)?;
                Ok(source)
            };
            return Ok(vec![jobs::pair::pair_with(&source, target, open, system)?]);
        };
        let mut found = None;
        let open = |place: &Place, target: &TargetEnd| {
            let place = place.clone().replaying(sources.replay);
            let (mut source, tracking) =
                tracking::open(&asked, &place, sources.ways, system, target.geometry())?;
            found = Some(tracking);
            identity.show(&mut source, target)?;
            Ok(source)
        };
        let job = jobs::pair::pair_with(&source, target, open, system)?;
        return Ok(vec![VolumeJob {
            tracking: found,
            ..job
        }]);
    }
    match plan {
        Some(plan) => {
            let mut jobs = jobs::planned::of_plan(plan, &args.only, Some(sources), system)?;
            identity.show_all(&mut jobs)?;
            Ok(jobs)
        }
        None => Err(usage("expected a plan file, or a source and a target")),
    }
}

/// What the user names that tells what changed.
fn tracking(args: &CloneArgs) -> Option<Asked> {
    let bitmap = args.bitmap.clone().map(Asked::Bitmap);
    let list = |path: &PathBuf| Asked::List(path.clone(), args.changed_since);
    bitmap.or_else(|| args.changed.as_ref().map(list))
}

/// What the arguments ask for.
fn policy(args: &CloneArgs) -> Policy {
    let rescue = args.rescue.as_ref().map(|map| Rescue {
        map: map.clone(),
        retries: args.retries,
        fill: args.fill_bad.clone(),
    });
    Policy {
        options: CloneOptions {
            rung: args.rung.into(),
            rewrite: args.rewrite.into(),
            freed: args.freed.into(),
            update: if args.in_place {
                Update::InPlace
            } else {
                Update::Staged
            },
            threads: threads::count(args.run.threads),
            reliance: (&args.reliance).into(),
        },
        continuity: None,
        is_explained: args.reliance.explain,
        outside: args.outside,
        is_direction_forced: args.force_direction,
        is_strict: args.strict,
        rescue,
        fixes_boot_fields: args.run.fix_boot_fields,
        is_verified: args.run.verify,
        is_dry_run: args.run.dry_run,
        hooks: Some(args.still.hooks.clone()),
        consent: args.run.consent.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::policy;
    use crate::cli::{Cli, Command};
    use crate::run::policy::Policy;
    use clap::Parser;
    use klon_imaging::change::{Rung, RungChoice};
    use klon_imaging::clone::{Freed, Rewrite, Update};
    use klon_partition::Outside;
    use std::path::Path;

    fn asked(options: &[&str]) -> Policy {
        let given = ["klon", "clone", "a.img", "b.img"].iter().chain(options);
        match Cli::try_parse_from(given).unwrap().command {
            Command::Clone(args) => policy(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_a_clone_is_staged_and_asked_about() {
        let policy = asked(&[]);
        assert_eq!(policy.options.rung, RungChoice::Auto);
        assert_eq!(policy.options.update, Update::Staged);
        assert!(policy.outside.is_none() && policy.rescue.is_none());
        assert!(!policy.is_strict && !policy.is_dry_run && !policy.is_verified);
        assert!(!policy.is_direction_forced && !policy.consent.yes);
    }

    #[test]
    fn rungs_are_what_is_named() {
        let all = [
            ("compare", Rung::Compare),
            ("digest", Rung::Digest),
            ("full", Rung::Full),
            ("metadata", Rung::Metadata),
        ];
        for (name, rung) in all {
            let policy = asked(&["--rung", name]);
            assert_eq!(policy.options.rung, RungChoice::Only(rung));
        }
    }

    #[test]
    fn how_is_written_comes_from_its_options() {
        let policy = asked(&["--rewrite", "chunks", "--freed", "discard", "--in-place"]);
        assert_eq!(policy.options.rewrite, Rewrite::Chunks);
        assert_eq!(policy.options.freed, Freed::Discard);
        assert_eq!(policy.options.update, Update::InPlace);
        assert_eq!(asked(&["--freed", "zero"]).options.freed, Freed::Zero);
    }

    #[test]
    fn a_rescue_has_its_map_its_retries_and_its_fill() {
        let own = asked(&["--rescue"]).rescue.unwrap();
        assert_eq!((own.named_map(), own.retries), (None, 1));
        assert_eq!(own.fill, None);
        let named = asked(&["--rescue=a.map", "--retries", "3", "--fill-bad"]);
        let named = named.rescue.unwrap();
        assert_eq!(named.named_map(), Some(Path::new("a.map")));
        assert_eq!(named.retries, 3);
        assert_eq!(named.fill.as_deref(), Some("KLON BAD SECTOR\n"));
    }

    #[test]
    fn consent_comes_from_the_command_line_alone() {
        let policy = asked(&["--yes", "--confirm", "AB12", "--force-direction"]);
        assert!(policy.consent.yes && policy.is_direction_forced);
        assert_eq!(policy.consent.confirm, ["AB12"]);
    }

    #[test]
    fn what_is_left_out_and_shown_is_as_asked() {
        let policy = asked(&["--outside", "edges", "--strict", "--dry-run", "--verify"]);
        assert_eq!(policy.outside, Some(Outside::Edges));
        assert!(policy.is_strict && policy.is_dry_run && policy.is_verified);
        assert_eq!(asked(&["--threads", "5"]).threads().get(), 5);
    }
}
