//! Packed disks and volumes, such as `disk.img.gz`, with the block map of bmaptool if one is beside
//! them.

use crate::foreign::{self, refusal, unknown_content, unsupported};
use crate::human;
use crate::listing;
use crate::messages::say;
use crate::named::Place;
use crate::source::SourceEnd;
use crate::source::resized::{DiskAsIs, Resized};
use crate::source::watch::Watch;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_imaging::clone::Filled;
use klon_imaging::foreign::{Form, recognize};
use klon_imaging::image::import::bmap::Bmap;
use klon_imaging::image::import::partclone::MAGIC;
use klon_imaging::image::import::plain::{PlainStream, start};
use klon_imaging::image::import::split::Parts;
use klon_imaging::packed::Packing;
use klon_partition::Shown;
use klon_partition::device::{MemoryDevice, open_source};
use klon_partition::filesystem::{Usage, probe};
use klon_partition::system::System;
use klon_partition::table::{self, Found, Table};
use klon_partition::{Error, Extent, ExtentMap, Identity, ReadAt};
use std::path::Path;
use std::sync::Arc;

/// How many unpacked bytes are enough to show what they are.
const START_BYTES: usize = 1 << 20;
const ENDS_BYTES: u64 = 1 << 20;

/// A packed disk or volume that was gone through once.
pub struct PackedDisk {
    /// What is packed.
    pub stream: PlainStream,
    /// Its partition table; `None` for one volume.
    pub table: Option<Table>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl PackedDisk {
    /// Goes through a packed file once: what is damaged is found before anything is written.
    ///
    /// # Errors
    /// For what can't be unpacked, is no disk, or is not what its block map says.
    pub fn open(parts: &Parts, path: &Path) -> Result<Self> {
        let name = parts.name();
        check_content(parts)?;
        let bmap = Bmap::beside(path)?;
        let mut warnings = Vec::new();
        let how = match &bmap {
            Some((map, bmap)) => {
                warnings.extend(bmap.unchecked.as_ref().map(|kind| {
                    format!(
                        "{}: its checksums are of kind {kind:?}, and are not compared",
                        map.shown()
                    )
                }));
                format!(", with the block map {}", map.shown())
            }
            None => String::new(),
        };
        say(&format!("klon: reading {name} once to check it{how}"));
        let stream = PlainStream::scan(parts, bmap.as_ref().map(|(_, bmap)| bmap))?;
        if stream.geometry().size_bytes == 0 {
            return Err(unsupported(format!("{name} has nothing packed in it")));
        }
        let unmapped = bmap.as_ref().map(|(map, _)| unmapped(map, &stream));
        warnings.extend(unmapped.flatten());
        let ends = stream.ends()?;
        let table = match table::read(&*ends) {
            Ok(Found::Table(table, _)) => Some(table).filter(|table| !table.partitions.is_empty()),
            Ok(Found::Blank | Found::NoTable) => None,
            Err(Error::Corrupt(_) | Error::Unsupported { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if table.is_none() && matches!(probe(&*ends), Ok(None)) {
            warnings.push(unknown_content(&name));
        }
        Ok(Self {
            stream,
            table,
            warnings,
        })
    }
}

/// What a block map leaves out although it is not zero; `None` for nothing.
fn unmapped(map: &Path, stream: &PlainStream) -> Option<String> {
    let bytes = stream.unmapped().total_bytes();
    (bytes > 0).then(|| {
        format!(
            "{}: this block map leaves out {} that are not zero ({}). It may be of another image. klon \
             copies them, too",
            map.shown(),
            human::size(bytes),
            listing::places(stream.unmapped())
        )
    })
}

/// Where the tables of a disk are, with far more room than they take.
fn ends(disk: &dyn ReadAt) -> ExtentMap {
    let size_bytes = disk.geometry().size_bytes;
    let end = Extent::between(size_bytes.saturating_sub(ENDS_BYTES), size_bytes);
    let start = Extent::new(0, ENDS_BYTES.min(size_bytes));
    start.into_iter().chain(end).collect()
}

/// Refuses a packed file whose unpacked bytes are no disk, either.
fn check_content(parts: &Parts) -> Result<()> {
    let start = start(parts, START_BYTES).context("unpacking it")?;
    // A header that speaks of what is behind the start is one all the same.
    let found = recognize(&MemoryDevice::new(start, 512)).ok().flatten();
    match found {
        Some(found) => Err(unsupported(format!(
            "{} has {} packed in it. Unpack it first, and name the unpacked file",
            parts.name(),
            found.name
        ))),
        None => Ok(()),
    }
}

/// How what is packed in a file is recognized.
fn identity(table: Option<&Table>, path: &Path) -> Result<Identity> {
    Ok(match table.and_then(|table| table.disk_guid) {
        Some(guid) => Identity::DiskGuid(guid.to_string()),
        None => Identity::Path(path.canonicalize()?.shown()),
    })
}

/// The packed disk or volume in a file, as the source of a restore; `None` for anything else.
///
/// # Errors
/// When the file can't be read, or holds what can't be restored from it.
pub fn source(place: &Place, system: &System, target: &TargetEnd) -> Result<Option<SourceEnd>> {
    let name = place.given.clone();
    if place.is_raw || place.number.is_some() || place.image.is_some() || !place.path.is_file() {
        return Ok(None);
    }
    let parts = Parts::find(&place.path).with_context(|| name.clone())?;
    let found = foreign::look(&name, &*parts.device().with_context(|| name.clone())?)?;
    let found = match found.map(|found| (found, found.form)) {
        Some((found, Form::Packed(packing))) => match packing {
            Packing::Foreign(_) => return Err(refusal(&name, &found)),
            _ => found,
        },
        _ => return Ok(None),
    };
    if start(&parts, MAGIC.len())? == MAGIC {
        return Err(unsupported(format!(
            "{name} is {} with a partclone image in it. Run `klon import {name} FILE.klon`, and \
             restore FILE.klon",
            found.name
        )));
    }
    let file = Arc::new(open_source(&place.path).with_context(|| name.clone())?);
    let watch = Watch::of(&file)?;
    let packed = PackedDisk::open(&parts, &place.path).with_context(|| name.clone())?;
    let wanted = packed.stream.wanted().clone();
    let tables: Arc<dyn ReadAt> = Arc::from(packed.stream.ends()?);
    let stream: Arc<dyn ReadAt> = Arc::new(packed.stream);
    let disk = DiskAsIs {
        name: &name,
        device: &stream,
        tables: &tables,
    };
    let resized = Resized::of(disk, packed.table.as_ref(), target.geometry())?;
    let device = resized.device;
    let extents = if device.geometry().size_bytes == stream.geometry().size_bytes {
        wanted
    } else {
        wanted.union(&ends(&*device))
    };
    let identity = identity(packed.table.as_ref(), &place.path)?;
    Ok(Some(SourceEnd {
        name,
        device,
        usage: Usage::mapped(extents),
        start_bytes: 0,
        identity,
        location: system.locate(&place.path)?,
        table: packed.table,
        metadata: ExtentMap::new(),
        moved: resized.moved,
        own_identity: None,
        cut: None,
        volumes: Vec::new(),
        journals: Vec::new(),
        warnings: packed.warnings,
        path: place.path.clone(),
        clone_name: None,
        watch,
        live: None,
        snapshot: None,
        salvaged: None,
        // Packed disks have no records.
        recorded: Vec::new(),
        lost_before: Filled::default(),
        written_by: Vec::new(),
        rested: None,
        replaced: ExtentMap::new(),
        covered: resized.covered,
    }))
}
