//! What is imported, told by what it is.

use crate::cli::ImportArgs;
use crate::command::image;
use crate::error::usage;
use crate::foreign;
use crate::image::ImageName;
use crate::messages::say;
use crate::named::identity::identity_of;
use crate::source::packed::PackedDisk;
use crate::source::warnings::{disk_warnings, warning};
use anyhow::{Context as _, Result};
use klon_imaging::Consistency;
use klon_imaging::foreign::{Foreign, Form, looks_raw};
use klon_imaging::image::import::clonezilla::ClonezillaDisk;
use klon_imaging::image::import::partclone::{self, Partclone};
use klon_imaging::image::import::plain;
use klon_imaging::image::import::qcow2::Qcow2;
use klon_imaging::image::import::split::Parts;
use klon_imaging::image::{Forward, ForwardGeometry, PartitionId};
use klon_imaging::packed::Packing;
use klon_partition::Shown;
use klon_partition::bytes::is_zero;
use klon_partition::device::{Source, Stamp, look_at, read_vec};
use klon_partition::filesystem::{Hazard, Usage, usage as volume_usage};
use klon_partition::inspect::{disk_usage_by, inspect};
use klon_partition::system::System;
use klon_partition::table::Table;
use klon_partition::{ExtentMap, Geometry, Identity, ReadAt};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// What is imported.
pub(super) struct Input {
    pub(super) name: String,
    /// What is read; for a stream, how large it is.
    pub(super) device: Box<dyn ReadAt>,
    pub(super) stream: Option<Box<dyn Forward>>,
    pub(super) usage: Usage,
    pub(super) identity: Identity,
    pub(super) is_disk: bool,
    pub(super) disk_guid: Option<Uuid>,
    pub(super) partitions: Vec<PartitionId>,
    pub(super) note: Option<String>,
    pub(super) warnings: Vec<String>,
    /// The file as it was before it was read.
    pub(super) stamp: Option<StampedFile>,
}

/// A file and its state before it was read: a virtual machine may be writing to it.
pub(super) struct StampedFile {
    file: Source,
    before: Stamp,
}

impl StampedFile {
    fn begin(path: &Path) -> Result<Option<Self>> {
        let file = look_at(path)?;
        let before = file.stamp()?;
        Ok(before.map(|before| Self { file, before }))
    }

    /// What happened to the file since; `None` for nothing.
    pub(super) fn changed(&self) -> klon_partition::Result<Option<String>> {
        let now = self.file.stamp()?;
        Ok(now.and_then(|now| self.before.difference(&now)))
    }
}

impl Input {
    /// Opens it; `None` for what klon can image as it is.
    pub(super) fn open(args: &ImportArgs, system: &System) -> Result<Option<Self>> {
        let path = &args.input;
        let text = path.shown();
        if path.is_dir() {
            return clonezilla(path, args.disk.as_deref()).map(Some);
        }
        if args.disk.is_some() {
            return Err(usage("--disk is for Clonezilla directories"));
        }
        // A device, a tag, raw:FILE, an image of klon's.
        if !path.is_file() || ImageName::find(path)?.is_some() {
            return Ok(None);
        }
        let stamp = StampedFile::begin(path).with_context(|| text.clone())?;
        let parts = Parts::find(path).with_context(|| text.clone())?;
        let device = parts.device().with_context(|| text.clone())?;
        let found = match foreign::look(&text, &*device)? {
            Some(found) => found,
            None if parts.is_split() => {
                parts.check_lengths().with_context(|| text.clone())?;
                return joined(device, path, system).map(Some);
            }
            None => {
                warn_of_unknown(&text, &*device)?;
                return Ok(None);
            }
        };
        let input = match found.form {
            Form::Partclone | Form::Packed(_) => {
                stream(&parts, path, &found).with_context(|| text)?
            }
            Form::Qcow2 if parts.is_split() => {
                let disk = Qcow2::open(device).with_context(|| text.clone())?;
                joined(Arc::new(disk), path, system).with_context(|| text)?
            }
            Form::FixedVhd { .. } | Form::VirtualDisk { .. } if parts.is_split() => {
                return Err(foreign::unsupported(format!(
                    "{text} is {} in {} parts. Join them with `cat`, and import the result",
                    found.name,
                    parts.count()
                )));
            }
            Form::Qcow2 | Form::FixedVhd { .. } | Form::VirtualDisk { .. } => return Ok(None),
            Form::Saved { .. } | Form::Archive | Form::Document => {
                return Err(foreign::refusal(&text, &found));
            }
        };
        Ok(Some(Self { stamp, ..input }))
    }
}

/// Says that nothing in a file shows what it is.
fn warn_of_unknown(name: &str, device: &dyn ReadAt) -> Result<()> {
    let len = usize::try_from(device.geometry().size_bytes.min(1 << 20)).unwrap_or(0);
    if looks_raw(device)? || is_zero(&read_vec(device, 0, len)?) {
        return Ok(());
    }
    say(&format!(
        "klon: warning: {}",
        foreign::unknown_content(name)
    ));
    Ok(())
}

/// Refuses parts that make a damaged volume. A volume is damaged, too, when the last parts are missing.
fn check_whole<'a>(name: &str, mut hazards: impl Iterator<Item = &'a Hazard>) -> Result<()> {
    let damaged = hazards.find(|hazard| matches!(hazard, Hazard::Damaged(_)));
    match damaged {
        None => Ok(()),
        Some(hazard) => Err(foreign::unsupported(format!(
            "{name}: the volume in these parts is {hazard}. Parts at the end may be missing. If \
             none is missing, join them with `cat`, and name the result"
        ))),
    }
}

/// A disk or volume whose parts are several files.
fn joined(device: Arc<dyn ReadAt>, path: &Path, system: &System) -> Result<Input> {
    let layout = inspect(&*device)?;
    if let Some(why) = layout.doubt() {
        return Err(foreign::unsupported(format!(
            "{}: the partition table in these parts can't be relied on ({why}). Parts at the end \
             may be missing. If none is missing, join them with `cat`, and name the result",
            path.shown()
        )));
    }
    let identity = identity_of(system, path, &layout)?;
    let table = layout.table.as_ref();
    let name = path.shown();
    let (usage, warnings): (_, Vec<String>) = match table {
        Some(_) => {
            let disk = disk_usage_by(&*device, &layout.volumes)?;
            let warnings = disk_warnings(&name, &disk);
            (disk.into_usage(), warnings)
        }
        None => {
            let usage = volume_usage(&*device)?;
            let warnings = warning(&name, &usage).into_iter().collect();
            let hazards = usage.summary.iter().flat_map(|summary| &summary.hazards);
            check_whole(&name, hazards)?;
            (usage, warnings)
        }
    };
    Ok(Input {
        name,
        is_disk: table.is_some(),
        disk_guid: table.and_then(|table| table.disk_guid),
        partitions: match table {
            Some(_) => image::partitions(&layout, &usage.used()),
            None => Vec::new(),
        },
        device: Box::new(device),
        stream: None,
        usage,
        identity,
        note: None,
        warnings,
        stamp: None,
    })
}

/// An image of partclone, packed or not, or a packed disk or volume.
fn stream(parts: &Parts, path: &Path, found: &Foreign) -> Result<Input> {
    let name = parts.name();
    if matches!(found.form, Form::Packed(Packing::Foreign(_))) {
        return Err(foreign::refusal(&name, found));
    }
    let magic = partclone::MAGIC;
    let start = plain::start(parts, magic.len()).context("unpacking it")?;
    if start != magic {
        return packed(parts, path);
    }
    let (input, _) = parts.clone().open()?;
    let image = Partclone::open(input, name.clone())?;
    let header = image.header();
    let note = format!("partclone {}", header.filesystem);
    Ok(Input {
        device: Box::new(ForwardGeometry(Geometry::new(header.device_bytes, 512))),
        usage: Usage::mapped(image.used()),
        stream: Some(Box::new(image)),
        identity: by_path(path)?,
        name,
        is_disk: false,
        disk_guid: None,
        partitions: Vec::new(),
        note: Some(note),
        warnings: Vec::new(),
        stamp: None,
    })
}

/// A packed disk or volume.
fn packed(parts: &Parts, path: &Path) -> Result<Input> {
    let packed = PackedDisk::open(parts, path)?;
    let table = packed.table;
    let usage = Usage::mapped(packed.stream.wanted().clone());
    Ok(Input {
        device: Box::new(ForwardGeometry(packed.stream.geometry())),
        identity: match table.as_ref().and_then(|table| table.disk_guid) {
            Some(guid) => Identity::DiskGuid(guid.to_string()),
            None => by_path(path)?,
        },
        name: parts.name(),
        is_disk: table.is_some(),
        disk_guid: table.as_ref().and_then(|table| table.disk_guid),
        partitions: table.map_or_else(Vec::new, |table| partitions(&table, &usage.extents)),
        usage,
        stream: Some(Box::new(packed.stream.forward()?)),
        note: None,
        warnings: packed.warnings,
        stamp: None,
    })
}

fn clonezilla(path: &Path, disk: Option<&str>) -> Result<Input> {
    let text = path.shown();
    let disk = ClonezillaDisk::open(path, disk).with_context(|| text.clone())?;
    let usage = Usage::mapped(disk.used.clone());
    let identity = match disk.table.disk_guid {
        Some(guid) => Identity::DiskGuid(guid.to_string()),
        None => by_path(path)?,
    };
    let name = format!("{text} ({})", disk.name);
    Ok(Input {
        name,
        device: Box::new(ForwardGeometry(disk.geometry)),
        identity,
        is_disk: true,
        disk_guid: disk.table.disk_guid,
        partitions: partitions(&disk.table, &usage.extents),
        usage,
        note: Some(format!("Clonezilla {}", disk.name)),
        warnings: disk.warnings.clone(),
        stamp: None,
        stream: Some(Box::new(disk.into_forward())),
    })
}

/// Partitions of a disk that was not read yet, so that nobody knows what is in them.
fn partitions(table: &Table, used: &ExtentMap) -> Vec<PartitionId> {
    let partitions = table.partitions.iter().map(|partition| PartitionId {
        number: partition.number,
        extent: partition.extent,
        name: partition.name.clone(),
        guid: partition.guid,
        filesystem: None,
        used_bytes: used.within(partition.extent).map(|e| e.len_bytes()).sum(),
        clone_bytes: None,
        consistency: Consistency::Still,
    });
    partitions.collect()
}

fn by_path(path: &Path) -> Result<Identity> {
    let path = path.canonicalize()?;
    Ok(Identity::Path(path.shown()))
}
