//! The two ends of a clone, opened and checked.

use crate::error::refused;
use crate::foreign::without_prefix;
use crate::guard;
use crate::place::{OpenPlace, Place};
use crate::watch::Watch;
use anyhow::{Context as _, Result};
use klon_imaging::foreign::recognize;
use klon_imaging::image::Snapshot;
use klon_partition::device::{Overlay, Window, look_at};
use klon_partition::filesystem::{Basis, Hazard, Usage, usage};
use klon_partition::inspect::{DiskLayout, DiskUsage, VolumeUsage, disk_usage};
use klon_partition::system::{Location, System};
use klon_partition::table::{self, Scheme, Table};
use klon_partition::{ExtentMap, Geometry, Identity, ReadAt};
use std::path::Path;
use std::sync::Arc;

/// A relocated table is a few sectors; this is far more.
const OVERLAY_BYTES_MAX: usize = 16 << 20;

/// A source, opened, with what of it is in use.
pub struct SourceEnd {
    /// As the user named it.
    pub name: String,
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub usage: Usage,
    /// Where it begins in what was opened: errors tell positions there.
    pub start_bytes: u64,
    /// How it is recognized.
    pub identity: Identity,
    /// Where it lies.
    pub location: Location,
    /// Its partition table; `None` for one volume.
    pub table: Option<Table>,
    /// What of it holds the filesystem's own structures; empty where nobody needs to know.
    pub metadata: ExtentMap,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The name of its partition, when it is one that plans give to clones.
    pub clone_name: Option<String>,
    /// What shows that it is written to meanwhile.
    pub watch: Option<Watch>,
    /// The snapshot that it is, or is a part of.
    pub snapshot: Option<Arc<Snapshot>>,
}

impl SourceEnd {
    /// Opens a volume, or a whole disk as it would be on a target of `target` geometry.
    pub fn open(place: &Place, system: &System, target: Option<Geometry>) -> Result<Self> {
        guard::still(system, &place.path)?;
        let open = place.claim()?;
        if open.is_disk() {
            return Self::disk(&open, system, target);
        }
        Self::volume(&open, system)
    }

    /// One volume.
    pub fn volume(open: &OpenPlace, system: &System) -> Result<Self> {
        let usage = usage(&*open.device).with_context(|| open.place.given.clone())?;
        Self::with_usage(open, system, usage)
    }

    /// One volume of which this is in use.
    pub fn with_usage(open: &OpenPlace, system: &System, usage: Usage) -> Result<Self> {
        let name = open.place.given.clone();
        guard::finished(&name, &open.device)?;
        let mut warnings = container_warnings(open);
        warnings.extend(warning(&name, &usage));
        Ok(Self {
            name,
            device: open.device.clone(),
            usage,
            start_bytes: open.start_bytes(),
            identity: open.identity(system)?,
            location: open.location(system)?,
            table: None,
            metadata: ExtentMap::new(),
            warnings,
            clone_name: open.clone_name(system)?,
            watch: open.watch.clone(),
            snapshot: open.snapshot.clone(),
        })
    }

    /// A whole disk, as it would be on a target of `target` geometry.
    pub fn disk(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<Self> {
        let name = open.place.given.clone();
        for partition in open.layout.table.iter().flat_map(|table| &table.partitions) {
            let part = format!("{name}:{}", partition.number);
            guard::finished(&part, &Window::new(open.device.clone(), partition.extent)?)?;
        }
        let device = match (&open.layout.table, target) {
            (Some(table), Some(target)) => as_on(&open.device, table, target)?,
            _ => open.device.clone(),
        };
        let disk = disk_usage(&*device).with_context(|| name.clone())?;
        let mut warnings = container_warnings(open);
        warnings.extend(disk_warnings(&name, &disk));
        let usage = Usage {
            summary: None,
            extents: disk.extents,
            basis: Basis::Map,
            token: None,
        };
        let (identity, location) = (open.identity(system)?, open.location(system)?);
        Ok(Self {
            name,
            device,
            usage,
            start_bytes: open.start_bytes(),
            identity,
            location,
            table: open.layout.table.clone(),
            metadata: ExtentMap::new(),
            warnings,
            clone_name: open.clone_name(system)?,
            watch: open.watch.clone(),
            snapshot: open.snapshot.clone(),
        })
    }
}

/// The disk with its GPT fitted to a target of another size: its backup lies at the end.
pub fn as_on(disk: &Arc<dyn ReadAt>, table: &Table, target: Geometry) -> Result<Arc<dyn ReadAt>> {
    let source = disk.geometry();
    if table.scheme != Scheme::Gpt || source.size_bytes == target.size_bytes {
        return Ok(disk.clone());
    }
    let relocated = table::relocated(table, target.size_bytes)
        .map_err(|error| refused(format!("the target is too small: {error}")))?;
    let geometry = Geometry {
        size_bytes: target.size_bytes,
        logical_sector_bytes: table.logical_sector_bytes,
        ..source
    };
    let overlay = Overlay::with_geometry(disk.clone(), geometry, OVERLAY_BYTES_MAX);
    table::write(&overlay, &relocated)?;
    Ok(Arc::new(overlay))
}

/// What to say of the file that the disk is in.
fn container_warnings(open: &OpenPlace) -> Vec<String> {
    let container = open.container.as_ref();
    container.map_or_else(Vec::new, |container| container.warnings.clone())
}

/// What to say of the volumes of a disk that must be copied whole though their format is known.
pub fn disk_warnings(name: &str, disk: &DiskUsage) -> Vec<String> {
    let of_volume = |volume: &VolumeUsage| {
        let number = volume.partition.as_ref().map_or(0, |found| found.number);
        warning(&format!("partition {number} of {name}"), &volume.usage)
    };
    disk.volumes.iter().filter_map(of_volume).collect()
}

/// What to say of a volume that must be copied whole though its format is known.
pub fn warning(name: &str, usage: &Usage) -> Option<String> {
    let Basis::Whole {
        reason,
        is_warning: true,
    } = &usage.basis
    else {
        return None;
    };
    let hazards = usage
        .summary
        .as_ref()
        .map_or(&[][..], |summary| &summary.hazards);
    Some(format!(
        "{name}: {reason}; its record of used blocks can't be believed, so all of it is copied, \
         unused blocks included. {}",
        advice(hazards)
    ))
}

fn advice(hazards: &[Hazard]) -> &'static str {
    let has = |is_meant: fn(&Hazard) -> bool| hazards.iter().any(is_meant);
    if has(|hazard| matches!(hazard, Hazard::ExternalJournal(_) | Hazard::MultiDevice(_))) {
        "The clone of this device alone is not complete: clone the others that belong to it too"
    } else if has(|hazard| matches!(hazard, Hazard::Hibernated(_))) {
        "To avoid that, resume and shut down the hibernated system"
    } else if has(|hazard| matches!(hazard, Hazard::UnknownFeature(_))) {
        "A later klon may know the feature"
    } else if has(|h| matches!(h, Hazard::NeedsRecovery(_) | Hazard::NotCleanlyUnmounted(_))) {
        "To avoid that, mount and unmount it once"
    } else {
        "To avoid that, run its fsck"
    }
}

/// A target before it is opened for writing: looked at only.
pub struct TargetEnd {
    /// What it is.
    pub place: Place,
    /// What is there now; `None` for a file that does not exist yet.
    pub now: Option<TargetNow>,
    /// How it is recognized.
    pub identity: Identity,
    /// The name of its partition, when it is one that plans give to clones.
    pub clone_name: Option<String>,
}

/// What is at a target now.
pub struct TargetNow {
    /// What is on the device, or on the disk that the partition is on.
    pub open: OpenPlace,
    /// Where it lies.
    pub location: Location,
}

impl TargetEnd {
    /// Looks at a target.
    pub fn look(given: &Path, system: &System) -> Result<Self> {
        let given = without_prefix(given);
        if !given.exists()
            && let Some(end) = Self::new_file(given)?
        {
            return Ok(end);
        }
        let place = Place::resolve(given, system)?;
        if place.image.is_some() {
            return Err(refused(format!(
                "{} is an image of klon's, with snapshots in it: add to it with `klon image`, or \
                 name another target",
                place.given
            )));
        }
        guard::unused(system, &place.path)?;
        // klon writes plain bytes.
        let place = place.into_raw();
        let open = place.open()?;
        let (identity, location) = (open.identity(system)?, open.location(system)?);
        let clone_name = open.clone_name(system)?;
        Ok(Self {
            place,
            now: Some(TargetNow { open, location }),
            identity,
            clone_name,
        })
    }

    /// A plain file that is to be made: its directory exists, and the name is no tag or FILE:2.
    fn new_file(given: &Path) -> Result<Option<Self>> {
        let Some(name) = given.file_name() else {
            return Ok(None);
        };
        let text = given.to_string_lossy();
        let is_tag = ["LABEL=", "UUID=", "PARTUUID=", "PARTLABEL="];
        let is_part = text
            .rsplit_once(':')
            .is_some_and(|(path, _)| Path::new(path).exists());
        if is_tag.iter().any(|tag| text.starts_with(tag)) || is_part || given.starts_with("/dev") {
            return Ok(None);
        }
        let parent = given
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent
            .unwrap_or(Path::new("."))
            .canonicalize()
            .with_context(|| format!("{text}: the directory for the new file can't be found"))?;
        let path = parent.join(name);
        let identity = Identity::Path(path.to_string_lossy().into_owned());
        let place = Place {
            given: text.into_owned(),
            path,
            number: None,
            image: None,
            is_raw: true,
        };
        Ok(Some(Self {
            place,
            now: None,
            identity,
            clone_name: None,
        }))
    }

    /// Its geometry, if it exists.
    pub fn geometry(&self) -> Option<Geometry> {
        self.now.as_ref().map(|now| now.open.device.geometry())
    }
}

/// What is on a device, for people: what would be lost.
pub fn describe(path: &Path, layout: &DiskLayout, system: &System) -> String {
    let mut text = format!("  {}", path.display());
    if let Ok(Some(disk)) = system.disk_of(path) {
        for part in [&disk.model, &disk.serial].into_iter().flatten() {
            text.push_str(&format!(" {part}"));
        }
    }
    text.push_str(&format!(
        ", {}",
        crate::human::size(layout.geometry.size_bytes)
    ));
    if let Some(found) = foreign_file(path) {
        text.push_str(&format!(", {found}, which plain bytes would replace"));
    } else if layout.volumes.is_empty() {
        text.push_str(if layout.is_blank {
            ", unknown content, zeroes in its first MiB"
        } else {
            ", unknown content"
        });
    }
    for volume in &layout.volumes {
        text.push_str("\n    ");
        if let Some(partition) = &volume.partition {
            let name = if partition.name.is_empty() { "" } else { " " };
            text.push_str(&format!(
                "partition {}{name}{}: ",
                partition.number, partition.name
            ));
        }
        text.push_str(&content(volume.filesystem.as_ref()));
        text.push_str(&format!(
            ", {}",
            crate::human::size(volume.extent.len_bytes())
        ));
    }
    text
}

/// What a file that would be overwritten is to other programs.
fn foreign_file(path: &Path) -> Option<&'static str> {
    let file = path.is_file().then(|| look_at(path).ok()).flatten()?;
    let found = recognize(&file).ok().flatten();
    found.map(|found| found.name)
}

/// A filesystem in a few words: `ext4 "Data"`.
pub fn content(summary: Option<&klon_partition::filesystem::Summary>) -> String {
    match summary {
        None => "unknown content".to_owned(),
        Some(summary) => match &summary.label {
            Some(label) => format!("{} {label:?}", summary.kind),
            None => summary.kind.to_string(),
        },
    }
}
