//! `klon thaw`: volumes that were left frozen.

use crate::cli::{Common, ThawArgs};
use crate::error::refused;
use crate::output;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use klon_partition::system::rest;
use klon_partition::text;
use nix::errno::Errno;
use serde::Serialize;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

/// A line of `klon thaw --json`.
#[derive(Serialize)]
struct Thawed<'a> {
    #[serde(serialize_with = "text::path")]
    at: &'a Path,
    was_frozen: bool,
}

/// Thaws each, also when one can't be.
///
/// # Errors
/// The first thing that failed.
pub fn run(args: &ThawArgs, common: &Common) -> Result<ExitCode> {
    let mut failed = None;
    for at in &args.mount_points {
        let told = thaw(at).and_then(|was_frozen| tell(at, was_frozen, common));
        if let Err(error) = told {
            failed.get_or_insert(error);
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Whether it was frozen.
fn thaw(at: &Path) -> Result<bool> {
    let file = File::open(at).with_context(|| at.shown())?;
    let thawed = rest::thaw(&file);
    let errno = thawed.as_ref().err().and_then(std::io::Error::raw_os_error);
    match errno.map(Errno::from_raw) {
        None => thawed.map(|()| true).with_context(|| at.shown()),
        Some(Errno::EINVAL) => Ok(false),
        Some(Errno::EPERM) => Err(refused(format!(
            "{} can't be thawed: only root may. Run klon as root",
            at.shown()
        ))),
        Some(_) => thawed
            .map(|()| true)
            .with_context(|| format!("{} can't be thawed", at.shown())),
    }
}

fn tell(at: &Path, was_frozen: bool, common: &Common) -> Result<()> {
    if common.json {
        return Ok(output::json(&Thawed { at, was_frozen })?);
    }
    let how = match was_frozen {
        true => "is thawed",
        false => "was not frozen",
    };
    match common.quiet {
        true => Ok(()),
        false => Ok(output::line(&format!("{} {how}", at.shown()))?),
    }
}
