//! What is imported, told by what it is.

use crate::cli::ImportArgs;
use crate::command::image;
use crate::error::usage;
use crate::place::identity_of;
use crate::volume::{disk_warnings, warning};
use anyhow::{Context as _, Result};
use klon_imaging::image::import::clonezilla::ClonezillaDisk;
use klon_imaging::image::import::partclone::{self, Partclone};
use klon_imaging::image::import::qcow2::{self, Qcow2};
use klon_imaging::image::import::unpack::{Packing, Parts};
use klon_imaging::image::{Forward, ForwardGeometry, PartitionId};
use klon_partition::Shown;
use klon_partition::device::{Source, Stamp, look_at, read_vec};
use klon_partition::filesystem::{Usage, usage as volume_usage};
use klon_partition::inspect::{disk_usage, inspect};
use klon_partition::system::System;
use klon_partition::table::Table;
use klon_partition::{ExtentMap, Geometry, Identity, ReadAt};
use std::io::Read;
use std::path::Path;
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
    pub(super) stamp: Option<Watched>,
}

/// A file and its state before it was read: a virtual machine may be writing to it.
pub(super) struct Watched {
    file: Source,
    before: Stamp,
}

impl Watched {
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
            return Err(usage("--disk is for directories of Clonezilla"));
        }
        if !path.is_file() {
            return Ok(None);
        }
        let stamp = Watched::begin(path).with_context(|| text.clone())?;
        let watched = |input: Self| Self { stamp, ..input };
        let file = look_at(path).with_context(|| text.clone())?;
        if file.geometry().size_bytes >= 4 && read_vec(&file, 0, 4)? == qcow2::MAGIC {
            let disk = Qcow2::open(file).with_context(|| text.clone())?;
            let input = disk_image(disk, path, system).with_context(|| text)?;
            return Ok(Some(watched(input)));
        }
        Ok(stream(path).with_context(|| text)?.map(watched))
    }
}

/// A disk or volume that can be read at any place.
fn disk_image(device: Qcow2<impl ReadAt + 'static>, path: &Path, system: &System) -> Result<Input> {
    let layout = inspect(&device)?;
    let identity = identity_of(system, path, &layout)?;
    let table = layout.table.as_ref();
    let name = path.shown();
    let (usage, warnings) = match table {
        _ if table.is_some() || layout.doubt().is_some() => {
            let disk = disk_usage(&device)?;
            let warnings = disk_warnings(&name, &disk);
            (disk.into_usage(), warnings)
        }
        _ => {
            let usage = volume_usage(&device)?;
            let warnings = warning(&name, &usage).into_iter().collect();
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

/// An image of partclone's, packed or not; `None` for anything else that is not packed.
fn stream(path: &Path) -> Result<Option<Input>> {
    let parts = Parts::find(path)?;
    let (name, is_split) = (parts.name(), parts.is_split());
    let (mut input, packing) = parts.open()?;
    let mut start = Vec::new();
    let magic = partclone::MAGIC;
    let peeked = input
        .by_ref()
        .take(magic.len() as u64)
        .read_to_end(&mut start);
    peeked.with_context(|| "unpacking it")?;
    if start != magic {
        return match packing {
            Packing::None if is_split => Err(usage(
                "it is the first of several parts, and no image of partclone; join them with cat, and \
                 import that",
            )),
            Packing::None => Ok(None),
            _ => Err(usage(
                "what is packed in it is no image of partclone; unpack it, and import that",
            )),
        };
    }
    let image = Partclone::open(std::io::Cursor::new(start).chain(input), name.clone())?;
    let header = image.header();
    let note = format!("partclone {}", header.filesystem);
    Ok(Some(Input {
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
    }))
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
    });
    partitions.collect()
}

fn by_path(path: &Path) -> Result<Identity> {
    let path = path.canonicalize()?;
    Ok(Identity::Path(path.shown()))
}
