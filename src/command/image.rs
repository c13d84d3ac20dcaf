//! `klon image`: a new snapshot of a volume or disk in an image file.

mod another;
mod rescue;

use crate::advice;
use crate::cli::{Common, ImageArgs, RungArg};
use crate::error::{Advice, refused, usage};
use crate::human;
use crate::image::{ImageName, Left, OpenForAppend, Shape, first_part, not_plain};
use crate::messages::say;
use crate::named::Place;
use crate::named::identity::partition_identity;
use crate::output::{self, Stream};
use crate::outside;
use crate::progress::{Progress, Totals};
use crate::records;
use crate::signals::interrupt_flag;
use crate::source::SourceEnd;
use crate::source::clone_end;
use crate::source::watch::Watch;
use crate::threads;
use anyhow::{Context as _, Result};
use klon_imaging::change::{Rung, RungChoice};
use klon_imaging::image::{
    CaptureJob, CaptureOptions, CaptureSummary, CatalogEntry, Image, ImageFiles, PartitionId,
    Snapshot, VolumeKind, capture,
};
use klon_partition::Shown;
use klon_partition::filesystem::Usage;
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Adds a snapshot of a source to an image.
pub fn run(args: &ImageArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let place = Place::resolve(&args.source, &system)?;
    let name = ImageName {
        path: first_part(&args.image),
        snapshot: None,
    };
    check_apart(&place, &name, &system)?;
    if is_stream(&name) {
        // Before anything is read for it.
        Stream::open()?;
    }
    if is_stream(&name) && (common.json || args.split.is_some() || args.rescue.is_some()) {
        return Err(usage(
            "an image on standard output can't have --json, --split or --rescue",
        ));
    }
    let Some(map) = &args.rescue else {
        let source = SourceEnd::open(&place, &system, None)?;
        let layout = place.open()?.layout;
        let what = What {
            source: &source,
            usage: &source.usage,
            device: &*source.device,
            layout: &layout,
            bad: ExtentMap::new(),
        };
        add(&what, &name, args, common)?;
        return Ok(ExitCode::SUCCESS);
    };
    rescue::image(map.as_deref(), (&name, args), common, &system)
}

/// What is imaged.
struct What<'a> {
    source: &'a SourceEnd,
    /// What of it is in use.
    usage: &'a Usage,
    /// Where it is read.
    device: &'a dyn ReadAt,
    layout: &'a DiskLayout,
    /// What of it could not be read, and is zero on the device.
    bad: ExtentMap,
}

/// Adds a snapshot to an image, or makes that.
fn add(what: &What<'_>, name: &ImageName, args: &ImageArgs, common: &Common) -> Result<()> {
    let source = what.source;
    for warning in &source.warnings {
        if args.strict {
            return Err(refused(format!("--strict: {warning}")));
        }
        say(&format!("klon: warning: {warning}"));
    }
    let shape = Shape::parse(args.split.as_deref(), args.store.chunk.as_deref())?;
    let mut image = if is_stream(name) {
        OpenForAppend::stream(&shape)
    } else {
        OpenForAppend::new(name, &shape)
    }
    .map_err(|error| advice::to_write(error, &name.path, advice::ELSEWHERE))?;
    let previous = match image.before() {
        Some(before) => previous(before, &source.identity, args.store.name.as_deref())?,
        None => None,
    };
    let before = previous.as_ref().map(|snapshot| snapshot.meta().outside);
    let mut usage = what.usage.clone();
    usage.limit(args.outside.or(before).unwrap_or_default());
    outside::announce(source, &usage, common.quiet);
    let totals = Totals {
        bytes: usage.extents.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let watch = || source.watch.as_ref().map_or(Ok(None), Watch::changed);
    let table = source.table.as_ref();
    let (partitions, clone_bytes) = ends(what, &usage, common)?;
    let job = CaptureJob {
        name: &source.name,
        source: what.device,
        usage: &usage,
        source_identity: &source.identity,
        kind: match table {
            Some(_) => VolumeKind::Disk,
            None => VolumeKind::Volume,
        },
        disk_guid: table.and_then(|table| table.disk_guid),
        partitions,
        bad: what.bad.clone(),
        previous: previous.as_deref(),
        watch: Some(&watch),
        given_name: args.store.name.clone(),
        clone_bytes,
        note: args.store.note.clone(),
    };
    let warn = |warning: String| say(&format!("klon: warning: {}: {warning}", source.name));
    let back = previous.as_ref();
    let back = back.and_then(|then| another::went_back(job.source, &job.partitions, then));
    back.into_iter().for_each(warn);
    let options = options(args);
    let chunk_bytes = image.writer().header().chunk_size.bytes();
    let summary = match capture(&job, image.writer(), &options, &progress) {
        Ok(summary) => summary,
        Err(error) => {
            // What could never become a whole file is of no use, nor is what has hardly begun.
            let error = anyhow::Error::from(error);
            let left = image.give_up(!advice::is_final(&error));
            return Err(advised(error, left, &name.path))
                .with_context(|| format!("imaging {}", source.name));
        }
    };
    image.done()?;
    let differs = previous.and_then(|then| another::differs(&summary, chunk_bytes, &then));
    differs.into_iter().for_each(warn);
    report(&summary, name, common)
}

/// The partitions of a disk, and where clones end that are on it or are it, by their records, as far as
/// something lies behind.
fn ends(
    what: &What<'_>,
    usage: &Usage,
    common: &Common,
) -> Result<(Vec<PartitionId>, Option<u64>)> {
    let (source, records) = (what.source, records::store(common)?);
    let end_in = |name: &str, place: Extent, end_bytes: Option<u64>| {
        let behind_bytes = clone_end::behind_bytes(place, end_bytes?, usage);
        if behind_bytes > 0 && !common.quiet {
            clone_end::announce(name, end_bytes?, behind_bytes);
        }
        end_bytes.filter(|_| behind_bytes > 0)
    };
    let whole = what.device.geometry().extent();
    let own = clone_end::of(source, &records);
    let own = whole.and_then(|whole| end_in(&source.name, whole, own));
    let Some(table) = &source.table else {
        return Ok((Vec::new(), own));
    };
    let mut all = partitions(what.layout, &usage.used());
    for partition in &mut all {
        let mut named = table.partitions.iter();
        let named = named.find(|it| it.number == partition.number);
        let identity = named.and_then(|it| partition_identity(table, it));
        let end_bytes = clone_end::of_partition(partition, identity, &records);
        let name = format!("{}:{}", source.name, partition.number);
        partition.clone_bytes = end_in(&name, partition.extent, end_bytes);
    }
    Ok((all, own))
}

fn options(args: &ImageArgs) -> CaptureOptions {
    CaptureOptions {
        rung: match args.rung {
            RungArg::Auto => RungChoice::Auto,
            RungArg::Compare => RungChoice::Only(Rung::Compare),
            RungArg::Digest => RungChoice::Only(Rung::Digest),
            RungArg::Full => RungChoice::Only(Rung::Full),
        },
        level: args.store.level,
        threads: threads::count(args.threads),
    }
}

/// Whether the image goes to standard output.
fn is_stream(name: &ImageName) -> bool {
    name.path.as_os_str() == "-"
}

/// The file must not be the source, nor on it.
fn check_apart(place: &Place, name: &ImageName, system: &System) -> Result<()> {
    let path = &name.path;
    if !path.exists() {
        return Ok(());
    }
    if !path.is_file() {
        return Err(not_plain(path));
    }
    let (image, source) = (system.locate(path)?, system.locate(&place.path)?);
    if place.image.is_none() && image == source {
        return Err(refused(format!(
            "{} is the source itself; name another file",
            path.shown()
        )));
    }
    Ok(())
}

/// The last snapshot of the same source with the same name.
pub(super) fn previous(
    image: &Image,
    source: &Identity,
    name: Option<&str>,
) -> Result<Option<Arc<Snapshot>>> {
    let entries = image.catalog().snapshots.iter().rev();
    let is_same =
        |entry: &&CatalogEntry| &entry.source == source && entry.given_name.as_deref() == name;
    for entry in entries.filter(is_same) {
        match image.snapshot(Some(entry.number)) {
            Err(error @ klon_partition::Error::Corrupt(_)) => say(&format!(
                "klon: warning: snapshot {} can't be read, so klon compares with an earlier one: \
                 {error}",
                entry.number
            )),
            snapshot => return Ok(Some(Arc::new(snapshot?))),
        }
    }
    Ok(None)
}

/// The partitions of a disk, for the snapshot's manifest.
pub(super) fn partitions(layout: &DiskLayout, used: &ExtentMap) -> Vec<PartitionId> {
    let volumes = layout.volumes.iter().filter_map(|volume| {
        let partition = volume.partition.as_ref()?;
        Some(PartitionId {
            number: partition.number,
            extent: partition.extent,
            name: partition.name.clone(),
            guid: partition.guid,
            filesystem: volume.filesystem.as_ref().map(Into::into),
            used_bytes: used.within(partition.extent).map(|e| e.len_bytes()).sum(),
            clone_bytes: None,
        })
    });
    let mut partitions: Vec<_> = volumes.collect();
    partitions.sort_by_key(|partition| partition.number);
    partitions
}

/// Adds to an error what is left of the image, and what helps.
pub(super) fn advised(error: anyhow::Error, left: Left, image: &Path) -> anyhow::Error {
    let shown = image.shown();
    let number = advice::reason(&error);
    let split = "use --split 4G, which keeps a new image in parts of that size";
    let helps = number.and_then(|number| advice::about(number, image, split));
    let told = match (left, helps) {
        (_, None) if shown.clone() == "-" => return error,
        (_, Some(helps)) if shown.clone() == "-" => helps,
        (Left::Earlier, Some(helps)) => format!(
            "No snapshot was added. The snapshots that {shown} had are as they were. {helps}. The same \
             command does not write again what is in the file already"
        ),
        (Left::Earlier, None) => format!(
            "No snapshot was added. The snapshots that {shown} had are as they were. Run the same \
             command again; it does not write again what is in the file already"
        ),
        (Left::Some(bytes), helps) => format!(
            "No snapshot was added. {}{} of this one are in {shown} already, and the same command does \
             not write them again. If you don't want the image, remove {}",
            helps.map(|helps| helps + ". ").unwrap_or_default(),
            human::size(bytes),
            files_of(image)
        ),
        (Left::Nothing, Some(helps)) => format!("There is no new image {shown}. {helps}"),
        (Left::Nothing, None) => format!("There is no new image {shown}"),
    };
    error.context(Advice(told))
}

/// The file that an image is kept in, or its parts.
fn files_of(image: &Path) -> String {
    let files = ImageFiles::find(image);
    let paths = files.map_or_else(
        |_| vec![image.to_owned()],
        |files| files.paths().map(Path::to_owned).collect(),
    );
    match &paths[..] {
        [first, .., last] => format!("{} to {}", first.shown(), last.shown()),
        _ => paths
            .first()
            .map_or_else(|| image.shown(), |path| path.shown()),
    }
}

/// What `klon image --json` prints last.
#[derive(Serialize)]
struct Imaged<'a> {
    event: &'static str,
    image: &'a str,
    #[serde(flatten)]
    summary: &'a CaptureSummary,
}

pub(super) fn report(summary: &CaptureSummary, name: &ImageName, common: &Common) -> Result<()> {
    let image = name.path.shown();
    if common.json {
        return Ok(output::json(&Imaged {
            event: "imaged",
            image: &image,
            summary,
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    let duration = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
    let line = format!(
        "{image}@{}: {} used, {} changed, {} added to {}{}, {}",
        summary.snapshot,
        human::size(summary.used_bytes),
        human::size(summary.changed_bytes),
        human::size(summary.added_bytes),
        human::size(summary.image_bytes),
        outside::summed(&summary.left_out),
        human::duration(duration),
    );
    if is_stream(name) {
        say(&line);
        return Ok(());
    }
    Ok(output::line(&line)?)
}
