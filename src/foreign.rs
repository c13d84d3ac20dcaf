//! Files of other programs as sources. klon opens the disk in the file, or refuses it and says how to make a
//! disk of it. It never takes the file itself for a raw disk.

mod e2image;
mod qemu;

use crate::error::{CORRUPT, Failure};
use crate::human;
use crate::listing::{self, NAMED_MAX};
use crate::plan_file::{find_plan, no_source};
use anyhow::{Context as _, Result};
use klon_imaging::foreign::{Foreign, Form, check_whole, recognize};
use klon_imaging::image::import::qcow2::Qcow2;
use klon_imaging::image::import::split::Parts;
use klon_imaging::packed::Packing;
use klon_partition::bytes::be64;
use klon_partition::device::{Kind, Source, Window, read_vec};
use klon_partition::text::{quoted, sealed};
use klon_partition::{Error, Extent, ReadAt};
use std::path::Path;
use std::sync::Arc;

/// What names a file whose bytes are a disk's own, whatever they look like: `raw:FILE`.
pub const RAW_PREFIX: &str = "raw:";

/// Where the footer of a VHD has the size of its disk.
const VHD_SIZE_AT: u64 = 48;

/// A file that holds a disk in another form.
#[derive(Clone, Debug)]
pub struct Container {
    /// What it is: `a qcow2 image`.
    pub name: &'static str,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The disk in a file, and in which form it is there; `None` for devices and raw files.
///
/// # Errors
/// For what is no disk, or can't be read here, with what to do.
pub fn open(given: &str, source: &Arc<Source>) -> Result<Option<(Arc<dyn ReadAt>, Container)>> {
    if source.kind() != Kind::File {
        return Ok(None);
    }
    let Some(found) = look(given, source)? else {
        check_alone(given, source.path())?;
        return Ok(None);
    };
    let mut container = Container {
        name: found.name,
        warnings: Vec::new(),
    };
    let device: Arc<dyn ReadAt> = match found.form {
        Form::Qcow2 => {
            let disk = Qcow2::open(source.clone()).map_err(|error| hinted(given, error))?;
            container.warnings.extend(snapshots(given, &disk)?);
            container.warnings.extend(e2image::warning(given, &disk));
            Arc::new(disk)
        }
        Form::FixedVhd { size_bytes } => match Extent::new(0, size_bytes) {
            Some(disk) => Arc::new(Window::new(source.clone(), disk)?),
            None => return Err(refusal(given, &found)),
        },
        Form::VirtualDisk { driver } => match qemu::find() {
            Some(program) => {
                // QEMU reads zeroes where a file is cut.
                check_whole(driver, &**source, source.path())
                    .map_err(|error| hinted(given, error))?;
                let disk = qemu::QemuDisk::start(&program, driver, source.path());
                let doing = || format!("{given}: it is {}, and qemu-nbd can't read it", found.name);
                let disk = disk.with_context(doing)?;
                check_size(given, driver, source, disk.geometry().size_bytes)?;
                Arc::new(disk)
            }
            None => return Err(refusal(given, &found)),
        },
        Form::Document if matches!(find_plan(source.path()), Ok(Some(_))) => {
            return Err(no_source(given));
        }
        _ => return Err(refusal(given, &found)),
    };
    Ok(Some((device, container)))
}

/// Refuses a disk that qemu-nbd serves in another size than the header of its image says: what is behind the
/// end would be lost.
fn check_size(given: &str, driver: &str, source: &Source, served_bytes: u64) -> Result<()> {
    if driver != "vpc" {
        return Ok(());
    }
    // "Current Size" of the footer, which dynamic disks have at their start, too.
    let size_bytes = be64(&read_vec(source, VHD_SIZE_AT, 8)?, 0);
    if size_bytes == served_bytes {
        return Ok(());
    }
    Err(unsupported(format!(
        "{given}: its footer says at {VHD_SIZE_AT} that its disk has {size_bytes} bytes, but qemu-nbd \
         serves {served_bytes}. Make a raw file of it with the program that made it, and name that"
    )))
}

/// What a file is, if it is no raw disk.
///
/// # Errors
/// For a file of another program that is damaged, or that klon can't read, with what to do.
pub fn look(given: &str, file: &dyn ReadAt) -> Result<Option<Foreign>> {
    recognize(file).map_err(|error| hinted(given, error))
}

/// An error of a file that seems to be of another program, with how to insist that it is not.
fn hinted(given: &str, error: Error) -> anyhow::Error {
    let hint = match error {
        Error::Corrupt(_) | Error::Unsupported { .. } => insisting(given),
        _ => return anyhow::Error::from(error).context(given.to_owned()),
    };
    let advice = crate::error::Advice(hint);
    anyhow::Error::from(error)
        .context(advice)
        .context(given.to_owned())
}

fn insisting(given: &str) -> String {
    format!("If these bytes are a disk's own, name the file {RAW_PREFIX}{given}")
}

/// Refuses a source that is no disk, with what makes one of it.
pub fn refusal(given: &str, found: &Foreign) -> anyhow::Error {
    let name = found.name;
    let what = match found.form {
        Form::Packed(Packing::Foreign(program)) => {
            format!("{given} is {name}, not a disk. Unpack it first with `{program}`")
        }
        Form::Packed(packing) => format!(
            "{given} is {name}, not a disk. `klon import {given} FILE.klon` and `klon restore \
             {given} TARGET` read what is packed in it. Or unpack it first with `{}`",
            unpacker(packing)
        ),
        Form::Partclone => {
            format!("{given} is {name}, not a disk. `klon import {given} FILE.klon` reads it")
        }
        Form::Saved { advice } => format!(
            "{given} is {name}, not a disk: {}",
            advice.replace("{}", given)
        ),
        Form::Archive => format!(
            "{given} is {name}, not a disk. Take the disk out of it, and name \
            that file"
        ),
        Form::Document => format!("{given} is {name}, and no disk is in it"),
        Form::Qcow2 | Form::FixedVhd { .. } | Form::VirtualDisk { .. } => format!(
            "{given} is {name}. To read it, klon needs qemu-nbd (apt install qemu-utils). Or make a \
             raw file of it: `qemu-img convert -O raw {given} {given}.raw`"
        ),
    };
    unsupported(format!("{what}. {}", insisting(given)))
}

/// What to say of a file in which nothing shows what it is.
pub fn unknown_content(name: &str) -> String {
    format!(
        "{name}: unknown content: klon knows neither a partition table nor a filesystem in it, and \
         takes all of it for a raw disk"
    )
}

/// What is known, and not read in this way.
pub fn unsupported(message: String) -> anyhow::Error {
    let code = CORRUPT;
    Failure { message, code }.into()
}

const fn unpacker(packing: Packing) -> &'static str {
    match packing {
        Packing::None => "cat",
        Packing::Gzip => "gzip -dk",
        Packing::Zstd => "zstd -d",
        Packing::Xz => "xz -dk",
        Packing::Lz4 => "lz4 -d",
        Packing::Bzip2 => "bzip2 -dk",
        Packing::Foreign(program) => program,
    }
}

/// The first of several parts is no disk alone.
fn check_alone(given: &str, path: &Path) -> Result<()> {
    let parts = Parts::find(path).with_context(|| given.to_owned())?;
    if parts.is_split() {
        Err(unsupported(format!(
            "{given} is the first of {} parts of a file. `klon import {given} FILE.klon` joins \
             them, or join them with `cat`. If it is a disk by itself, name it {RAW_PREFIX}{given}",
            parts.count()
        )))
    } else {
        Ok(())
    }
}

/// What is in a qcow2 image beside its disk as it is now.
fn snapshots(given: &str, disk: &Qcow2<Arc<Source>>) -> Result<Option<String>> {
    let names = disk.snapshots().with_context(|| given.to_owned())?;
    if names.is_empty() {
        return Ok(None);
    }
    let count = names.len();
    let named: Vec<String> = (names.iter().take(NAMED_MAX))
        .map(|name| quoted(&sealed(name)))
        .collect();
    let more = listing::more(count, "snapshot").map(|more| format!(" and {more}"));
    let more = more.unwrap_or_default();
    let snapshots = human::count(count, "QEMU snapshot");
    Ok(Some(format!(
        "{given} holds {snapshots} ({}{more}). klon reads the disk as it is now. \
         `qemu-img convert -O raw -l NAME {given} FILE` makes a raw file of a snapshot",
        named.join(", ")
    )))
}
