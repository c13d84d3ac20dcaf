//! `klon export`: a file for other programs.

mod write;

use crate::cli::{Common, ExportArgs, FormatArg};
use crate::error::{self, refused, usage};
use crate::human;
use crate::image::ImageName;
use crate::output;
use crate::place::Place;
use crate::progress::{Progress, Totals, interrupt_flag, say};
use crate::threads;
use anyhow::{Context as _, Result};
use klon_imaging::image::export::{ExportJob, Exported};
use klon_imaging::image::{Snapshot, SnapshotDevice};
use klon_partition::device::Window;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap, ReadAt};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Damages that are told in full.
const REASONS_MAX: usize = 10;

/// Makes a file of a snapshot.
pub fn run(args: &ExportArgs, common: &Common) -> Result<ExitCode> {
    let started = Instant::now();
    let is_stream = args.output.as_os_str() == "-";
    let format = format(args, is_stream, common)?;
    let place = Place::resolve(&args.image, &System::current()?)?;
    let Some(name) = &place.image else {
        return Err(usage(format!(
            "{}: it is no image of klon's (FILE.klon, FILE.klon@N, FILE.klon@N:PARTITION)",
            place.given
        )));
    };
    if !is_stream {
        check_output(&args.output, name, args.force)?;
    }
    let snapshot = name.open_snapshot()?;
    let part = Part::of(&snapshot, place.number).with_context(|| place.given.clone())?;
    if !part.bad.is_empty() {
        say(&format!(
            "klon: warning: {}: {} could not be read when it was imaged, and are zero",
            place.given,
            human::size(part.bad.total_bytes())
        ));
    }
    let job = ExportJob {
        name: &place.given,
        format: format_name(format),
        device: &*part.device,
        chunk_bytes: snapshot.image().header().chunk_bytes,
        data: part.data,
        wanted: part.wanted,
        skip_damaged: args.skip_damaged,
        threads: threads::count(args.threads),
    };
    let totals = Totals {
        bytes: job.data.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let done = match is_stream {
        true => write::stream(&job, &progress),
        false => write::file(&job, args, format, &progress),
    };
    let done = done.with_context(|| format!("exporting {}", place.given))?;
    damages(&done);
    if !is_stream {
        report(&place.given, args, format, &done, started, common)?;
    }
    Ok(match done.damaged.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(error::CORRUPT),
    })
}

fn format(args: &ExportArgs, is_stream: bool, common: &Common) -> Result<FormatArg> {
    let is_qcow2 = args.output.extension().is_some_and(|end| end == "qcow2");
    let format = args.format.unwrap_or(match is_qcow2 {
        true => FormatArg::Qcow2,
        false => FormatArg::Raw,
    });
    if is_stream && (format != FormatArg::Raw || common.json) {
        return Err(usage(
            "to standard output only raw bytes are exported, and no JSON",
        ));
    }
    if args.compress && format != FormatArg::Qcow2 {
        return Err(usage("--compress is for qcow2"));
    }
    Ok(format)
}

const fn format_name(format: FormatArg) -> &'static str {
    match format {
        FormatArg::Raw => "export as raw",
        FormatArg::Qcow2 => "export as qcow2",
        FormatArg::Bmap => "export as raw with a block map",
    }
}

/// The file must be a new one, or one that may be replaced; never the image.
fn check_output(path: &Path, image: &ImageName, replaces: bool) -> Result<()> {
    let text = path.display();
    if path.file_name().is_none() {
        return Err(usage(format!("{text} names no file")));
    }
    if let (Ok(output), Ok(image)) = (path.canonicalize(), image.path.canonicalize())
        && output == image
    {
        return Err(refused(format!("{text} is the image itself")));
    }
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(refused(format!(
            "{text} is no plain file; to bring a snapshot to a device, `klon restore` is meant"
        ))),
        Ok(_) if !replaces => Err(refused(format!(
            "{text} exists already; name another file, or replace it with --force"
        ))),
        _ => Ok(()),
    }
}

/// What is exported: a snapshot, or a partition of it.
struct Part {
    device: Arc<dyn ReadAt>,
    data: ExtentMap,
    wanted: ExtentMap,
    bad: ExtentMap,
}

impl Part {
    /// Takes the place of a partition from the manifest, which is whole where the table may not be.
    fn of(snapshot: &Arc<Snapshot>, number: Option<u32>) -> Result<Self> {
        let whole = SnapshotDevice::new(Arc::clone(snapshot));
        let manifest = snapshot.manifest();
        let Some(number) = number else {
            return Ok(Self {
                device: Arc::new(whole),
                data: manifest.data.clone(),
                wanted: manifest.wanted(),
                bad: manifest.bad.clone(),
            });
        };
        let partitions = &snapshot.meta().partitions;
        let found = partitions.iter().find(|found| found.number == number);
        let partition = found.ok_or_else(|| {
            let numbers: Vec<_> = partitions.iter().map(|it| it.number.to_string()).collect();
            usage(match numbers.is_empty() {
                true => "it is a volume, and has no partitions".to_owned(),
                false => format!(
                    "it has no partition {number}; it has {}",
                    numbers.join(", ")
                ),
            })
        })?;
        let extent = partition.extent;
        Ok(Self {
            device: Arc::new(Window::new(whole, extent)?),
            data: within(&manifest.data, extent),
            wanted: within(&manifest.wanted(), extent),
            bad: within(&manifest.bad, extent),
        })
    }
}

/// The part of a map that lies in `window`, counted from its start.
fn within(map: &ExtentMap, window: Extent) -> ExtentMap {
    let start_bytes = window.offset_bytes();
    map.within(window)
        .filter_map(|part| Extent::new(part.offset_bytes() - start_bytes, part.len_bytes()))
        .collect()
}

fn damages(done: &Exported) {
    for reason in done.reasons.iter().take(REASONS_MAX) {
        say(&format!("klon: damaged: {reason}"));
    }
    for part in done.damaged.iter() {
        say(&format!(
            "klon: zeroes in place of damaged bytes: {:#x} to {:#x} ({})",
            part.offset_bytes(),
            part.end_bytes() - 1,
            human::size(part.len_bytes())
        ));
    }
}

/// What `klon export --json` prints last.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    image: &'a str,
    output: String,
    format: &'static str,
    #[serde(flatten)]
    done: &'a Exported,
    file_bytes: u64,
    allocated_bytes: u64,
    seconds: f64,
}

fn report(
    image: &str,
    args: &ExportArgs,
    format: FormatArg,
    done: &Exported,
    started: Instant,
    common: &Common,
) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(&args.output)?;
    let (file_bytes, allocated_bytes) = (file.len(), file.blocks().saturating_mul(512));
    let output = args.output.display().to_string();
    if common.json {
        return Ok(output::json(&Line {
            event: "exported",
            image,
            output,
            format: match format {
                FormatArg::Raw => "raw",
                FormatArg::Qcow2 => "qcow2",
                FormatArg::Bmap => "bmap",
            },
            done,
            file_bytes,
            allocated_bytes,
            seconds: started.elapsed().as_secs_f64(),
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    Ok(output::line(&format!(
        "{output}: {} of {image} read and checked, file of {} on {}, {}",
        human::size(done.read_bytes),
        human::size(file_bytes),
        human::size(allocated_bytes),
        human::duration(started.elapsed()),
    ))?)
}
