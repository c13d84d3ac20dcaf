//! Plan files: small text files. klon tells them from disks before it reads more than their start.

use crate::confirm::quoted;
use crate::error::usage;
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::device::open_plain;
use klon_partition::planner::{Plan, SizePolicy};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// No plan is larger.
const PLAN_BYTES_MAX: u64 = 1 << 20;

/// Reads a plan file.
///
/// # Errors
/// As [`find_plan`], and [`usage`] for what is no text file.
pub fn read_plan(path: &Path) -> Result<Plan> {
    find_plan(path)?.ok_or_else(|| {
        usage(format!(
            "{} is not a plan file; `klon plan --drive DRIVE NAME=SOURCE -o FILE` makes one",
            path.shown()
        ))
    })
}

/// What to say of a plan that is given as a source.
pub fn no_source(given: &str) -> anyhow::Error {
    usage(format!(
        "{0} is a plan, which names its sources and targets itself: klon clone {0}. To copy \
         the file itself, name it raw:{0}",
        quoted(given)
    ))
}

/// The plan in a small text file; `None` for any other file. klon reads no more of another file than shows that
/// it is no plan.
///
/// # Errors
/// [`usage`] when there is no such file. When the file can't be read. A text file that is no sound plan: the error
/// names the line and the field that are wrong.
pub fn find_plan(path: &Path) -> Result<Option<Plan>> {
    let text = plan_text(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => usage(missing(&path.shown())),
        _ => anyhow::Error::from(error).context(path.shown()),
    });
    match text? {
        Some(text) => {
            let plan = Plan::from_toml(&text).with_context(|| path.shown());
            plan.map(Some)
        }
        None => Ok(None),
    }
}

/// What to do about a plan file that is not there.
fn missing(path: &str) -> String {
    format!(
        "{path}: there is no such file. To make a plan: `klon plan --drive DRIVE NAME=SOURCE -o {}`",
        quoted(path)
    )
}

fn plan_text(path: &Path) -> io::Result<Option<String>> {
    // Before it is opened: opening a pipe waits.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > PLAN_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = open_plain(path, false)?;
    file.take(PLAN_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).ok();
    Ok(text.filter(|text| !text.contains('\0') && !text.is_empty()))
}

/// What `--size` says of a source: its name, and how large it becomes.
///
/// # Errors
/// [`usage`] for what is no NAME=POLICY.
pub fn size(text: &str) -> Result<(String, SizePolicy)> {
    let (name, policy) = text.split_once('=').ok_or_else(|| {
        usage(format!(
            "{} is not NAME=POLICY, as in Master=grow",
            quoted(text)
        ))
    })?;
    let policy = policy
        .parse()
        .map_err(|error| usage(format!("--size {text}: {error}")))?;
    Ok((name.to_owned(), policy))
}
