//! `klon diff`: what differs between two snapshots, or between a snapshot and a device.

use crate::cli::{Common, DiffArgs};
use crate::error::DIFFERENT;
use crate::exact;
use crate::human;
use crate::listing::{self, NAMED_MAX};
use crate::output;
use crate::picture;
use crate::progress::{Progress, Totals};
use crate::side::Side;
use crate::signals::interrupt_flag;
use crate::threads;
use anyhow::Result;
use klon_imaging::image::compare;
use klon_imaging::progress::Runner;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Owner, Owners};
use klon_partition::outside::FIRST_BYTES;
use klon_partition::system::System;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// What `klon diff --json` prints last.
#[derive(Serialize)]
struct Answer<'a> {
    event: &'static str,
    first: &'a str,
    second: &'a str,
    first_bytes: u64,
    second_bytes: u64,
    is_equal: bool,
    /// Whether equal chunks were told by digests alone, and not read.
    is_by_digests: bool,
    /// Bytes in use on both sides.
    compared_bytes: u64,
    /// Bytes in `changed`, `only_first` and `only_second` together.
    differing_bytes: u64,
    /// In use on both sides, with other content.
    changed: &'a ExtentMap,
    /// In use on the first side only.
    only_first: &'a ExtentMap,
    /// In use on the second side only.
    only_second: &'a ExtentMap,
    /// Bytes that no one proved free, and that an image left out by choice. They are not compared.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    left_out: &'a ExtentMap,
    /// The part of `changed` where an image is damaged.
    damaged: &'a ExtentMap,
    /// Whether a side is mounted and was written to meanwhile.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_in_use: bool,
    first_files: &'a Owners,
    second_files: &'a Owners,
}

/// Shows what differs.
///
/// # Errors
/// When a side can't be opened or read. What differs is no error.
pub fn run(args: &DiffArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let mut first = opened(&args.first, args, common, &system)?;
    let mut second = opened(&args.second, args, common, &system)?;
    // What one of them does not have by choice is no difference.
    let left_out = first.left_out.union(&second.left_out);
    for side in [&mut first, &mut second] {
        side.used = side.used.difference(&left_out);
    }
    share_first_mebibyte(&mut first, &mut second);
    let both = first.used.intersection(&second.used);
    let totals = Totals {
        bytes: both.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let name = format!("{} and {}", first.name, second.name);
    let sides = first.and(&second);
    let found = compare(
        sides,
        &both,
        first.chunk_size(&second),
        Runner {
            name: &name,
            threads: threads::count(args.threads),
            observer: &progress,
        },
    )?;
    let only_first = first.used.difference(&second.used);
    let only_second = second.used.difference(&first.used);
    let first_all = found.differences.union(&only_first);
    let second_all = found.differences.union(&only_second);
    let is_equal = first_all.is_empty() && second_all.is_empty();
    let exact = exact::differing(sides.first, sides.second, &found.differences);
    let mut first_files = first.files(&exact.union(&only_first));
    let mut second_files = second.files(&exact.union(&only_second));
    exact::without_moved(&mut first_files, &mut second_files, || {
        (first.files(&first_all), second.files(&second_all))
    });
    let answer = Answer {
        event: "diff",
        first: &first.name,
        second: &second.name,
        first_bytes: first.size_bytes(),
        second_bytes: second.size_bytes(),
        is_equal,
        is_by_digests: first.is_snapshot() && second.is_snapshot(),
        compared_bytes: found.compared_bytes,
        differing_bytes: first_all.union(&second_all).total_bytes(),
        changed: &found.differences,
        only_first: &only_first,
        only_second: &only_second,
        left_out: &left_out,
        damaged: &found.damaged,
        is_in_use: first.is_in_use || second.is_in_use,
        first_files: &first_files,
        second_files: &second_files,
    };
    match common.json {
        true => output::json(&answer)?,
        false if is_equal && common.quiet => {}
        false => output::line(&text(&answer))?,
    }
    Ok(if is_equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

/// Opens a side, and says what should be known of it.
fn opened(given: &Path, args: &DiffArgs, common: &Common, system: &System) -> Result<Side> {
    let side = Side::open(given, &args.replay, args.freeze.freeze_max, system)?;
    side.tell_journals(common.quiet);
    side.tell_in_use(common.quiet);
    Ok(side)
}

fn left_out(answer: &Answer<'_>) -> String {
    match answer.left_out.total_bytes() {
        0 => String::new(),
        bytes => format!(
            ", without {} that an image left out (klon info says where)",
            human::size(bytes)
        ),
    }
}

fn text(answer: &Answer<'_>) -> String {
    let (first, second) = (answer.first, answer.second);
    if answer.is_equal {
        let compared = human::size(answer.compared_bytes);
        let by = match answer.is_by_digests {
            true => " by the digests in the image (klon verify reads the content, too)",
            false => "",
        };
        return format!(
            "{first} and {second}: equal, {compared} compared{by}{}",
            left_out(answer)
        );
    }
    let sized = |what: &str, map: &ExtentMap| {
        if map.is_empty() {
            String::new()
        } else {
            format!(
                "  {what}: {} in {}\n",
                human::size(map.total_bytes()),
                human::count(map.extents().len(), "extent")
            )
        }
    };
    let mut text = format!(
        "{first} and {second}: {} differ{}\n",
        human::size(answer.differing_bytes),
        left_out(answer)
    );
    text.push_str(&sized("changed", answer.changed));
    text.push_str(&sized(
        "of it unknown, because an image is damaged",
        answer.damaged,
    ));
    text.push_str(&sized(
        &format!("in use in {first} only"),
        answer.only_first,
    ));
    text.push_str(&sized(
        &format!("in use in {second} only"),
        answer.only_second,
    ));
    let all = answer
        .changed
        .union(answer.only_first)
        .union(answer.only_second);
    let size_bytes = answer.first_bytes.max(answer.second_bytes);
    let legend = |line: &str| line.replace("free", "same").replace("used", "different");
    text.push_str(&legend(&picture::of(&all, size_bytes)));
    text.push_str(&listing::extents("  ", &all));
    text.push_str(&files(first, answer.first_files));
    text.push_str(&files(second, answer.second_files));
    text
}

fn files(name: &str, owners: &Owners) -> String {
    let mut text = String::new();
    let line = |file: &Owner| {
        format!(
            "  {name}: {} from byte {}\n",
            file.path, file.file_offset_bytes
        )
    };
    text.extend(owners.files.iter().take(NAMED_MAX).map(line));
    if let Some(more) = listing::more(owners.files.len(), "file") {
        text.push_str(&format!("  {name}: and {more}\n"));
    }
    for gap in &owners.gaps {
        text.push_str(&format!("  {name}: more files may differ: {gap}\n"));
    }
    text
}

/// Clones and images have the first mebibyte of a volume, whatever is in use there. When one side has it,
/// both sides count as having it.
fn share_first_mebibyte(first: &mut Side, second: &mut Side) {
    let size_bytes = first.size_bytes().min(second.size_bytes());
    let start = ExtentMap::whole(size_bytes.min(FIRST_BYTES));
    let has_it = |side: &Side| start.difference(&side.used).is_empty();
    if has_it(first) || has_it(second) {
        first.used = first.used.union(&start);
        second.used = second.used.union(&start);
    }
}
