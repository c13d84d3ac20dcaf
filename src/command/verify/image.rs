//! `klon verify` of an image: all of its contents against their digests, or a snapshot against a
//! device.

use super::{Answer, report};
use crate::cli::{Common, VerifyArgs};
use crate::error::{self, DIFFERENT, refused, usage};
use crate::exact;
use crate::files_hit;
use crate::human;
use crate::image::ImageName;
use crate::listing::{self, NAMED_MAX};
use crate::named::Place;
use crate::output;
use crate::progress::{Progress, Totals};
use crate::records;
use crate::side::{Known, Restored, Side};
use crate::signals::interrupt_flag;
use crate::threads;
use anyhow::{Context as _, Result};
use klon_imaging::RecordStore;
use klon_imaging::VerifySummary;
use klon_imaging::clone::FillTexts;
use klon_imaging::image::{
    CheckSummary, Comparison, Image, SnapshotBad, SnapshotDamage, SnapshotDevice, VolumeKind,
    check, compare,
};
use klon_imaging::progress::Runner;
use klon_imaging::record::Record;
use klon_partition::Shown;
use klon_partition::device::KnownBad;
use klon_partition::filesystem::Owners;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// What `klon verify IMAGE --json` prints.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    image: &'a str,
    is_whole: bool,
    snapshots: &'a [u64],
    frames: u64,
    stored_bytes: u64,
    plain_bytes: u64,
    damage: &'a [Hit],
    bad: &'a [SnapshotBad],
    header_damage: Option<&'a str>,
    commit_damage: Option<&'a str>,
    missing_part: Option<String>,
    torn_bytes: u64,
    seconds: f64,
}

/// The damage of one snapshot, with the files that it hits.
#[derive(Serialize)]
struct Hit {
    #[serde(flatten)]
    damage: SnapshotDamage,
    /// The damaged extents of each partition of a disk. Offsets count from the partition's start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<HitPartition>,
    /// Files with bytes in the damaged extents.
    #[serde(flatten)]
    owners: Owners,
}

#[derive(Serialize)]
struct HitPartition {
    number: u32,
    extents: ExtentMap,
}

/// Verifies an image, or a snapshot of it against what the second argument names.
pub(super) fn run(place: &Place, args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    if !args.only.is_empty() || args.against_source {
        return Err(usage("--only and --against-source are for plans"));
    }
    if args.source.is_some() {
        return against(args, common);
    }
    let name = match (&place.image, place.number) {
        (Some(name), None) => name,
        _ => {
            return Err(usage(format!(
                "{}: a partition is verified with the snapshot that it is in: leave out the colon \
                 and what follows, or name a device to compare it with",
                place.given
            )));
        }
    };
    let image = name.open()?;
    let stored = Totals {
        bytes: image.size_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, stored, interrupt_flag()?);
    let threads = threads::count(args.threads);
    let found = check(
        &image,
        name.snapshot,
        Runner {
            name: &place.given,
            threads,
            observer: &progress,
        },
    )
    .with_context(|| format!("verifying {}", place.given))?;
    let missing = missing_part(name, &image)?;
    let damage = found.damage.iter().cloned();
    let hits: Vec<Hit> = damage.map(|damage| hit(&image, damage)).collect();
    let is_whole = found.is_whole && missing.is_none();
    let line = Line {
        event: "verified_image",
        image: &place.given,
        is_whole,
        snapshots: &found.snapshots,
        frames: found.frames,
        stored_bytes: found.stored_bytes,
        plain_bytes: found.plain_bytes,
        damage: &hits,
        bad: &found.bad,
        header_damage: found.header_damage.as_deref(),
        commit_damage: found.commit_damage.as_deref(),
        missing_part: missing.as_deref().map(Shown::shown),
        torn_bytes: found.torn_bytes,
        seconds: found.seconds,
    };
    match common.json {
        true => output::json(&line)?,
        false if is_whole && found.bad.is_empty() && common.quiet => {}
        false => output::line(&text(&line, &found))?,
    }
    Ok(if is_whole && found.bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

/// The part that an image in parts misses at its end.
fn missing_part(name: &ImageName, image: &Image) -> Result<Option<PathBuf>> {
    let is_complete = image.size_bytes() == image.tail().end;
    Ok(name.files()?.missing().filter(|_| !is_complete))
}

/// Finds the files that the damage hits.
fn hit(image: &Image, damage: SnapshotDamage) -> Hit {
    let snapshot = match image.snapshot(Some(damage.snapshot)) {
        Ok(snapshot) if !damage.is_lost => Arc::new(snapshot),
        _ => {
            return Hit {
                damage,
                partitions: Vec::new(),
                owners: Owners::default(),
            };
        }
    };
    let meta = snapshot.meta();
    let partitions: Option<Vec<(u32, Extent)>> = (meta.kind == VolumeKind::Disk).then(|| {
        let partitions = meta.partitions.iter();
        partitions.map(|part| (part.number, part.extent)).collect()
    });
    let known = KnownBad::new(
        SnapshotDevice::new(snapshot.clone()),
        damage.extents.clone(),
    );
    let owners = files_hit::owners_in(&known, partitions.as_deref(), &damage.extents);
    let part = |(number, extent)| {
        let extents = damage.extents.in_part(extent);
        (!extents.is_empty()).then_some(HitPartition { number, extents })
    };
    Hit {
        partitions: partitions.into_iter().flatten().filter_map(part).collect(),
        damage,
        owners,
    }
}

fn text(line: &Line<'_>, found: &CheckSummary) -> String {
    let snapshots = match line.snapshots {
        [number] => format!("snapshot {number}"),
        all => format!("its {} snapshots", all.len()),
    };
    let verdict = if line.is_whole {
        format!("no damage in {snapshots}")
    } else {
        format!("DAMAGED; looked at {snapshots}")
    };
    let read = human::size(line.stored_bytes);
    let mut text = format!("{}: {verdict} ({read} read)\n", line.image);
    if let Some(damage) = line.header_damage {
        text.push_str(&format!(
            "  the header of the file: {damage}. The rest of the file says the same\n"
        ));
    }
    if let Some(damage) = line.commit_damage {
        text.push_str(&format!("  the last commit: {damage}\n"));
    }
    if let Some(part) = &line.missing_part {
        text.push_str(&format!(
            "  {} seems to be missing. Nobody can say what was in it\n",
            part
        ));
    }
    line.damage
        .iter()
        .for_each(|hit| text.push_str(&of_snapshot(hit)));
    if !line.damage.is_empty() {
        text.push_str(
            "  `klon restore --skip-damaged` restores what is intact. A new snapshot reuses the stored \
             chunks, damaged ones too. `klon image --rung compare` stores damaged ones again from the \
             source\n",
        );
    }
    for bad in line.bad {
        text.push_str(&format!(
            "  snapshot {}: {} in {} could not be read from the source when it was imaged (now \
             zeroes)\n",
            bad.snapshot,
            human::size(bad.bad_bytes),
            human::count(bad.extents.extents().len(), "place")
        ));
    }
    if found.torn_bytes > 0 {
        text.push_str(&format!(
            "  an interrupted run left {} behind the last snapshot. The next `klon image` goes on from \
             there\n",
            human::size(found.torn_bytes)
        ));
    }
    text
}

fn of_snapshot(hit: &Hit) -> String {
    let damage = &hit.damage;
    let number = damage.snapshot;
    let mut text = if damage.is_lost {
        format!("  snapshot {number}: nothing of it can be read\n")
    } else {
        format!(
            "  snapshot {number}: {} damaged in {}\n",
            human::size(damage.damaged_bytes),
            human::count(damage.extents.extents().len(), "extent")
        )
    };
    if !damage.is_lost {
        if hit.partitions.is_empty() {
            text.push_str(&listing::extents("    ", &damage.extents))
        } else {
            let part = |part: &HitPartition| {
                let start = format!("    partition {}, ", part.number);
                listing::extents(&start, &part.extents)
            };
            text.extend(hit.partitions.iter().map(part));
        }
    }
    for file in hit.owners.files.iter().take(NAMED_MAX) {
        let from = file.file_offset_bytes;
        text.push_str(&format!("    in {} from byte {from}\n", file.path));
    }
    if let Some(more) = listing::more(hit.owners.files.len(), "file") {
        text.push_str(&format!("    and in {more}\n"));
    }
    for gap in &hit.owners.gaps {
        text.push_str(&format!("    more files may be hit: {gap}\n"));
    }
    for reason in &damage.reasons {
        text.push_str(&format!("    {reason}\n"));
    }
    text
}

/// The record of a restore of what the first side was made of to the second one.
fn record_of(first: &Side, second: &Side, records: &RecordStore) -> Option<Record> {
    let identity = second.identity.as_ref().filter(|_| !second.is_image)?;
    // One that can't be read says nothing.
    let record = records.load(identity).unwrap_or_default()?;
    (first.identity.as_ref() == Some(&record.manifest.source)).then_some(record)
}

/// The snapshot as it is on the other side: cut or moved for its size, without what the restore was
/// told to leave out.
fn as_there(
    first: Side,
    second: &Side,
    given: &Path,
    record: Option<&Record>,
    with: Known<'_>,
) -> Result<Side> {
    let (end_bytes, size_bytes) = (first.used.end_bytes(), second.size_bytes());
    let first = if end_bytes > size_bytes {
        let name = first.name.clone();
        let restored = Restored {
            target: second.device.geometry(),
            choice: record.map(|record| record.manifest.outside),
        };
        let cut = first.cut_for(given, &restored, with);
        cut.map_err(|error| match error::code(&error) {
            // Its own words are about a restore.
            error::REFUSED => refused(format!(
                "{} ({}) is smaller than what {name} holds ({}), so they can't be the same",
                second.name,
                human::size(size_bytes),
                human::size(end_bytes)
            )),
            _ => error,
        })?
    } else {
        first.on(second)?
    };
    Ok(match record {
        Some(record) => first.without(&record.left_out),
        None => first,
    })
}

/// The result of a comparison without the `bad` bytes. Where the image is damaged there is no difference,
/// but nobody calls the two sides equal then.
fn summary(first: &Side, bad: ExtentMap, found: Comparison, seconds: f64) -> VerifySummary {
    let differences = found.differences.difference(&found.damaged);
    let damaged_bytes = found.damaged.total_bytes();
    VerifySummary {
        is_equal: found.differences.is_empty(),
        compared_bytes: found.compared_bytes.saturating_sub(damaged_bytes),
        differing_bytes: differences.total_bytes(),
        first_difference_bytes: found.first_bytes,
        bad_bytes: bad.total_bytes(),
        bad,
        bad_fill: FillTexts::default(),
        unread_bytes: 0,
        unread: ExtentMap::new(),
        seconds,
        name: first.name.clone(),
        left_out: first.left_out.clone(),
        differences,
    }
}

/// The files of the first side with bytes that differ.
fn differing_files(first: &Side, second: &Side, differences: &ExtentMap) -> Owners {
    let sides = first.and(second);
    let mut owners = first.files(&exact::differing(sides.first, sides.second, differences));
    exact::without_moved(&mut owners, &mut Owners::default(), || {
        let there = second.used.difference(&first.used);
        let there = there.union(differences);
        (first.files(differences), second.files(&there))
    });
    owners
}

/// Compares a snapshot, or a partition of it, with what it was made of or was restored to.
fn against(args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let given = args.source.as_deref().unwrap_or(Path::new(""));
    let mut first = Side::open(&args.target, &args.replay, args.freeze.freeze_max, &system)?;
    let mut second = Side::open(given, &args.replay, args.freeze.freeze_max, &system)?;
    second.tell_journals(common.quiet);
    second.tell_in_use(common.quiet);
    let records = records::store(common)?;
    let record = record_of(&first, &second, &records);
    // What neither side nor the restore could read is nobody's content.
    let bad = first.bad.union(&second.bad);
    if record.is_some() {
        second = second.with_all();
    }
    let known = Known {
        records: &records,
        system: &system,
    };
    first = as_there(first, &second, &args.target, record.as_ref(), known)?;
    let bad = bad.intersection(&first.used);
    let within = first.used.difference(&bad);
    let totals = Totals {
        bytes: within.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let started = Instant::now();
    let sides = first.and(&second);
    let threads = threads::count(args.threads);
    let size = first.chunk_size(&second);
    let runner = Runner {
        name: &first.name,
        threads,
        observer: &progress,
    };
    let found = compare(sides, &within, size, runner)?;
    let seconds = started.elapsed().as_secs_f64();
    let damaged = found.damaged.clone();
    let summary = summary(&first, bad, found, seconds);
    let owners = differing_files(&first, &second, &summary.differences);
    let files = &owners.files[..owners.files.len().min(NAMED_MAX)];
    report(
        &Answer {
            grown: &[],
            event: "verified",
            against: "source",
            with: second.name.clone(),
            made: "imaged",
            summary: &summary,
            damaged_bytes: damaged.total_bytes(),
            damaged: &damaged,
            table_fitted: &first.moved,
            files,
            files_unknown_because: &owners.gaps,
            bad_files: &first.files(&summary.bad),
            unread_files: &Owners::default(),
            consistency: None,
            is_in_use: second.is_in_use,
        },
        common,
    )?;
    Ok(if summary.is_equal && summary.bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}
