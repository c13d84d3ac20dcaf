//! `klon export`: makes a file for other programs. `klon extract` makes a raw file of a range in the same
//! way.

mod exported;
mod told;
mod write;

use crate::advice;
use crate::cli::{Common, ExportArgs, FormatArg, MakeArgs};
use crate::error::{self, refused, usage};
use crate::image::{ImageName, state};
use crate::named::Place;
use crate::output::Stream;
use crate::progress::{Progress, Totals};
use crate::signals::interrupt_flag;
use crate::threads;
use anyhow::{Context as _, Result};
use exported::Exported;
pub(super) use exported::Range;
use klon_imaging::image::ImageFiles;
use klon_imaging::image::export::ExportJob;
use klon_partition::device::FileId;
use klon_partition::system::System;
use klon_partition::{ExtentMap, Shown};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use told::Made;

/// What helps where a file may not become large enough.
const FORMATS: &str = "raise the limit, name a place on another filesystem, or export as qcow2, which \
                       takes no room for what is not in use";

/// What the user wants as a file.
pub(super) struct Request<'a> {
    /// The snapshot, or a partition of it.
    pub image: &'a Path,
    /// The range of it that is wanted; `None` for all of it.
    pub range: Option<Range>,
    /// The file, or `-`.
    pub output: &'a Path,
    pub format: FormatArg,
    pub compress: bool,
    pub make: MakeArgs,
    pub words: Words,
}

/// What it is called.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// The event of the last line of `--json`.
    pub event: &'static str,
    pub verb: &'static str,
    pub doing: &'static str,
}

/// Makes a file of a snapshot.
///
/// # Errors
/// When the image can't be read, or the output is in the way or can't be written.
pub fn run(args: &ExportArgs, common: &Common) -> Result<ExitCode> {
    let is_qcow2 = args.output.extension().is_some_and(|end| end == "qcow2");
    let by_name = if is_qcow2 {
        FormatArg::Qcow2
    } else {
        FormatArg::Raw
    };
    let request = Request {
        image: &args.image,
        range: None,
        output: &args.output,
        format: args.format.unwrap_or(by_name),
        compress: args.compress,
        make: args.make,
        words: Words {
            event: "exported",
            verb: "export",
            doing: "exporting",
        },
    };
    make(&request, common)
}

/// Makes the file.
pub(super) fn make(request: &Request<'_>, common: &Common) -> Result<ExitCode> {
    let started = Instant::now();
    let is_stream = request.output.as_os_str() == "-";
    check(request, is_stream, common)?;
    let place = Place::resolve(request.image, &System::current()?)?;
    let Some(name) = &place.image else {
        return Err(usage(format!(
            "{} is not a klon image (FILE.klon, FILE.klon@N, FILE.klon@N:PARTITION)",
            place.given
        )));
    };
    if is_stream {
        // Before anything is read for it.
        Stream::open()?;
    } else {
        check_output(request.output, name, request.make.force)?;
        check_suffix(request)?;
    }
    let snapshot = name.open_snapshot()?;
    state::warn(snapshot.image());
    let part = Exported::of(
        &snapshot,
        place.number,
        request.range,
        request.make.skip_damaged,
    );
    let part = part.with_context(|| place.given.clone())?;
    told::bad(&place.given, &part.bad);
    if request.range.is_none() {
        told::files(&snapshot, place.number, &part);
    }
    let Words { verb, doing, .. } = request.words;
    let job = ExportJob {
        name: &place.given,
        format: &format!("{verb} as {}", format_name(request.format)),
        device: &*part.device,
        chunk_size: snapshot.chunk_size(),
        data: part.data.clone(),
        wanted: part.wanted.clone(),
        threads: threads::count(request.make.threads),
    };
    let totals = Totals {
        bytes: job.data.total_bytes(),
        volumes: 1,
    };
    let progress = Progress::new(common, totals, interrupt_flag()?);
    let done = if is_stream {
        write::stream(&job, &progress)
    } else {
        write::file(&job, request, &progress)
    };
    let done = done
        .map_err(|error| advice::to_write(error, request.output, FORMATS))
        .with_context(|| format!("{doing} {}", place.given))?;
    let damage = part.damage();
    told::damage(&damage);
    let code = code(&damage.extents, &part.bad);
    if !is_stream {
        let made = Made {
            image: &place.given,
            done: &done,
            damage: &damage,
            bad: &part.bad,
            started,
        };
        told::report(&made, request, common)?;
    }
    Ok(code)
}

/// The exit code: whether the image is damaged where it has bytes of the file, or such bytes could not be
/// read from the source.
fn code(damaged: &ExtentMap, bad: &ExtentMap) -> ExitCode {
    match (damaged.is_empty(), bad.is_empty()) {
        (false, _) => ExitCode::from(error::CORRUPT),
        (true, false) => ExitCode::from(error::DIFFERENT),
        (true, true) => ExitCode::SUCCESS,
    }
}

fn check(request: &Request<'_>, is_stream: bool, common: &Common) -> Result<()> {
    if is_stream && (request.format != FormatArg::Raw || common.json) {
        return Err(usage(format!(
            "only raw bytes can be {} to standard output, and without --json",
            request.words.event
        )));
    }
    if request.compress && request.format != FormatArg::Qcow2 {
        return Err(usage("--compress is for qcow2"));
    }
    Ok(())
}

const fn format_name(format: FormatArg) -> &'static str {
    match format {
        FormatArg::Raw => "raw",
        FormatArg::Qcow2 => "qcow2",
        FormatArg::Bmap => "raw with a block map",
    }
}

/// Refuses a name whose ending promises another format: people and programs would believe it.
fn check_suffix(request: &Request<'_>) -> Result<()> {
    let end = request.output.extension().and_then(|end| end.to_str());
    let Some(end) = end.map(str::to_ascii_lowercase) else {
        return Ok(());
    };
    let is_kept = end == "qcow2" && request.format == FormatArg::Qcow2;
    if is_kept || !PROMISES.contains(&end.as_str()) {
        return Ok(());
    }
    let text = request.output.shown();
    let format = match end.as_str() {
        "vhd" => "vpc",
        other => other,
    };
    Err(usage(if VIRTUAL.contains(&end.as_str()) {
        format!(
            "{text} would be {}, but its name promises {end}. Name a raw file, and convert it: \
             `qemu-img convert -O {format} RAW {text}`",
            format_name(request.format)
        )
    } else {
        format!(
            "{text} would be {}, but its name promises {end}. Give it another name",
            format_name(request.format)
        )
    }))
}

/// Endings of virtual disks that qemu-img makes.
const VIRTUAL: [&str; 8] = ["qcow2", "qcow", "vmdk", "vhd", "vhdx", "vdi", "qed", "hdd"];
/// Endings that say what a file is.
const PROMISES: [&str; 29] = [
    "qcow2", "qcow", "vmdk", "vhd", "vhdx", "vdi", "qed", "hdd", "ova", "ovf", "dmg", "simg", "gz",
    "zst", "xz", "lz4", "bz2", "lzma", "lzo", "zip", "7z", "rar", "tar", "tgz", "txz", "cpio",
    "bmap", "klon", "e01",
];

/// The file must be a new one, or one that may be replaced; never the image.
fn check_output(path: &Path, image: &ImageName, replaces: bool) -> Result<()> {
    let text = path.shown();
    if path.file_name().is_none() {
        return Err(usage(format!("{text} is not the name of a file")));
    }
    check_is_not(path, &text, &image.files()?)?;
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(refused(format!(
            "{text} is not a plain file. To bring a snapshot to a device, use `klon restore`"
        ))),
        Ok(_) if !replaces => Err(refused(format!(
            "{text} exists already. Name another file, or replace it with --force"
        ))),
        _ => Ok(()),
    }
}

/// Refuses a file of the image that is read, by whatever name, and a name that its next part would have.
fn check_is_not(path: &Path, text: &str, image: &ImageFiles) -> Result<()> {
    let id = |path: &Path| std::fs::metadata(path).map(|found| FileId::of(&found));
    if let Ok(output) = id(path)
        && image
            .paths()
            .any(|part| id(part).is_ok_and(|part| part == output))
    {
        return Err(refused(match image.is_split() {
            true => format!("{text} is a part of the image itself"),
            false => format!("{text} is the image itself"),
        }));
    }
    let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let place = |path: &Path| Path::new(".").join(parent(path)).canonicalize().ok();
    let is_number = |end: &OsStr| end.len() >= 3 && end.as_bytes().iter().all(u8::is_ascii_digit);
    let name = image.name();
    if image.is_split()
        && path.file_stem() == name.file_name()
        && path.extension().is_some_and(is_number)
        && place(path) == place(name)
    {
        return Err(refused(format!(
            "{text} would be taken for a part of the image {}. Give it another name",
            name.shown()
        )));
    }
    Ok(())
}
