//! `klon map`: which parts of a volume are in use.

use crate::cli::{Common, MapArgs};
use crate::human;
use crate::named::Place;
use crate::output;
use crate::outside;
use crate::picture;
use crate::source::contained;
use anyhow::{Context as _, Result};
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, known_bad, usage};
use klon_partition::inspect::disk_usage;
use klon_partition::system::System;
use serde::Serialize;
use std::process::ExitCode;

/// The answer of `klon map --json`.
#[derive(Serialize)]
struct Map<'a> {
    /// Kind of the filesystem; null for a whole disk or unknown content.
    filesystem: Option<String>,
    block_size_bytes: u32,
    size_bytes: u64,
    used_bytes: u64,
    /// Bytes that no one proved free: in no partition, or behind the filesystem's own end.
    unproven_bytes: u64,
    /// What the filesystem lists as bad: it is not in use, and nobody reads it.
    known_bad_bytes: u64,
    /// Why everything counts as used; left out when the filesystem's own map was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_because: Option<&'a str>,
    /// How less could be copied; left out when klon knows no way.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    /// What is in use.
    extents: &'a ExtentMap,
    /// What else is copied, because no one proved it free.
    unproven: &'a ExtentMap,
}

/// Shows which parts of a volume are in use.
pub fn run(args: &MapArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let open = Place::resolve(&args.volume, &system)?.open()?;
    let size_bytes = open.device.geometry().size_bytes;
    let (used, known_bad) = if open.is_disk() {
        let disk = disk_usage(&*open.device)?;
        let known_bad = disk.known_bad(&*open.device)?;
        (disk.into_usage(), known_bad)
    } else {
        let used = usage(&*open.device).with_context(|| open.place.given.clone())?;
        let used = contained::by_disk(used, &open, &system)?;
        (used, known_bad(&*open.device)?)
    };
    let known_bad_bytes = known_bad.total_bytes();
    let whole_because = match &used.basis {
        Basis::Map => None,
        Basis::Whole { reason, .. } | Basis::Contained { reason } => Some(reason.as_str()),
    };
    let summary = used.summary.as_ref();
    let advice = summary.and_then(|summary| summary.kind.advice());
    let in_use = used.used();
    let (used_bytes, unproven_bytes) = (in_use.total_bytes(), used.unproven.total_bytes());
    if common.json {
        output::json(&Map {
            filesystem: summary.map(|summary| summary.kind.to_string()),
            block_size_bytes: summary.map_or(0, |summary| summary.block_size_bytes),
            size_bytes,
            used_bytes,
            unproven_bytes,
            known_bad_bytes,
            whole_because,
            advice,
            extents: &in_use,
            unproven: &used.unproven,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = match (summary, open.is_disk()) {
        (Some(summary), _) => crate::description::in_words(Some(summary)),
        (None, true) => "disk".to_owned(),
        (None, false) => "unknown content".to_owned(),
    };
    let mut text = format!(
        "{}: {what}, {} of {} used ({}) in {}\n",
        open.place.given,
        human::size(used_bytes),
        human::size(size_bytes),
        human::percent(used_bytes, size_bytes),
        human::count(in_use.extents().len(), "extent"),
    );
    if unproven_bytes > 0 {
        let table = open.layout.table.as_ref().filter(|_| open.is_disk());
        text.push_str(&format!(
            "  also copied, because no one proved it free: {}\n",
            outside::named(&used.unproven, table)
        ));
    }
    if let Some(reason) = whole_because {
        text.push_str(&format!("  all of it counts as used: {reason}\n"));
    } else if let Some(advice) = advice {
        text.push_str(&format!("  {advice}\n"));
    }
    if known_bad_bytes > 0 {
        text.push_str(&format!("  {}\n", human::known_bad(known_bad_bytes)));
    }
    text.push_str(&picture::of(&in_use, size_bytes));
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}
