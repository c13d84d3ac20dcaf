//! `klon map`: which parts of a volume are in use.

use crate::cli::{Common, MapArgs};
use crate::human;
use crate::minimum::{self, Minimum, Subject};
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::output;
use crate::outside;
use crate::picture::{self, Beside};
use crate::source::contained;
use anyhow::{Context as _, Result};
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::disk_usage_by;
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
    /// What became of journals that awaited recovery: a sentence for each; left out when there are none.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    journals: &'a [String],
    /// How less could be copied; left out when klon knows no way.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    /// What is in use.
    extents: &'a ExtentMap,
    /// What else is copied, because no one proved it free.
    unproven: &'a ExtentMap,
    /// How small clones could be; left out where that was not asked for.
    #[serde(skip_serializing_if = "<[Minimum]>::is_empty")]
    minimum: &'a [Minimum],
}

/// Shows which parts of a volume are in use.
///
/// # Errors
/// When the place can't be read.
pub fn run(args: &MapArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let place = Place::resolve(&args.volume, &system)?.replaying(&args.replay);
    let open = place.open()?;
    let size_bytes = open.device.geometry().size_bytes;
    let (used, known_bad) = in_use(&open, &system)?;
    let minimum = match args.minimum {
        true => least(&open, &used, &system)?,
        false => Vec::new(),
    };
    let journals = open.notes();
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
            journals: &journals,
            advice,
            extents: &in_use,
            unproven: &used.unproven,
            minimum: &minimum,
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
    text.push_str(&remarks(&journals, whole_because, advice));
    if known_bad_bytes > 0 {
        text.push_str(&format!("  {}\n", human::known_bad(known_bad_bytes)));
    }
    minimum
        .iter()
        .for_each(|one| text.push_str(&minimum::told(one)));
    text.push_str(&drawn(&in_use, &used.unproven, size_bytes));
    output::line(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The bytes of a disk or volume that are in use, and those that its filesystem lists as bad.
fn in_use(open: &OpenPlace, system: &System) -> Result<(Usage, ExtentMap)> {
    Ok(if open.is_disk() {
        let disk = disk_usage_by(&*open.device, &open.layout.volumes)?;
        let known_bad = disk.known_bad(&*open.device)?;
        (disk.into_usage(), known_bad)
    } else {
        let used = open.usage().with_context(|| open.place.given.clone())?;
        let used = contained::by_disk(used, open, system)?;
        let known_bad = used.known_bad(&*open.device);
        (used, known_bad)
    })
}

/// How small clones of the volumes could be.
fn least(open: &OpenPlace, used: &Usage, system: &System) -> Result<Vec<Minimum>> {
    if !open.is_disk() {
        let subject = Subject {
            open,
            part: None,
            usage: used,
            size_bytes: open.device.geometry().size_bytes,
            may_mount: true,
        };
        return Ok(vec![minimum::of(&subject, system)]);
    }
    let mut all = Vec::new();
    for volume in &open.layout.volumes {
        let usage = volume.usage(&*open.device)?;
        let number = volume.partition.as_ref().map(|partition| partition.number);
        let subject = Subject {
            open,
            part: number.map(|number| (number, volume.extent)),
            usage: &usage,
            size_bytes: volume.extent.len_bytes(),
            may_mount: true,
        };
        all.push(minimum::of(&subject, system));
    }
    Ok(all)
}

/// What became of journals, and why all of it counts as used, or how less could be copied.
fn remarks(journals: &[String], whole_because: Option<&str>, advice: Option<&str>) -> String {
    let whole = whole_because.map(|reason| format!("all of it counts as used: {reason}"));
    let reason = whole.or_else(|| advice.map(str::to_owned));
    let lines = journals.iter().cloned().chain(reason);
    lines.map(|line| format!("  {line}\n")).collect()
}

/// The picture of what is in use, and of what no one proved free.
fn drawn(in_use: &ExtentMap, unproven: &ExtentMap, size_bytes: u64) -> String {
    let unproven = Beside {
        map: unproven,
        mark: '?',
        word: "no one proved free",
    };
    picture::beside(in_use, &unproven, size_bytes)
}
