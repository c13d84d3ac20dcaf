//! Plan files: small text files, told from disks before more than their start is read.

use crate::error::usage;
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::device::open_plain;
use klon_partition::planner::Plan;
use std::io::{self, Read as _};
use std::path::Path;

/// No plan is larger.
const PLAN_BYTES_MAX: u64 = 1 << 20;

/// Reads a plan file.
pub fn read_plan(path: &Path) -> Result<Plan> {
    find_plan(path)?.ok_or_else(|| {
        usage(format!(
            "{} is not a plan file; `klon plan --drive DRIVE NAME=SOURCE -o FILE` makes one",
            path.shown()
        ))
    })
}

/// The plan in a small text file; `None` for anything else, of which no more is read than shows that.
pub fn find_plan(path: &Path) -> Result<Option<Plan>> {
    match plan_text(path).with_context(|| path.shown())? {
        Some(text) => {
            let plan = Plan::from_toml(&text).with_context(|| path.shown());
            plan.map(Some)
        }
        None => Ok(None),
    }
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
