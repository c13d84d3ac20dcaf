//! `klon hold`: mounted volumes brought to rest as a clone does it, and let go again; hooks, limits and the
//! watchdog can be tried by it, and tests do.

use crate::cli::{Common, HoldArgs, StillArg};
use crate::error::{refused, usage};
use crate::output;
use crate::records;
use crate::signals::interrupt_flag;
use crate::still::{Freezer, Frozen, Hooks, Remount, Role, can_be_frozen, in_the_way, refusal};
use anyhow::{Context as _, Result};
use klon_imaging::Error as ImagingError;
use klon_partition::Shown as _;
use klon_partition::system::System;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Holds and lets go.
///
/// # Errors
/// A refusal when the volumes can't be held, or were let go of by someone else.
pub fn run(args: &HoldArgs, common: &Common) -> Result<ExitCode> {
    let flag = interrupt_flag().context("signals")?;
    let at_once: Vec<Vec<PathBuf>> = match args.together {
        true => vec![args.mount_points.clone()],
        false => args
            .mount_points
            .iter()
            .map(|at| vec![at.clone()])
            .collect(),
    };
    for mounts in &at_once {
        let obstacles = in_the_way(&written_to(args, common)?, mounts)?;
        if !obstacles.is_empty() {
            return Err(refusal(&obstacles));
        }
    }
    let mut hooks = Hooks::find(&args.still.hooks, &args.mount_points, Arc::clone(&flag))?;
    hooks.before()?;
    let held = at_once
        .iter()
        .try_for_each(|mounts| hold(mounts, args, &flag));
    // What was brought to rest goes on, whatever comes of the volumes.
    let after = hooks.after();
    held.and(after)?;
    Ok(ExitCode::SUCCESS)
}

/// What a run like this would write to.
fn written_to(args: &HoldArgs, common: &Common) -> Result<Vec<(Role, PathBuf)>> {
    let of_role = |role, paths: &[PathBuf]| -> Vec<(Role, PathBuf)> {
        paths.iter().map(|path| (role, path.clone())).collect()
    };
    let mut all = of_role(Role::Target, &args.target);
    all.extend(of_role(Role::Image, &args.image));
    if !all.is_empty() {
        all.push((
            Role::Records,
            records::store(common)?.directory().to_owned(),
        ));
        all.push((Role::Temporary, std::env::temp_dir()));
    }
    Ok(all)
}

/// Holds those at the same time.
fn hold(mounts: &[PathBuf], args: &HoldArgs, flag: &AtomicBool) -> Result<()> {
    let max = args.freeze.freeze_max;
    let Ways { read_only, frozen } = ways(mounts, args.still.still)?;
    let mut freezer = match frozen.is_empty() {
        true => None,
        false => Some(Freezer::begin(&frozen, max)?),
    };
    let remounts = read_only.iter().map(|at| Remount::begin(at, max));
    let remounts = remounts.collect::<Result<Vec<_>>>()?;
    let frozen = freezer.as_mut().map(Freezer::freeze).transpose()?;
    let names: Vec<String> = mounts.iter().map(|at| at.shown()).collect();
    output::line(&format!("at rest: {}", names.join(", ")))?;
    let entered = frozen.as_ref().map_or(Duration::ZERO, Frozen::elapsed);
    let lefts = frozen.iter().map(|it| it.left());
    let left = lefts.chain(remounts.iter().map(Remount::left)).min();
    wait(args.held_for, flag);
    let lasted = frozen.map(|frozen| {
        let since = frozen.since();
        frozen.thaw().map(|lasted| (since, lasted))
    });
    for remount in remounts {
        let since = remount.since();
        say_lasted("read-only", since, remount.put_back()?)?;
    }
    if let Some(lasted) = lasted {
        let (since, lasted) = lasted?;
        say_lasted("frozen", since, lasted)?;
    }
    if flag.load(Ordering::Relaxed) {
        return Err(ImagingError::Interrupted.into());
    }
    let (entered, left) = (entered.as_millis(), left.unwrap_or_default().as_millis());
    Ok(output::line(&format!(
        "{entered} ms to be at rest, {left} ms were left then"
    ))?)
}

/// How mounts are brought to rest.
struct Ways {
    read_only: Vec<PathBuf>,
    frozen: Vec<PathBuf>,
}

/// Which are made read-only, and which are frozen.
fn ways(mounts: &[PathBuf], still: StillArg) -> Result<Ways> {
    let (mut read_only, mut frozen) = (Vec::new(), Vec::new());
    for at in mounts {
        let is_frozen = match still {
            StillArg::Auto => can_be_frozen(&filesystem(at)?),
            StillArg::Freeze => true,
            StillArg::ReadOnly => false,
            StillArg::Refuse => return Err(refused(format!("{} is mounted", at.shown()))),
            StillArg::Snapshot => {
                return Err(usage(
                    "klon hold freezes volumes or makes them read-only, and nothing else",
                ));
            }
        };
        match is_frozen {
            true => frozen.push(at.clone()),
            false => read_only.push(at.clone()),
        }
    }
    Ok(Ways { read_only, frozen })
}

/// Until the time is over or someone ends it.
fn wait(held_for: Duration, flag: &AtomicBool) {
    let began = Instant::now();
    while began.elapsed() < held_for && !flag.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(10).min(held_for));
    }
}

fn say_lasted(how: &str, since: SystemTime, lasted: Duration) -> Result<()> {
    let since = humantime::format_rfc3339_seconds(since);
    let millis = lasted.as_millis();
    Ok(output::line(&format!(
        "{how} since {since} for {millis} ms"
    ))?)
}

fn filesystem(at: &Path) -> Result<String> {
    let file = File::open(at).with_context(|| at.shown())?;
    let superblock = System::current()?.superblock_of(&file);
    Ok(superblock.with_context(|| at.shown())?.filesystem)
}
