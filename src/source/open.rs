//! The two ends of a clone, opened and checked.

use crate::blank;
use crate::error::refused;
use crate::foreign::without_prefix;
use crate::guard;
use crate::named::open::{OpenPlace, Place};
use crate::source::bad_sectors;
use crate::source::contained;
use crate::source::fit::{self, Cut, Fitted};
use crate::source::unread;
use crate::source::warnings::{container_warnings, damaged_copies, disk_warnings, warning};
use crate::source::watch::Watch;
use anyhow::{Context as _, Result};
use klon_imaging::foreign::recognize;
use klon_imaging::image::Snapshot;
use klon_partition::Shown;
use klon_partition::device::{Window, look_at};
use klon_partition::filesystem::{Basis, Usage, usage};
use klon_partition::inspect::{DiskLayout, Volume};
use klon_partition::system::{Location, System};
use klon_partition::table::{self, Moved, Table};
use klon_partition::text::{quoted, unsealed};
use klon_partition::{ExtentMap, Geometry, Identity, Outside, ReadAt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A source, opened, with what of it is in use.
pub struct SourceEnd {
    /// As the user named it.
    pub name: String,
    /// What was opened for it.
    pub path: PathBuf,
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
    /// What the table says otherwise on a target of another size.
    pub moved: Vec<Moved>,
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
    /// The end of it that a smaller target has no room for.
    pub cut: Option<Cut>,
}

impl SourceEnd {
    /// Opens a volume or a whole disk, as it would be on a target of `target` geometry.
    pub fn open(place: &Place, system: &System, target: Option<Geometry>) -> Result<Self> {
        guard::still(system, &place.path)?;
        let open = place.claim()?;
        if open.is_disk() {
            return Self::disk(&open, system, target);
        }
        Self::volume(&open, system, target)
    }

    /// One volume, as far as a target of `target` geometry has it.
    pub fn volume(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<Self> {
        let usage = usage(&*open.device).with_context(|| open.place.given.clone())?;
        let usage = contained::by_disk(usage, open, system)?;
        Self::with_usage(open, system, usage, target)
    }

    /// The same of one of which this is in use.
    pub fn with_usage(
        open: &OpenPlace,
        system: &System,
        mut usage: Usage,
        target: Option<Geometry>,
    ) -> Result<Self> {
        let name = open.place.given.clone();
        guard::is_a_source(open)?;
        leave_out_unknown(&mut usage, open);
        guard::finished(&name, &open.device)?;
        let Fitted {
            device, usage, cut, ..
        } = fit::volume(open, usage, target)?;
        let device = unread::of_volume(device, &usage)?;
        let mut warnings = container_warnings(open);
        warnings.extend(warning(&name, &usage));
        Ok(Self {
            name,
            device,
            usage,
            start_bytes: open.start_bytes(),
            identity: open.identity(system)?,
            location: open.location(system)?,
            table: None,
            moved: Vec::new(),
            metadata: ExtentMap::new(),
            warnings,
            path: open.place.path.clone(),
            clone_name: open.clone_name(system)?,
            watch: open.watch.clone(),
            snapshot: open.snapshot.clone(),
            cut,
        })
    }

    /// Leaves out what the user chose not to have of what no one proved free.
    pub fn limit(&mut self, choice: Outside) {
        self.usage.limit(choice);
        if let Some(cut) = &mut self.cut {
            cut.limit(choice);
        }
    }

    /// A whole disk, as it would be on a target of `target` geometry.
    pub fn disk(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<Self> {
        let name = open.place.given.clone();
        for partition in open.layout.table.iter().flat_map(|table| &table.partitions) {
            let part = format!("{name}:{}", partition.number);
            guard::finished(&part, &Window::new(open.device.clone(), partition.extent)?)?;
        }
        let fitted = fit::disk(open, target)?;
        let device = unread::of_disk(fitted.device, &fitted.usage)?;
        let mut warnings = container_warnings(open);
        warnings.extend(damaged_copies(&name, open));
        warnings.extend(fitted.warnings);
        warnings.extend(disk_warnings(&name, &fitted.usage));
        let mut usage = fitted.usage.into_usage();
        if device.geometry() != open.device.geometry() {
            drop_moved(&mut usage, open)?;
        }
        leave_out_unknown(&mut usage, open);
        let (identity, location) = (open.identity(system)?, open.location(system)?);
        Ok(Self {
            name,
            device,
            usage,
            start_bytes: open.start_bytes(),
            identity,
            location,
            table: open.layout.table.clone(),
            moved: fitted.moved,
            metadata: ExtentMap::new(),
            warnings,
            path: open.place.path.clone(),
            clone_name: open.clone_name(system)?,
            watch: open.watch.clone(),
            snapshot: open.snapshot.clone(),
            cut: fitted.cut,
        })
    }
}

/// Of an image, leaves out what no one proved free and the image does not have: it is not known to be
/// zero.
pub fn leave_out_unknown(usage: &mut Usage, open: &OpenPlace) {
    let Some(snapshot) = &open.snapshot else {
        return;
    };
    let wanted = snapshot.manifest().wanted();
    let known = match &open.partition {
        Some(partition) => bad_sectors::within(&wanted, partition.extent),
        None => wanted,
    };
    usage.leave_out(&usage.unproven.difference(&known));
    // What the image has of it was there for a reason, which the volume alone may not show.
    if usage.basis == Basis::Map {
        let more = known.difference(&usage.extents);
        usage.extents = usage.extents.union(&more);
        usage.unproven = usage.unproven.union(&more);
    }
}

/// Of a disk as it will be on one of another size: there is nothing behind its own end, and nobody
/// needs the backup of its GPT where that was.
fn drop_moved(usage: &mut Usage, open: &OpenPlace) -> Result<()> {
    let own = ExtentMap::whole(open.device.geometry().size_bytes);
    usage.drop_unproven(&usage.unproven.difference(&own));
    if let Some(table) = &open.layout.table {
        usage.drop_unproven(&table::raw_extents(&*open.device, table)?);
    }
    Ok(())
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
                "{} is a klon image with snapshots. Add to it with `klon image`, or name another \
                 target",
                place.given
            )));
        }
        guard::unused(system, &place.path)?;
        // klon writes plain bytes.
        let place = place.into_raw();
        let open = place.open()?;
        guard::beside_others(&open)?;
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
        let text = given.shown();
        let is_tag = ["LABEL=", "UUID=", "PARTUUID=", "PARTLABEL="];
        let is_part = text
            .rsplit_once(':')
            .is_some_and(|(path, _)| Path::new(&unsealed(path)).exists());
        if is_tag.iter().any(|tag| text.starts_with(tag)) || is_part || given.starts_with("/dev") {
            return Ok(None);
        }
        let parent = given
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent
            .unwrap_or(Path::new("."))
            .canonicalize()
            .with_context(|| format!("{text}: the directory for the new file does not exist"))?;
        let path = parent.join(name);
        let identity = Identity::Path(path.shown());
        let place = Place {
            given: text,
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

/// What is on a device, or in the partition of it that is meant, for people: what would be lost of
/// the volumes that `is_lost` holds for.
pub fn describe(open: &OpenPlace, system: &System, is_lost: impl Fn(&Volume) -> bool) -> String {
    let is_meant = |volume: &Volume| match &open.partition {
        Some(partition) => volume.extent == partition.extent,
        None => is_lost(volume),
    };
    let found = (&open.layout, &*open.source as &dyn ReadAt);
    described(&open.place.path, found, system, is_meant)
}

/// The same of a disk with this layout, of the volumes that `is_meant` holds for.
pub fn described(
    path: &Path,
    (layout, disk): (&DiskLayout, &dyn ReadAt),
    system: &System,
    is_meant: impl Fn(&Volume) -> bool,
) -> String {
    let mut text = format!("  {}", path.shown());
    if let Ok(Some(known)) = system.disk_of(path) {
        for part in [&known.model, &known.serial].into_iter().flatten() {
            text.push_str(&format!(" {part}"));
        }
    }
    text.push_str(&format!(
        ", {}",
        crate::human::size(layout.geometry.size_bytes)
    ));
    if let Some(found) = foreign_file(path) {
        text.push_str(&format!(
            ", {found}, whose form a clone would replace by plain bytes"
        ));
    } else if let Some(why) = layout.doubt() {
        text.push_str(&format!(
            ", unknown content, with a partition table that can't be relied on: {why}"
        ));
    } else if layout.volumes.is_empty() {
        text.push_str(match is_empty(disk) {
            true => ", empty",
            false if layout.is_blank => ", unknown content, zeroes in its first MiB",
            false => ", unknown content",
        });
    }
    for volume in layout.volumes.iter().filter(|volume| is_meant(volume)) {
        text.push_str("\n    ");
        if let Some(partition) = &volume.partition {
            let name = if partition.name.is_empty() { "" } else { " " };
            text.push_str(&format!(
                "partition {}{name}{}: ",
                partition.number, partition.name
            ));
        }
        text.push_str(&content_of(volume, disk));
        text.push_str(&format!(
            ", {}",
            crate::human::size(volume.extent.len_bytes())
        ));
    }
    text
}

/// What is in a volume of `disk` in a few words: `ext4 "Data"`.
pub fn content_of(volume: &Volume, disk: &dyn ReadAt) -> String {
    let is_empty = || Window::new(disk, volume.extent).is_ok_and(|window| is_empty(&window));
    match &volume.filesystem {
        None if is_empty() => "empty".to_owned(),
        filesystem => content(filesystem.as_ref()),
    }
}

/// Whether nothing but zeroes is seen; what can't be read is not called so.
fn is_empty(device: &dyn ReadAt) -> bool {
    blank::is_blank(device, blank::LOOKS).unwrap_or(false)
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
            Some(label) => format!("{} {}", summary.kind, quoted(label)),
            None => summary.kind.to_string(),
        },
    }
}
