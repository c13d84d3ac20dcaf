//! `klon verify`: clones against their records or their sources, images against their digests.

mod image;
mod told;

use crate::cli::{Common, VerifyArgs};
use crate::confirm;
use crate::error::{DIFFERENT, refused, usage};
use crate::exact;
use crate::files_hit;
use crate::jobs::{self, BadSectors, VolumeJob};
use crate::named::Place;
use crate::named::identity::partition_identity;
use crate::named::open::OpenPlace;
use crate::plan_file;
use crate::progress::{Progress, Totals};
use crate::signals::interrupt_flag;
use crate::source::SourceEnd;
use crate::source::bad_sectors;
use crate::source::fit::{self, Loss};
use crate::{records, threads};
use anyhow::{Context as _, Result};
use klon_imaging::clone::recorded;
use klon_imaging::mark::Mark;
use klon_imaging::verify::Against;
use klon_imaging::{RecordStore, VerifySummary, verify};
use klon_partition::Shown;
use klon_partition::filesystem::{self, Owners};
use klon_partition::system::System;
use klon_partition::table::{Partition, Table};
use klon_partition::{ExtentMap, Identity, ReadAt};
use std::process::ExitCode;
use std::sync::Arc;
use told::{Answer, report};

/// Extents and files that are named; the counts are always of all.
const NAMED_MAX: usize = 20;

/// One clone to be verified.
struct Check {
    name: String,
    open: OpenPlace,
    identity: Identity,
    source: Option<SourceEnd>,
}

/// Verifies every clone of a plan, or one target.
pub fn run(args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let place = Place::resolve(&args.target, &system)?;
    if place.image.is_some() {
        return image::run(&place, args, common);
    }
    let records = records::store(common)?;
    let checks = checks(args, &records, &system)?;
    let totals = Totals {
        bytes: total_bytes(&checks, &records),
        volumes: checks.len(),
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let mut is_equal = true;
    for check in &checks {
        tell_cut(check, &records)?;
        let (summary, against) = verify_one(check, &records, args, &progress)
            .with_context(|| format!("verifying {}", check.name))?;
        let owners = if summary.is_equal {
            Owners::default()
        } else {
            owners(check, &summary.differences)
        };
        let hit = hit(check, &summary.bad);
        let unread = hit_now(check, &summary);
        report(
            &Answer {
                event: "verified",
                against,
                summary: &summary,
                table_fitted: check.source.as_ref().map_or(&[], |source| &source.moved),
                files: &owners.files,
                files_unknown_because: &owners.gaps,
                bad_files: &hit,
                unread_files: &unread,
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

fn checks(args: &VerifyArgs, records: &RecordStore, system: &System) -> Result<Vec<Check>> {
    // What klon wrote there is plain bytes.
    let place = Place::resolve(&args.target, system)?.into_raw();
    if place.number.is_none()
        && args.source.is_none()
        && let Some(plan) = plan_file::find_plan(&place.path)?
    {
        let jobs = jobs::planned::of_plan(
            &plan,
            &args.only,
            args.against_source.then_some(BadSectors::AroundIfNeeded),
            system,
        )?;
        return jobs.into_iter().map(check_of).collect();
    }
    if !args.only.is_empty() || args.against_source {
        return Err(usage(
            "--only and --against-source are for plans. Name the source instead",
        ));
    }
    let open = place.open()?;
    let identity = open.identity(system)?;
    let source = match &args.source {
        None => None,
        Some(source) => {
            let source = Place::resolve(source, system)?;
            let record = records.load(&identity).unwrap_or_default();
            let open_source = if record.is_some_and(|record| !record.bad.is_empty()) {
                bad_sectors::open
            } else {
                bad_sectors::open_if_needed
            };
            let geometry = open.device.geometry();
            Some(open_source(&source, system, Some(geometry))?)
        }
    };
    Ok(vec![Check {
        name: place.given,
        open,
        identity,
        source,
    }])
}

fn check_of(job: VolumeJob) -> Result<Check> {
    let now = job.target.now.context("a planned target exists")?;
    Ok(Check {
        name: job.name,
        open: now.open,
        identity: job.target.identity,
        source: job.source,
    })
}

fn total_bytes(checks: &[Check], records: &RecordStore) -> u64 {
    let of = |check: &Check| match &check.source {
        Some(source) => source.usage.extents.total_bytes(),
        None => records
            .load(&check.identity)
            .ok()
            .flatten()
            .map_or(0, |record| record.wanted().total_bytes()),
    };
    checks.iter().map(of).sum()
}

/// Says what of the source the target has no room for, and no one proved free.
fn tell_cut(check: &Check, records: &RecordStore) -> Result<()> {
    let Some((source, cut)) = check
        .source
        .as_ref()
        .and_then(|it| Some((it, it.cut.as_ref()?)))
    else {
        return Ok(());
    };
    let record = records.load(&check.identity).unwrap_or_default();
    let record = record.filter(|record| record.manifest.source == source.identity);
    let mut cut = cut.clone();
    if let Some(record) = record {
        cut.limit(record.manifest.outside);
    }
    fit::check(&source.name, Some(&cut), Loss::Tell)
}

fn verify_one(
    check: &Check,
    records: &RecordStore,
    args: &VerifyArgs,
    progress: &Progress,
) -> Result<(VerifySummary, &'static str)> {
    let target: &Arc<dyn ReadAt> = &check.open.device;
    if let Some(mark) = Mark::read(target)? {
        let finish = match mark.staged {
            Some(_) => "complete it with klon finish, which needs no source, or ",
            None => "",
        };
        return Err(refused(format!(
            "a clone of {} to it was not finished, so klon can't verify it; {finish}run the clone \
             again",
            mark.source
        )));
    }
    let threads = threads::count(args.threads);
    if let Some(source) = &check.source {
        // A record of another source says nothing of this one.
        let record = records.load(&check.identity).unwrap_or_default();
        let record = record.filter(|record| record.manifest.source == source.identity);
        // It is compared under the choice that it was made under.
        let mut usage = source.usage.clone();
        if let Some(record) = &record {
            usage.limit(record.manifest.outside);
        }
        let (bad, bad_fill) = record
            .map(|record| (record.bad, record.bad_fill))
            .unwrap_or_default();
        let against = Against::Source {
            device: &*source.device,
            usage: &usage,
            bad: &bad,
        };
        let mut summary = verify(&check.name, target, &against, threads, progress)?;
        summary.bad_fill = bad_fill.filter(|_| !summary.bad.is_empty());
        return Ok((summary, "source"));
    }
    let record = recorded(records, &check.identity, target, threads)?;
    let record = record.ok_or_else(|| usage(unrecorded(check, records)))?;
    Ok((
        verify(
            &check.name,
            target,
            &Against::Record(&record),
            threads,
            progress,
        )?,
        "record",
    ))
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
            let exact = exact::differing(&*source.device, target, differences);
            filesystem::owners(&*source.device, &exact, NAMED_MAX)
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

/// The same of what can't be read now, which the clone has.
fn hit_now(check: &Check, summary: &VerifySummary) -> Owners {
    if summary.unread.is_empty() {
        return Owners::default();
    }
    let table = check.open.layout.table.as_ref();
    let table = table.filter(|_| check.open.is_disk());
    files_hit::owners(&check.open.device, table, (&summary.unread, &summary.bad))
}
