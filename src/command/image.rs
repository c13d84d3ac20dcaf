//! `klon image`: a new snapshot of a volume or disk in an image file.

mod another;
mod live;
mod rescue;
mod told;
mod volumes;

use crate::advice;
use crate::cli::{Common, ImageArgs};
use crate::error::{DIFFERENT, refused, usage};
use crate::explain::{self, Way};
use crate::image::{ImageName, OpenForAppend, Shape, first_part, not_plain};
use crate::ledger;
use crate::messages::say;
use crate::named::Place;
use crate::output::Stream;
use crate::outside;
use crate::progress::{Progress, Totals};
use crate::records;
use crate::run::rescue as rescue_run;
use crate::signals::interrupt_flag;
use crate::source::SourceEnd;
use crate::source::live::{explained, open_disk, open_mounted, tell_unaudited};
use crate::source::lost_before::{self, Out};
use crate::still::Moments;
use crate::still::ways::{Stillness, Ways};
use crate::threads;
use anyhow::Result;
use klon_imaging::change::Reliance;
use klon_imaging::clone::Filled;
use klon_imaging::image::{
    CaptureJob, CaptureOptions, CaptureSummary, CatalogEntry, Image, PartitionId, Snapshot,
    VolumeKind, capture,
};
use klon_imaging::{Consistency, RecordStore};
use klon_partition::Shown;
use klon_partition::device::{Unread, Window};
use klon_partition::filesystem::{Recognized, Usage, recognize};
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use told::failed;

pub(super) use told::{advised, report};

/// Adds a snapshot of a source to an image.
///
/// # Errors
/// When the source or the image can't be used, or no snapshot could be added.
pub fn run(args: &ImageArgs, common: &Common) -> Result<ExitCode> {
    Ways::new(&args.still, false, common.quiet)?.around(|ways| image(args, ways, common))
}

fn image(args: &ImageArgs, ways: &Ways, common: &Common) -> Result<ExitCode> {
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
    let is_told = common.json || args.reliance.explain;
    if is_stream(&name) && (is_told || args.split.is_some() || args.rescue.is_some()) {
        return Err(usage(
            "an image on standard output can't have --json, --explain, --split or --rescue",
        ));
    }
    let records = records::store(common)?;
    let asked = Asked {
        name: &name,
        args,
        common,
        records: &records,
    };
    let Some(map) = &args.rescue else {
        let found = opened_source(&place, ways, args, &system);
        let (mut source, layout) =
            found.map_err(|error| rescue_run::hinted(error, rescue_run::IMAGE))?;
        source.note_recorded(&records);
        let what = What {
            source: &source,
            usage: &source.usage,
            device: &*in_image(&source.device, &source.lost_before),
            layout: &layout,
            bad: source.lost_before.extents.clone(),
        };
        let added = add(&what, asked)?;
        return Ok(code(&added.bad, &added.metadata.damaged));
    };
    rescue::image(map.as_deref(), asked, &system)
}

/// Opens a source: as it is, by its snapshot, or at rest for moments, whichever is the best.
fn opened_source(
    place: &Place,
    ways: &Ways,
    args: &ImageArgs,
    system: &System,
) -> Result<(SourceEnd, DiskLayout)> {
    let place = place.clone().at_node(system)?;
    let replaying = place.clone().replaying(&args.replay);
    let moving = match ways.rest(&replaying, system)? {
        Stillness::Claimed(open) => {
            let source = SourceEnd::of(&open, system, None)?;
            return Ok((source, open.layout));
        }
        Stillness::Moving(moving) => moving,
    };
    let moments = Moments::asked(args.still.still, args.freeze.freeze_max);
    let Some(moments) = moments else {
        return Err(moving.into());
    };
    let found = match open_mounted(&place, system, None, moments)? {
        None => open_disk(&place, system, None, moments)?,
        volume => volume,
    };
    let Some(source) = found else {
        return Err(explained(moving.into(), &place, system, moments)?);
    };
    ways.tell_frozen(&place, &moving);
    let layout = match &source.live {
        Some(live) => live.open().layout.clone(),
        None => DiskLayout::unknown(&*source.device),
    };
    Ok((source, layout))
}

/// The device as it is imaged: lost bytes are zeroes. The source may have a text in their place. With
/// zeroes the image need not say which text.
fn in_image(device: &Arc<dyn ReadAt>, lost: &Filled) -> Arc<dyn ReadAt> {
    match lost.texts.is_empty() {
        true => device.clone(),
        false => Arc::new(Unread::new(device.clone(), lost.extents.clone())),
    }
}

/// The exit code: whether the snapshot lacks bytes that are bad or damaged in its source.
fn code(bad: &ExtentMap, damaged: &ExtentMap) -> ExitCode {
    match bad.is_empty() && damaged.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DIFFERENT),
    }
}

/// What the user asks for, and where the records are.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// The image that the snapshot goes to.
    name: &'a ImageName,
    args: &'a ImageArgs,
    common: &'a Common,
    records: &'a RecordStore,
}

/// What is imaged.
struct What<'a> {
    source: &'a SourceEnd,
    /// Its bytes in use.
    usage: &'a Usage,
    /// Where it is read.
    device: &'a dyn ReadAt,
    layout: &'a DiskLayout,
    /// Its bytes that could not be read. They are zero on the device.
    bad: ExtentMap,
}

impl What<'_> {
    /// The filesystem of the volume at `place`. It is looked for only where it was not recognized before.
    fn recognized(&self, place: Extent) -> Option<Recognized> {
        let mut volumes = self.source.volumes.iter();
        let usage = match &self.source.table {
            Some(_) => volumes
                .find(|it| it.extent == place)
                .map(|volume| &volume.usage),
            None => Some(self.usage),
        };
        let known = usage.and_then(|usage| usage.recognized.clone());
        known.or_else(|| recognize(&Window::new(self.device, place).ok()?).ok()?)
    }
}

/// A snapshot that is being taken.
struct Taking<'a> {
    what: &'a What<'a>,
    job: CaptureJob<'a>,
    /// What is in use of the source, without what is left out by choice.
    usage: &'a Usage,
    options: &'a CaptureOptions,
    progress: &'a Progress,
}

/// Adds a snapshot to an image, or makes a new image with it.
fn add(what: &What<'_>, asked: Asked<'_>) -> Result<CaptureSummary> {
    let Asked {
        name, args, common, ..
    } = asked;
    let source = what.source;
    source.tell_journals(common.quiet);
    warn_of(source, args.strict)?;
    let mut image = opened(name, args)?;
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
    let watch = || source.changed();
    let table = source.table.as_ref();
    let (partitions, clone_bytes) = volumes::ends(what, &usage, asked);
    let continuity = ledger::continuity(common, Path::new("/")).ok();
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
        consistency: source.consistency(),
        given_name: args.store.name.clone(),
        clone_bytes,
        note: args.store.note.clone(),
        is_checked: source.snapshot.is_some() && source.salvaged.is_none(),
        volumes: volumes::volumes(what, asked, continuity.as_ref()),
    };
    let warn = |warning: String| say(&format!("klon: warning: {}: {warning}", source.name));
    let back = previous.as_ref();
    let back = back.and_then(|then| another::went_back(what, &job.partitions, then));
    back.into_iter().for_each(warn);
    let options = options(args, is_stream(name));
    let chunk_bytes = image.writer().header().chunk_size.bytes();
    let taking = Taking {
        what,
        job,
        usage: &usage,
        options: &options,
        progress: &progress,
    };
    let summary = match captured(taking, &mut image, asked) {
        Ok(summary) => summary,
        Err(error) => return Err(failed(error, image, source, asked)),
    };
    image.done()?;
    let differs = previous.and_then(|then| another::differs(&summary, chunk_bytes, &then));
    differs.into_iter().for_each(warn);
    tell(&summary, what, asked)?;
    Ok(summary)
}

/// Brings what is to be imaged to the image: as it is, or in passes while it goes on.
fn captured(
    taking: Taking<'_>,
    image: &mut OpenForAppend,
    asked: Asked<'_>,
) -> Result<CaptureSummary> {
    match &taking.what.source.live {
        None => {
            let Taking {
                job,
                options,
                progress,
                ..
            } = taking;
            Ok(capture(&job, image.writer(), options, progress)?)
        }
        Some(live) => {
            tell_unaudited(&taking.what.source.name, asked.args.reliance.audit);
            live::capture(live, taking, image, asked)
        }
    }
}

/// Tells what was done, and what the user should know.
fn tell(summary: &CaptureSummary, what: &What<'_>, asked: Asked<'_>) -> Result<()> {
    let Asked {
        name, args, common, ..
    } = asked;
    let source = what.source;
    explain::warn(&summary.name, &summary.metadata);
    if args.rescue.is_none() {
        // A rescue tells of all that is bad.
        let out = if is_stream(name) {
            Out::Messages
        } else {
            Out::of(common.json)
        };
        lost_before::report(&name.path.shown(), source, &summary.bad, out)?;
    }
    if args.reliance.explain {
        let CaptureSummary {
            name,
            rung,
            reason,
            metadata,
            ..
        } = summary;
        let way = Way::new(name, *rung, reason, metadata);
        explain::explain(&way, what.device, source.table.as_ref(), common)?;
    }
    report(summary, name, common)
}

/// The image, which is made if it is not there.
fn opened(name: &ImageName, args: &ImageArgs) -> Result<OpenForAppend> {
    let shape = Shape::parse(args.split.as_deref(), args.store.chunk.as_deref())?;
    let image = if is_stream(name) {
        OpenForAppend::stream(&shape)
    } else {
        OpenForAppend::new(name, &shape)
    };
    image.map_err(|error| advice::to_write(error, &name.path, advice::ELSEWHERE))
}

fn warn_of(source: &SourceEnd, is_strict: bool) -> Result<()> {
    for warning in &source.warnings {
        if is_strict {
            return Err(refused(format!("--strict: {warning}")));
        }
        say(&format!("klon: warning: {warning}"));
    }
    Ok(())
}

/// An image in a stream has no next run, so nothing is kept for one.
fn options(args: &ImageArgs, is_stream: bool) -> CaptureOptions {
    CaptureOptions {
        rung: args.rung.into(),
        level: args.store.level,
        threads: threads::count(args.threads),
        reliance: Reliance {
            is_off: is_stream,
            ..(&args.reliance).into()
        },
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
    let (image, source) = (system.locate(path)?, place.locate(system)?);
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
            consistency: Consistency::Still,
        })
    });
    let mut partitions: Vec<_> = volumes.collect();
    partitions.sort_by_key(|partition| partition.number);
    partitions
}
