//! `klon verify`: clones against their records or their sources, images against their digests.

mod compared;
mod image;
mod told;

use crate::cli::{Common, VerifyArgs};
use crate::confirm;
use crate::dormant;
use crate::error::{Advice, DIFFERENT, usage};
use crate::exact;
use crate::files_hit;
use crate::jobs::{self, BadSectors, Shrinks, Sources, VolumeJob};
use crate::listing::NAMED_MAX;
use crate::messages::say;
use crate::named::Place;
use crate::named::identity::partition_identity;
use crate::named::open::OpenPlace;
use crate::named::resolve::find_identity;
use crate::own_identity::Asked;
use crate::plan_file;
use crate::progress::{Progress, Totals};
use crate::records;
use crate::side;
use crate::signals::interrupt_flag;
use crate::source::SourceEnd;
use crate::still::Moments;
use crate::still::ways::Ways;
use crate::threads;
use anyhow::{Context as _, Result};
use compared::{Verifying, verify_one};
use klon_imaging::{RecordStore, VerifySummary};
use klon_partition::Shown;
use klon_partition::filesystem::{self, Owners};
use klon_partition::planner::{Plan, PlannedVolume};
use klon_partition::system::System;
use klon_partition::table::{Partition, Table};
use klon_partition::{ExtentMap, Identity, ReadAt};
use std::process::ExitCode;
use told::{Answer, report};

/// One clone to be verified.
struct Check {
    name: String,
    open: OpenPlace,
    identity: Identity,
    source: Option<SourceEnd>,
}

/// Verifies every clone of a plan, or one target.
///
/// # Errors
/// When a side can't be read, or nothing says what to compare with. Differences are an exit code.
pub fn run(args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let place = Place::resolve(&args.target, &system)?;
    if place.image.is_some() {
        return image::run(&place, args, common);
    }
    Ways::new(&args.still, false, common.quiet)?.around(|ways| clones(args, ways, common, &system))
}

/// Verifies clones, with their sources at rest by `ways`.
fn clones(args: &VerifyArgs, ways: &Ways, common: &Common, system: &System) -> Result<ExitCode> {
    let records = records::store(common)?;
    let checks = checks(args, ways, &records, system)?;
    for source in checks.iter().filter_map(|check| check.source.as_ref()) {
        source.tell_journals(common.quiet);
    }
    let totals = Totals {
        bytes: total_bytes(&checks, &records),
        volumes: checks.len(),
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let with = Verifying {
        records: &records,
        system,
        threads: threads::count(args.threads),
        progress: &progress,
    };
    let mut is_equal = true;
    for check in &checks {
        tell_cut(check, &records)?;
        let (summary, seen) =
            verify_one(check, with).with_context(|| format!("verifying {}", check.name))?;
        if seen.is_in_use && !common.quiet {
            say(&side::in_use(&check.source_name()));
        }
        let owners = if summary.is_equal {
            Owners::default()
        } else {
            owners(check, &summary.differences)
        };
        let hit = hit(check, &summary.bad);
        let unread = hit_now(check, &summary);
        let record = records.outline(&check.identity).ok().flatten();
        let grown = record.map_or_else(Vec::new, |record| record.manifest.grown);
        report(
            &Answer {
                grown: &grown,
                event: "verified",
                against: seen.against,
                with: seen.told(check),
                made: "cloned",
                summary: &summary,
                damaged_bytes: 0,
                damaged: &ExtentMap::new(),
                table_fitted: check.source.as_ref().map_or(&[], |source| &source.moved),
                files: &owners.files,
                files_unknown_because: &owners.gaps,
                bad_files: &hit,
                unread_files: &unread,
                consistency: seen.consistency,
                is_in_use: seen.is_in_use,
            },
            common,
        )?;
        is_equal &= summary.is_equal && summary.bad.is_empty() && summary.unread.is_empty();
    }
    Ok(if is_equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

impl Check {
    fn source_name(&self) -> String {
        let name = self.source.as_ref().map(|source| source.name.clone());
        name.unwrap_or_default()
    }
}

fn checks(
    args: &VerifyArgs,
    ways: &Ways,
    records: &RecordStore,
    system: &System,
) -> Result<Vec<Check>> {
    let how = |bad, skips| Sources {
        bad,
        moments: Moments::asked(args.still.still, args.freeze.freeze_max),
        ways,
        replay: &args.replay,
        shrinks: Shrinks::Nothing,
        adapts: true,
        skips,
    };
    // What klon wrote there is plain bytes.
    let place = Place::resolve(&args.target, system)?;
    place.refuse_export("can't be a target")?;
    let place = place.into_raw();
    if place.number.is_none()
        && args.source.is_none()
        && let Some(plan) = plan_file::find_plan(&place.path)?
    {
        let how = |skips| {
            args.against_source
                .then(|| how(BadSectors::AroundIfNeeded, skips))
        };
        let jobs = planned(&plan, &args.only, &how, Known { records, system })?;
        let checks = jobs.into_iter().map(|job| check_of(job, records));
        return checks.collect();
    }
    if !args.only.is_empty() {
        return Err(usage("--only is for plans"));
    }
    let (place, source) = match &args.source {
        None if args.against_source => {
            let source = recorded_source(&place, records, system)?;
            (place, Some(source))
        }
        None => (place, None),
        Some(source) => {
            let source = Place::resolve(source, system)?;
            in_order(place, source, records, system)
        }
    };
    let open = open_awake(&place)?;
    let identity = open.identity(system)?;
    let source = match source {
        None => None,
        Some(source) => {
            let geometry = Some(open.device.geometry());
            let bad = bad_sectors(&identity, records);
            let how = how(bad, skipped(&identity, records));
            let sector_bytes = open.disk(system)?.map(|disk| disk.logical_sector_bytes);
            let source = how.place(source.at_node(system)?, sector_bytes);
            let mut source = how.open(&source, system, geometry)?;
            source.note_recorded(records);
            Asked::nothing(records).show_recorded(&mut source, &identity)?;
            Some(source)
        }
    };
    Ok(vec![Check {
        name: place.given,
        open,
        identity,
        source,
    }])
}

/// What is done about bad sectors of a source, by the record of its clone.
fn bad_sectors(identity: &Identity, records: &RecordStore) -> BadSectors {
    let record = records.outline(identity).unwrap_or_default();
    let bad = record.and_then(|record| record.bad().ok());
    match bad.is_some_and(|bad| !bad.extents.is_empty()) {
        true => BadSectors::Around,
        false => BadSectors::AroundIfNeeded,
    }
}

/// What is known of clones and disks.
#[derive(Clone, Copy)]
struct Known<'a> {
    records: &'a RecordStore,
    system: &'a System,
}

/// The volumes of a plan, with sources that lack what was left out of their clones.
fn planned<'a>(
    plan: &Plan,
    only: &[String],
    how: &dyn Fn(bool) -> Option<Sources<'a>>,
    known: Known<'_>,
) -> Result<Vec<VolumeJob>> {
    let Known { records, system } = known;
    let is_skipped = |volume: &PlannedVolume| skipped(&plan.target(volume), records);
    if !plan.volumes.iter().any(is_skipped) {
        return jobs::planned::of_plan(plan, only, how(false), system);
    }
    let mut all = Vec::new();
    for volume in jobs::planned::named(plan, only)? {
        let only = [volume.name.clone()];
        let how = how(is_skipped(volume));
        all.extend(jobs::planned::of_plan(plan, &only, how, system)?);
    }
    Ok(all)
}

/// Whether contents were left out of a clone.
fn skipped(identity: &Identity, records: &RecordStore) -> bool {
    let record = records.outline(identity).unwrap_or_default();
    record.is_some_and(|record| !record.manifest.skipped.is_empty())
}

/// The source that the record of a clone names.
fn recorded_source(clone: &Place, records: &RecordStore, system: &System) -> Result<Place> {
    let identity = open_awake(clone)?.identity(system)?;
    let advice = || {
        let clone = confirm::quoted(&clone.given);
        Advice(format!("To name the source: klon verify {clone} SOURCE"))
    };
    let record = records.load(&identity)?.ok_or_else(|| {
        usage(format!(
            "no record in {} says what {} is a clone of",
            records.directory().shown(),
            clone.given
        ))
        .context(advice())
    })?;
    find_identity(system, &record.manifest.source).map_err(|error| error.context(advice()))
}

/// A clone and its source, where a record says which of the two is which; else as they were named.
fn in_order(
    first: Place,
    second: Place,
    records: &RecordStore,
    system: &System,
) -> (Place, Option<Place>) {
    let identity = |place: &Place| place.open().and_then(|open| open.identity(system)).ok();
    let is_clone = |clone: &Identity, source: &Identity| {
        let record = records.load(clone).unwrap_or_default();
        record.is_some_and(|record| record.manifest.source == *source)
    };
    let (Some(one), Some(other)) = (identity(&first), identity(&second)) else {
        return (first, Some(second));
    };
    if is_clone(&one, &other) || !is_clone(&other, &one) {
        return (first, Some(second));
    }
    say(&format!(
        "klon: {} is the clone, and {} its source, by the record of the clone. klon compares them so",
        second.given, first.given
    ));
    // What klon wrote there is plain bytes.
    (
        second.into_raw(),
        Some(Place {
            is_raw: false,
            ..first
        }),
    )
}

/// A clone, shown as it is when it is awake.
fn open_awake(place: &Place) -> Result<OpenPlace> {
    let mut open = place.open()?;
    dormant::show_awake(&mut open)?;
    Ok(open)
}

fn check_of(mut job: VolumeJob, records: &RecordStore) -> Result<Check> {
    if let Some(source) = &mut job.source {
        Asked::nothing(records).show_recorded(source, &job.target.identity)?;
    }
    let now = job.target.now.context("a planned target exists")?;
    let mut open = now.open;
    dormant::show_awake(&mut open)?;
    Ok(Check {
        name: job.name,
        open,
        identity: job.target.identity,
        source: job.source,
    })
}

fn total_bytes(checks: &[Check], records: &RecordStore) -> u64 {
    let of = |check: &Check| match &check.source {
        Some(source) => source.usage.extents.total_bytes(),
        None => {
            let record = records.outline(&check.identity).ok().flatten();
            let wanted = record.and_then(|record| record.wanted().ok());
            wanted.map_or(0, |wanted| wanted.total_bytes())
        }
    };
    checks.iter().map(of).sum()
}

/// Names the bytes of the source that nobody proved free and that the target has no room for.
fn tell_cut(check: &Check, records: &RecordStore) -> Result<()> {
    let Some((source, cut)) = check
        .source
        .as_ref()
        .and_then(|it| Some((it, it.cut.as_ref()?)))
    else {
        return Ok(());
    };
    let record = records.outline(&check.identity).unwrap_or_default();
    let record = record.filter(|record| record.manifest.source == source.identity);
    let mut cut = cut.clone();
    if let Some(record) = record {
        cut.limit(record.manifest.outside);
    }
    side::tell_cut(source, Some(&cut), records)
}

/// What to do about a target without a record: a drive with clones on it is verified clone by clone.
fn unrecorded(check: &Check, records: &RecordStore) -> String {
    let table = check.open.layout.table.as_ref();
    let table = table.filter(|_| check.open.is_disk());
    let is_clone = |table: &Table, partition: &Partition| {
        let identity = partition_identity(table, partition);
        identity.is_some_and(|identity| records.path(&identity).exists())
    };
    let clones = table.into_iter().flat_map(|table| {
        let partitions = table.partitions.iter();
        partitions.filter(|partition| is_clone(table, partition))
    });
    let commands: Vec<String> = clones
        .map(|partition| {
            let name = format!("{}:{}", check.name, partition.number);
            format!("klon verify {}", confirm::quoted(&name))
        })
        .collect();
    if !commands.is_empty() {
        return format!(
            "{} is a drive with clones. Verify each of them:\n  {}\nor all clones of a plan: klon \
             verify PLAN",
            check.name,
            commands.join("\n  ")
        );
    }
    format!(
        "there is no record of a clone to {} in {}. Name the source to compare with (klon verify \
         TARGET SOURCE), or the place of the records (--records DIR)",
        check.identity,
        records.directory().shown()
    )
}

/// The first files that have bytes in `differences`, by the source's filesystem if it is at hand:
/// the target's may be damaged.
fn owners(check: &Check, differences: &ExtentMap) -> Owners {
    let target: &dyn ReadAt = &*check.open.device;
    match &check.source {
        Some(source) => {
            let device: &dyn ReadAt = &*source.device;
            let exact = exact::differing(device, target, differences);
            let files =
                |of: &dyn ReadAt, blocks: &ExtentMap| files_hit::owners_in(of, None, blocks);
            let mut owners = files(device, &exact);
            exact::without_moved(&mut owners, &mut Owners::default(), || {
                // Where the clone may have what lies elsewhere on the source.
                let there = filesystem::usage_or_whole(target, None).extents;
                let there = there.difference(&source.usage.extents).union(differences);
                (files(device, differences), files(target, &there))
            });
            owners.files.truncate(NAMED_MAX);
            owners
        }
        None => filesystem::owners(target, differences, NAMED_MAX),
    }
}

/// The files that hold what could not be read, by the filesystem of the clone.
fn hit(check: &Check, bad: &ExtentMap) -> Owners {
    if bad.is_empty() {
        return Owners::default();
    }
    let table = check.open.layout.table.as_ref();
    let table = table.filter(|_| check.open.is_disk());
    files_hit::files(&check.open.device, table, bad)
}

/// The files that hold what can't be read from the source now. The clone has these bytes.
fn hit_now(check: &Check, summary: &VerifySummary) -> Owners {
    if summary.unread.is_empty() {
        return Owners::default();
    }
    let table = check.open.layout.table.as_ref();
    let table = table.filter(|_| check.open.is_disk());
    files_hit::owners(&check.open.device, table, &summary.unread, &summary.bad)
}
