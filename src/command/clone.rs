//! `klon clone`: every volume of a plan, or one source to one target.

use crate::boot_fields;
use crate::cli::{CloneArgs, Common};
use crate::direction;
use crate::error::usage;
use crate::jobs::{self, BadSectors, VolumeJob};
use crate::outside;
use crate::plan_file;
use crate::records;
use crate::run::policy::{Policy, Rescue};
use crate::run::{carry_out, rescue};
use crate::threads;
use anyhow::{Context as _, Result};
use klon_imaging::CloneOptions;
use klon_imaging::clone::Update;
use klon_partition::Shown;
use klon_partition::system::System;
use std::process::ExitCode;

/// Clones every volume of a plan, or one source to one target.
pub fn run(args: &CloneArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let policy = policy(args);
    let mut jobs = jobs(args, &system).map_err(|error| match args.rescue {
        None => rescue::hinted(error),
        Some(_) => error,
    })?;
    rescue::check(&policy, &jobs)?;
    if policy.rescue.is_some() && policy.fixes_boot_fields {
        return Err(usage("--fix-boot-fields and --rescue exclude each other"));
    }
    boot_fields::check(&mut jobs, policy.fixes_boot_fields, &system)?;
    direction::check(&mut jobs, &records, policy.is_direction_forced)?;
    outside::choose(&mut jobs, policy.outside, &records)?;
    carry_out(&mut jobs, &records, &policy, common, &system)
}

fn jobs(args: &CloneArgs, system: &System) -> Result<Vec<VolumeJob>> {
    let bad = match args.rescue {
        None => BadSectors::Stop,
        Some(_) => BadSectors::Around,
    };
    if let Some(target) = &args.target {
        if !args.only.is_empty() {
            return Err(usage("--only is for plans"));
        }
        return Ok(vec![jobs::pair::pair(&args.source, target, bad, system)?]);
    }
    let given = args.source.shown();
    let plan = plan_file::find_plan(&args.source).with_context(|| {
        "expected a plan file, or a source and a target (klon clone SOURCE TARGET)".to_owned()
    })?;
    let plan = plan.ok_or_else(|| {
        usage(format!(
            "the target is missing: klon clone {given} TARGET. ({given} is not a plan file, which \
             would name its targets itself)"
        ))
    })?;
    jobs::planned::of_plan(&plan, &args.only, Some(bad), system)
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
        },
        outside: args.outside,
        is_direction_forced: args.force_direction,
        is_strict: args.strict,
        rescue,
        fixes_boot_fields: args.run.fix_boot_fields,
        is_verified: args.run.verify,
        is_dry_run: args.run.dry_run,
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
