//! Places: what the user names, as a device or file to open and a part of it.

use crate::error::{refused, usage};
use crate::foreign::{self, Container, RAW_PREFIX};
use crate::image::ImageName;
use crate::named::resolve;
use crate::source::watch::Watch;
use anyhow::{Context as _, Result};
use klon_imaging::image::{Snapshot, SnapshotDevice};
use klon_partition::Shown;
use klon_partition::device::{
    Kind, ReopenAt, Source, Window, look_at, open_source, open_source_again,
};
use klon_partition::inspect::{DiskLayout, inspect, inspect_around};
use klon_partition::system::{Location, System};
use klon_partition::table::{Partition, Scheme, Table};
use klon_partition::text::unsealed;
use klon_partition::{Extent, Identity, ReadAt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A device or file, or a partition inside of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// As the user or a plan named it.
    pub given: String,
    /// What is opened.
    pub path: PathBuf,
    /// The partition of it; `None` for all of it.
    pub number: Option<u32>,
    /// The snapshot that is meant, where the file is an image of klon's.
    pub image: Option<ImageName>,
    /// Whether a file's bytes are the disk's own, whatever they look like: of targets, and where the
    /// user says so.
    pub is_raw: bool,
}

impl Place {
    /// Finds what `given` names: a path, LABEL=…, UUID=…, PARTUUID=…, PARTLABEL=…, FILE:2, or
    /// IMAGE.klon, IMAGE.klon@3, IMAGE.klon@3:2. With `raw:` before it, it is none of klon's images,
    /// and no file of another program.
    pub fn resolve(given: &Path, system: &System) -> Result<Self> {
        let text = given.shown();
        let plain = foreign::without_prefix(given);
        if plain != given {
            let found = Self::resolve_plain(plain, system)?.into_raw();
            return Ok(Self {
                given: text,
                ..found
            });
        }
        Self::resolve_plain(given, system)
    }

    /// The same, taken for raw bytes.
    pub fn into_raw(self) -> Self {
        Self {
            image: None,
            is_raw: true,
            ..self
        }
    }

    fn resolve_plain(given: &Path, system: &System) -> Result<Self> {
        let text = given.shown();
        let place = |path: PathBuf, number, image| Self {
            given: text.clone(),
            path,
            number,
            image,
            is_raw: false,
        };
        let named = |path: &Path, number| -> Result<Option<Self>> {
            let image = ImageName::find(path)?;
            let path = image.as_ref().map_or(path, |image| &image.path).to_owned();
            Ok(path.exists().then(|| place(path, number, image)))
        };
        if let Some(found) = named(given, None)? {
            return Ok(found);
        }
        if let Some((tag, value)) = text.split_once('=')
            && ["LABEL", "UUID", "PARTUUID", "PARTLABEL"].contains(&tag)
        {
            return resolve::find_tag(system, tag, value);
        }
        if let Some((path, number)) = text.rsplit_once(':')
            && let Ok(number) = number.parse()
            && let Some(found) = named(Path::new(&unsealed(path)), Some(number))?
        {
            return Ok(found);
        }
        Err(usage(format!("{text}: there is no such file or device")))
    }

    /// Opens it to be looked at, in nobody's way.
    pub fn open(&self) -> Result<OpenPlace> {
        self.open_with(look_at)
    }

    /// Opens it to be read as long as a clone takes, and keeps others from mounting it meanwhile.
    pub fn claim(&self) -> Result<OpenPlace> {
        let mut open = self.open_with(open_source)?;
        open.watch = Watch::begin(&open)?;
        Ok(open)
    }

    /// As [`claim`](Self::claim), for a source with bad sectors: it is looked at around them, and
    /// opened anew after each that is met.
    pub fn claim_around(&self, system: &System) -> Result<OpenPlace> {
        let source = open_source(&self.path).with_context(|| self.given.clone())?;
        if !self.is_raw
            && source.kind() == Kind::File
            && let Some(found) = foreign::look(&self.given, &source)?
        {
            return Err(refused(format!(
                "{0} is {1}. Rescue the file itself with `klon clone --rescue {RAW_PREFIX}{0} \
                 COPY`, and clone the disk in COPY",
                self.given, found.name
            )));
        }
        let layout = match inspect_around(&source) {
            Ok((layout, _)) => layout,
            Err(error) if self.number.is_some() => {
                return Err(error).with_context(|| format!("inspecting {}", self.given));
            }
            Err(_) => DiskLayout::unknown(&source),
        };
        let partition = match self.number {
            Some(number) => Some(find_partition(&layout, number)?),
            None => None,
        };
        let extent = partition.as_ref().map(|partition| partition.extent);
        let io_mode = source.io_mode().clone();
        let device = part_of(source, extent)?;
        let (path, identity) = (self.path.clone(), system.identity(&self.path)?);
        let first_node = node(&path);
        let again = move || {
            // A disk that was lost and came back may have another one's name; it has a new node.
            if node(&path) != first_node && System::current()?.identity(&path)? != identity {
                return Err(klon_partition::Error::Refused(format!(
                    "after a failed read, {} is another disk",
                    path.shown()
                )));
            }
            part_of(open_source_again(&path, &io_mode)?, extent)
        };
        let mut open = OpenPlace {
            place: self.clone(),
            layout,
            partition,
            device: Arc::new(ReopenAt::new(device, Box::new(again))),
            // Beside the one that is opened anew.
            source: Arc::new(look_at(&self.path)?),
            snapshot: None,
            container: None,
            watch: None,
        };
        open.watch = Watch::begin(&open)?;
        Ok(open)
    }

    fn open_with(&self, open: fn(&Path) -> klon_partition::Result<Source>) -> Result<OpenPlace> {
        let source = Arc::new(open(&self.path).with_context(|| self.given.clone())?);
        let snapshot = match &self.image {
            Some(image) => Some(image.open_snapshot()?),
            None => None,
        };
        let found = match snapshot.is_some() || self.is_raw {
            true => None,
            false => foreign::open(&self.given, &source)?,
        };
        let (whole, container): (Arc<dyn ReadAt>, _) = match (&snapshot, found) {
            (Some(snapshot), _) => (Arc::new(SnapshotDevice::new(snapshot.clone())), None),
            (None, Some((disk, container))) => (disk, Some(container)),
            (None, None) => (source.clone(), None),
        };
        let layout = inspect(&*whole).with_context(|| format!("inspecting {}", self.given))?;
        let (partition, device) = match self.number {
            Some(number) => {
                let found = find_partition(&layout, number);
                let partition = found.with_context(|| self.given.clone())?;
                let window: Arc<dyn ReadAt> = Arc::new(Window::new(whole, partition.extent)?);
                (Some(partition), window)
            }
            None => (None, whole),
        };
        Ok(OpenPlace {
            place: self.clone(),
            layout,
            partition,
            device,
            source,
            snapshot,
            container,
            watch: None,
        })
    }
}

/// Which node a path leads to; looking that up is cheap.
fn node(path: &Path) -> Option<(u64, u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.rdev()))
}

fn part_of(source: Source, part: Option<Extent>) -> klon_partition::Result<Arc<dyn ReadAt>> {
    Ok(match part {
        Some(extent) => Arc::new(Window::new(source, extent)?),
        None => Arc::new(source),
    })
}

/// The partition of that number.
pub fn find_partition(layout: &DiskLayout, number: u32) -> Result<Partition> {
    let table = layout.table.as_ref().ok_or_else(|| match layout.doubt() {
        Some(why) => usage(format!("its partition table can't be read: {why}")),
        None => usage("it has no partition table"),
    })?;
    let found = table
        .partitions
        .iter()
        .find(|partition| partition.number == number);
    found.cloned().ok_or_else(|| {
        let there: Vec<String> = table
            .partitions
            .iter()
            .map(|p| p.number.to_string())
            .collect();
        let there = match there.is_empty() {
            true => "none".to_owned(),
            false => there.join(", "),
        };
        usage(match layout.doubt() {
            Some(why) => format!(
                "partition {number} reaches past its end ({there} does not): its partition table \
                 can't be relied on ({why})"
            ),
            None => format!("it has no partition {number}; it has {there}"),
        })
    })
}

/// A place that was opened for reading and looked at.
pub struct OpenPlace {
    /// What it is.
    pub place: Place,
    /// What is on that.
    pub layout: DiskLayout,
    /// The partition that is meant; `None` for all of it.
    pub partition: Option<Partition>,
    /// What is meant: all of it, or a window on the partition.
    pub device: Arc<dyn ReadAt>,
    /// The device or file itself.
    pub source: Arc<Source>,
    /// The snapshot that is meant, where the file is an image of klon's.
    pub snapshot: Option<Arc<Snapshot>>,
    /// In which form the disk is in a file of another program.
    pub container: Option<Container>,
    /// What shows that a claimed place is written to meanwhile.
    pub watch: Option<Watch>,
}

impl OpenPlace {
    /// Where it begins in what is opened for it.
    pub fn start_bytes(&self) -> u64 {
        let partition = self.partition.as_ref();
        partition.map_or(0, |partition| partition.extent.offset_bytes())
    }

    /// The name of its partition, or of the first on a disk, when it is one that plans give to
    /// clones.
    pub fn clone_name(&self, system: &System) -> Result<Option<String>> {
        let own = match &self.partition {
            Some(partition) => Some(partition.clone()),
            None => Parent::of(&self.place.path, system)?.and_then(|parent| parent.partition),
        };
        let first = || Some(self.layout.table.as_ref()?.partitions.first()?.clone());
        let name = own.or_else(first).map(|partition| partition.name);
        Ok(name.filter(|name| is_clone_name(name)))
    }

    /// Where its bytes really lie.
    pub fn location(&self, system: &System) -> Result<Location> {
        let whole = system.locate(&self.place.path)?;
        Ok(match &self.partition {
            // What is in an image lies anywhere in its file.
            Some(partition) if self.snapshot.is_none() && self.container.is_none() => {
                within(whole, partition.extent)
            }
            _ => whole,
        })
    }

    /// Whether it is a disk with partitions, or was one, rather than one volume.
    pub fn is_disk(&self) -> bool {
        self.partition.is_none() && (self.layout.table.is_some() || self.layout.doubt().is_some())
    }

    /// How it is recognized.
    pub fn identity(&self, system: &System) -> Result<Identity> {
        if let (Some(table), Some(partition)) = (&self.layout.table, &self.partition)
            && let Some(identity) = partition_identity(table, partition)
        {
            return Ok(identity);
        }
        // An image is a carrier of what it was made of.
        if let (Some(snapshot), None) = (&self.snapshot, &self.partition) {
            return Ok(snapshot.meta().source.clone());
        }
        if let Some(parent) = Parent::of(&self.place.path, system)?
            && let Some(identity) = parent.identity()
        {
            return Ok(identity);
        }
        identity_of(system, &self.place.path, &self.layout)
    }
}

/// A part of a location.
pub fn within(whole: Location, part: Extent) -> Location {
    let start_bytes = whole.extent.map_or(0, Extent::offset_bytes);
    Location {
        extent: part.shifted(start_bytes),
        ..whole
    }
}

/// How a partition is recognized: as the kernel's PARTUUID. `None` for a disk without signature.
pub fn partition_identity(table: &Table, partition: &Partition) -> Option<Identity> {
    match (table.scheme, partition.guid) {
        (Scheme::Gpt, Some(guid)) => Some(Identity::PartUuid(guid.to_string())),
        (Scheme::Mbr, _) if table.disk_signature != 0 => Some(Identity::PartUuid(format!(
            "{:08x}-{:02x}",
            table.disk_signature, partition.number
        ))),
        _ => None,
    }
}

/// The disk that a partition node (/dev/sda2) is a part of.
pub struct Parent {
    /// The disk's node.
    pub path: PathBuf,
    /// What is on the disk.
    pub layout: DiskLayout,
    /// The partition in its table; `None` when the table and the kernel differ.
    pub partition: Option<Partition>,
}

impl Parent {
    /// The disk beneath the partition node `path`; `None` when it is no such node, or the disk
    /// can't be read.
    pub fn of(path: &Path, system: &System) -> Result<Option<Self>> {
        let Some(disk) = system.disk_of(path)? else {
            return Ok(None);
        };
        let own = system.locate(path)?;
        for node in &disk.partitions {
            if system.locate(&node.path)? != own {
                continue;
            }
            let Ok(layout) = look_at(&disk.path).and_then(|source| inspect(&source)) else {
                return Ok(None);
            };
            let mut partitions = layout.table.iter().flat_map(|table| &table.partitions);
            let partition = partitions
                .find(|found| found.extent == node.extent)
                .cloned();
            return Ok(Some(Self {
                path: disk.path,
                layout,
                partition,
            }));
        }
        Ok(None)
    }

    fn identity(&self) -> Option<Identity> {
        partition_identity(self.layout.table.as_ref()?, self.partition.as_ref()?)
    }
}

/// The names that plans give: `BootClone`, `BootClone-ESP`, `MasterClone-2026-11-21`.
pub fn is_clone_name(name: &str) -> bool {
    name.split('-')
        .next()
        .is_some_and(|first| first.len() > 5 && first.ends_with("Clone"))
}

/// How a whole disk or file is recognized.
pub fn identity_of(system: &System, path: &Path, layout: &DiskLayout) -> Result<Identity> {
    if let Some(identity) = system.identity(path)? {
        return Ok(identity);
    }
    if let Some(identity) = layout.table.as_ref().and_then(disk_identity) {
        return Ok(identity);
    }
    let filesystem = layout
        .volumes
        .iter()
        .find(|volume| volume.partition.is_none());
    if let Some(uuid) = filesystem.and_then(|volume| volume.filesystem.as_ref()?.uuid.clone()) {
        return Ok(Identity::FsUuid(uuid));
    }
    identity_by_path(path)
}

/// How a disk is recognized by its table, if that has a GUID or a signature.
pub fn disk_identity(table: &Table) -> Option<Identity> {
    match table.disk_guid {
        Some(guid) => Some(Identity::DiskGuid(guid.to_string())),
        None if table.disk_signature != 0 => {
            Some(Identity::DiskGuid(format!("{:08x}", table.disk_signature)))
        }
        None => None,
    }
}

/// How something is recognized that has nothing but a place.
pub fn identity_by_path(path: &Path) -> Result<Identity> {
    let path = path.canonicalize().with_context(|| path.shown())?;
    Ok(Identity::Path(path.shown()))
}
