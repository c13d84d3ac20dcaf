//! `klon clone`: every volume of a plan, or one source to one target.

use crate::boot_fields;
use crate::cli::{CloneArgs, Common};
use crate::direction;
use crate::error::usage;
use crate::jobs::{self, BadSectors, VolumeJob};
use crate::outside;
use crate::plan_file;
use crate::records;
use crate::run::{carry_out, rescue};
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::system::System;
use std::process::ExitCode;

/// Clones every volume of a plan, or one source to one target.
pub fn run(args: &CloneArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let mut jobs = jobs(args, &system).map_err(|error| match args.rescue {
        None => rescue::hinted(error),
        Some(_) => error,
    })?;
    rescue::check(args, &jobs)?;
    if args.rescue.is_some() && args.run.fix_boot_fields {
        return Err(usage("--fix-boot-fields and --rescue exclude each other"));
    }
    boot_fields::check(&mut jobs, args.run.fix_boot_fields, &system)?;
    direction::check(&mut jobs, &records, args.force_direction)?;
    outside::choose(&mut jobs, args.outside, &records)?;
    carry_out(&mut jobs, &records, args, common, &system)
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
