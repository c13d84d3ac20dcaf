//! `klon clone`: every volume of a plan, or one source to one target.

use crate::cli::{CloneArgs, Common, FreedArg, RewriteArg, RungArg};
use crate::confirm::{self, Loss};
use crate::error::{refused, usage};
use crate::jobs::{self, VolumeJob};
use crate::progress::{Progress, Totals, interrupt_flag, say};
use crate::report;
use crate::volume::{SourceEnd, describe};
use crate::{records, threads};
use anyhow::{Context as _, Result};
use klon_imaging::change::{Rung, RungChoice};
use klon_imaging::clone::{Freed, Job, Preview, Rewrite, preview};
use klon_imaging::mark::Mark;
use klon_imaging::verify::Against;
use klon_imaging::{CloneOptions, CloneSummary, RecordStore, clone, verify};
use klon_partition::system::{DiskLock, System, lock, tell_kernel};
use klon_partition::{Identity, ReadAt};
use std::process::ExitCode;

/// Clones every volume of a plan, or one source to one target.
pub fn run(args: &CloneArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let jobs = jobs(args, &system)?;
    jobs::check_direction(&jobs, &records)?;
    warn(&jobs, args.strict)?;
    if args.dry_run {
        return show(&jobs, &records, args, common);
    }
    for job in &jobs {
        consent(job, &records, args, &system)?;
    }
    for job in &jobs {
        // Before a target is touched, or a file made that would stay behind.
        records.check_writable(&job.target.identity)?;
    }
    let _locks = lock_all(&jobs, &system)?;
    let totals = Totals {
        bytes: jobs.iter().map(used_bytes).sum(),
        volumes: jobs.len(),
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let mut summaries = Vec::new();
    for job in &jobs {
        let summary = clone_one(job, &records, args, &progress)
            .with_context(|| format!("cloning {}", job.name))?;
        show_to_kernel(job, &system)?;
        report::cloned(&summary, jobs.len(), common)?;
        summaries.push(summary);
    }
    report::cloned_all(&summaries, common)?;
    Ok(ExitCode::SUCCESS)
}

fn jobs(args: &CloneArgs, system: &System) -> Result<Vec<VolumeJob>> {
    if let Some(target) = &args.target {
        if !args.only.is_empty() {
            return Err(usage("--only is for plans"));
        }
        return Ok(vec![jobs::pair(&args.source, target, system)?]);
    }
    let plan = jobs::read_plan(&args.source).with_context(|| {
        "expected a plan file, or a source and a target (klon clone SOURCE TARGET)".to_owned()
    })?;
    jobs::of_plan(&plan, &args.only, true, system)
}

fn used_bytes(job: &VolumeJob) -> u64 {
    job.source
        .as_ref()
        .map_or(0, |source| source.usage.extents.total_bytes())
}

fn warn(jobs: &[VolumeJob], is_strict: bool) -> Result<()> {
    for warning in jobs
        .iter()
        .filter_map(|job| job.source.as_ref())
        .flat_map(|s| &s.warnings)
    {
        if is_strict {
            return Err(refused(format!("--strict: {warning}")));
        }
        say(&format!("klon: warning: {warning}"));
    }
    Ok(())
}

fn options(args: &CloneArgs) -> CloneOptions {
    CloneOptions {
        rung: match args.rung {
            RungArg::Auto => RungChoice::Auto,
            RungArg::Compare => RungChoice::Only(Rung::Compare),
            RungArg::Digest => RungChoice::Only(Rung::Digest),
            RungArg::Full => RungChoice::Only(Rung::Full),
        },
        rewrite: match args.rewrite {
            RewriteArg::Blocks => Rewrite::Blocks,
            RewriteArg::Chunks => Rewrite::Chunks,
        },
        freed: match args.freed {
            FreedArg::Leave => Freed::Leave,
            FreedArg::Zero => Freed::Zero,
            FreedArg::Discard => Freed::Discard,
        },
        threads: threads::count(args.threads),
    }
}

/// Asks before anything but a blank target, or an earlier clone of this very source, is
/// overwritten.
fn consent(
    job: &VolumeJob,
    records: &RecordStore,
    args: &CloneArgs,
    system: &System,
) -> Result<()> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(());
    };
    if let Some(wrong) = unmatched(&args.consent.confirm, &job.consent_identity) {
        return Err(refused(format!(
            "--confirm names {wrong:?}, but the target is {}",
            job.consent_identity
        )));
    }
    let layout = &now.open.layout;
    let on_target = now.open.partition.as_ref().map_or_else(
        || {
            layout
                .volumes
                .iter()
                .filter(|volume| volume.partition.is_none())
                .collect::<Vec<_>>()
        },
        |partition| {
            layout
                .volumes
                .iter()
                .filter(|v| v.extent == partition.extent)
                .collect()
        },
    );
    let found = on_target
        .first()
        .and_then(|volume| volume.filesystem.as_ref());
    if is_earlier_clone(job, records, found)? || is_blank(&*now.open.device, layout, found)? {
        return Ok(());
    }
    let description = describe(&job.target.place.path, layout, system);
    let description = match &now.open.partition {
        Some(partition) => {
            format!(
                "  {} (partition {} of)\n{description}",
                job.name, partition.number
            )
        }
        None => description,
    };
    let description = format!("{description}\n  with a clone of {}", source.name);
    confirm::ask(
        &Loss {
            identity: &job.consent_identity,
            description: &description,
        },
        &args.consent,
    )
}

fn unmatched<'a>(given: &'a [String], identity: &Identity) -> Option<&'a String> {
    let is_any = given.iter().any(|given| confirm::is_meant(given, identity));
    given.first().filter(|_| !is_any)
}

fn is_earlier_clone(
    job: &VolumeJob,
    records: &RecordStore,
    found: Option<&klon_partition::filesystem::Summary>,
) -> Result<bool> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(false);
    };
    let recorded = records.load(&job.target.identity).ok().flatten();
    let is_recorded = recorded.is_some_and(|record| record.manifest.source == source.identity);
    let mark = Mark::read(&now.open.device)?;
    let is_marked = mark.is_some_and(|mark| mark.source == source.identity.to_string());
    let id = |summary: Option<&klon_partition::filesystem::Summary>| {
        summary.and_then(|summary| Some((summary.kind, summary.uuid.clone()?)))
    };
    let is_same = id(found).is_some() && id(found) == id(source.usage.summary.as_ref());
    Ok(is_marked || is_same || (is_recorded && found.is_none()))
}

/// Nothing recognized, no table, and zeroes at its start.
fn is_blank(
    device: &dyn ReadAt,
    layout: &klon_partition::inspect::DiskLayout,
    found: Option<&klon_partition::filesystem::Summary>,
) -> Result<bool> {
    let is_disk_with_table =
        layout.table.is_some() && device.geometry().size_bytes == layout.geometry.size_bytes;
    if found.is_some() || is_disk_with_table {
        return Ok(false);
    }
    let len = device.geometry().size_bytes.min(1 << 20);
    let start = klon_partition::device::read_vec(device, 0, usize::try_from(len).unwrap_or(0))?;
    Ok(klon_partition::bytes::is_zero(&start))
}

/// Locks the disk of each target, so that udev and others wait.
fn lock_all(jobs: &[VolumeJob], system: &System) -> Result<Vec<DiskLock>> {
    let mut paths = Vec::new();
    for job in jobs {
        if job.target.now.is_some()
            && let Some(disk) = system.disk_of(&job.target.place.path)?
            && !paths.contains(&disk.path)
        {
            paths.push(disk.path);
        }
    }
    paths.iter().map(|path| Ok(lock(path)?)).collect()
}

fn clone_one(
    job: &VolumeJob,
    records: &RecordStore,
    args: &CloneArgs,
    progress: &Progress,
) -> Result<CloneSummary> {
    let source = job.source.as_ref().context("a clone needs a source")?;
    let target = job.target.open(source.device.geometry().size_bytes)?;
    let options = options(args);
    let summary = clone(
        &Job {
            name: &job.name,
            source: &*source.device,
            usage: &source.usage,
            source_identity: &source.identity,
            target: &*target,
            target_identity: &job.target.identity,
        },
        records,
        &options,
        progress,
    )?;
    if args.verify {
        let record = records
            .load(&job.target.identity)?
            .context("the record is gone")?;
        let against = Against::Record(&record);
        let found = verify(&job.name, &*target, &against, options.threads, progress)?;
        if !found.is_equal {
            return Err(crate::error::Failure {
                message: format!(
                    "{} does not read back what was written: {} bytes differ, the first at {}; \
                     the drive can't be trusted",
                    job.name,
                    found.differing_bytes,
                    found
                        .differences
                        .iter()
                        .next()
                        .map_or(0, |extent| extent.offset_bytes())
                ),
                code: crate::error::DIFFERENT,
            }
            .into());
        }
    }
    Ok(summary)
}

/// Lets the partitions of a disk that got another table have their nodes.
fn show_to_kernel(job: &VolumeJob, system: &System) -> Result<()> {
    let has_table = |source: &SourceEnd| source.table_sector_bytes.is_some();
    let path = &job.target.place.path;
    let is_table_cloned = job.source.as_ref().is_some_and(has_table);
    if !is_table_cloned || job.target.place.number.is_some() {
        return Ok(());
    }
    let Some(disk) = system.disk_of(path)? else {
        return Ok(());
    };
    if system.locate(path)? != system.locate(&disk.path)? {
        return Ok(());
    }
    let table = job.target.place.open()?.layout.table;
    let partitions: Vec<_> = table
        .iter()
        .flat_map(|table| &table.partitions)
        .map(|partition| (partition.number, partition.extent))
        .collect();
    tell_kernel(&disk.path, &partitions).context(
        "the clone is whole, but the kernel does not know its partitions yet; detach and attach \
         the drive",
    )
}

/// `--dry-run`.
fn show(
    jobs: &[VolumeJob],
    records: &RecordStore,
    args: &CloneArgs,
    common: &Common,
) -> Result<ExitCode> {
    for job in jobs {
        let source = job.source.as_ref().context("a clone needs a source")?;
        let Some(now) = &job.target.now else {
            report::would_create(job, source, common)?;
            continue;
        };
        // Nothing is written to an overlay that is never flushed.
        let overlay = klon_partition::device::Overlay::new(now.open.device.clone(), 0);
        let found: Preview = preview(
            &Job {
                name: &job.name,
                source: &*source.device,
                usage: &source.usage,
                source_identity: &source.identity,
                target: &overlay,
                target_identity: &job.target.identity,
            },
            records,
            &options(args),
        )?;
        report::would_clone(job, source, &found, common)?;
    }
    Ok(ExitCode::SUCCESS)
}
