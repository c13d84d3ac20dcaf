//! Places that are opened: to be looked at, or claimed for as long as a clone takes.

use super::journal::Journal;
use super::parent::Parent;
use super::{Place, claimed};
use crate::error::{refused, usage};
use crate::foreign::{self, Container, RAW_PREFIX};
use crate::source::watch::Watch;
use anyhow::{Context as _, Result};
use klon_imaging::change::Rested;
use klon_imaging::image::{Snapshot, SnapshotDevice};
use klon_partition::Shown;
use klon_partition::device::{
    FileId, Kind, ReopenAt, Source, Window, look_at, open_source, open_source_again,
};
use klon_partition::filesystem::{Recognized, Usage, usage as usage_of, usage_by};
use klon_partition::inspect::{DiskLayout, inspect, inspect_around};
use klon_partition::system::{Disk, Location, System};
use klon_partition::table::Partition;
use klon_partition::{Extent, ReadAt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

impl Place {
    /// Opens it to be looked at, in nobody's way.
    ///
    /// # Errors
    /// When it can't be opened or inspected, or has no such partition; [`refused`] for what klon
    /// can't read.
    pub fn open(&self) -> Result<OpenPlace> {
        self.open_with(look_at)?.with_replay()
    }

    /// Opens it to be read as long as a clone takes, and keeps others from mounting it meanwhile.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when something else has it.
    pub fn claim(&self) -> Result<OpenPlace> {
        let mut open = self.open_with(claimed::open)?.with_replay()?;
        open.watch = open.begin_watch()?;
        Ok(open)
    }

    /// As [`claim`](Self::claim), for a device of which a snapshot was made. klon reads the snapshot in place
    /// of the device, through what `reader` makes of it.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_at(
        &self,
        node: &Path,
        reader: impl FnOnce(Arc<Source>) -> Arc<dyn ReadAt>,
    ) -> Result<OpenPlace> {
        let source = Arc::new(open_source(node).with_context(|| node.shown())?);
        let whole = reader(source.clone());
        self.opened(whole, Some(source), None, None)?.with_replay()
    }

    /// As [`claim`](Self::claim), for a source with bad sectors: it is looked at around them, and
    /// opened anew after each that is met.
    ///
    /// # Errors
    /// When it can't be opened, or its table can't be read and a partition is meant; [`refused`]
    /// for a disk in a file of another program.
    pub fn claim_around(&self, system: &System) -> Result<OpenPlace> {
        let source = claimed::open(&self.path).with_context(|| self.given.clone())?;
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
            source: Some(Arc::new(look_at(&self.path)?)),
            snapshot: None,
            container: None,
            watch: None,
            rested: None,
            journals: Vec::new(),
            looked: Looked::default(),
        };
        open.watch = open.begin_watch()?;
        Ok(open)
    }

    fn open_with(&self, open: fn(&Path) -> klon_partition::Result<Source>) -> Result<OpenPlace> {
        if let Some((disk, container)) = self.open_export()? {
            return self.opened(Arc::new(disk), None, None, Some(container));
        }
        let source = Arc::new(open(&self.path).with_context(|| self.given.clone())?);
        let snapshot = match &self.image {
            Some(image) => Some(image.open_snapshot()?),
            None => None,
        };
        let found = if snapshot.is_some() || self.is_raw {
            None
        } else {
            foreign::open(&self.given, &source)?
        };
        let (whole, container): (Arc<dyn ReadAt>, _) = match (&snapshot, found) {
            (Some(snapshot), _) => (Arc::new(SnapshotDevice::new(snapshot.clone())), None),
            (None, Some((disk, container))) => (disk, Some(container)),
            (None, None) => (source.clone(), None),
        };
        self.opened(whole, Some(source), snapshot, container)
    }

    /// The place in what was opened of it.
    pub(super) fn opened(
        &self,
        whole: Arc<dyn ReadAt>,
        source: Option<Arc<Source>>,
        snapshot: Option<Arc<Snapshot>>,
        container: Option<Container>,
    ) -> Result<OpenPlace> {
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
            rested: None,
            journals: Vec::new(),
            looked: Looked::default(),
        })
    }
}

/// Which node a path leads to; looking that up is cheap.
fn node(path: &Path) -> Option<Node> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Node {
        id: FileId::of(&metadata),
        shows: metadata.rdev(),
    })
}

/// A node of the file system, and which device it shows.
#[derive(PartialEq, Eq)]
struct Node {
    id: FileId,
    shows: u64,
}

fn part_of(source: Source, part: Option<Extent>) -> klon_partition::Result<Arc<dyn ReadAt>> {
    Ok(match part {
        Some(extent) => Arc::new(Window::new(source, extent)?),
        None => Arc::new(source),
    })
}

/// The partition of that number.
///
/// # Errors
/// [`usage`] names the partitions that there are.
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
        let there = if there.is_empty() {
            "none".to_owned()
        } else {
            there.join(", ")
        };
        match layout.doubt() {
            Some(why) => refused(format!(
                "its partition table can't be relied on ({why}), and partition {number} is not among \
                 those that are wholly on the disk ({there}). Mend the table first (sgdisk, sfdisk or \
                 testdisk), or copy the whole disk"
            )),
            None => usage(format!("it has no partition {number}; it has {there}")),
        }
    })
}

/// The filesystem of a partition, or of a volume without a table, as klon recognized it when it looked.
/// `None` where the look met bad sectors.
pub fn recognized_in<'a>(
    layout: &'a DiskLayout,
    partition: Option<&Partition>,
) -> Option<&'a Recognized> {
    let mut volumes = layout.volumes.iter();
    let volume = match partition {
        Some(partition) => volumes.find(|volume| volume.extent == partition.extent),
        None => volumes.next().filter(|volume| volume.partition.is_none()),
    };
    volume?.recognized.as_ref()
}

/// What the system was asked of a place.
#[derive(Default)]
pub struct Looked {
    pub(super) whole: OnceLock<Location>,
    pub(super) disk: OnceLock<Option<Disk>>,
    pub(super) parent: OnceLock<Option<Parent>>,
}

/// A place that was opened for reading and looked at.
pub struct OpenPlace {
    /// What it is.
    pub place: Place,
    /// What is on the device or file.
    pub layout: DiskLayout,
    /// The partition that is meant; `None` for all of it.
    pub partition: Option<Partition>,
    /// What is read: all of the device or file, or a window on the partition.
    pub device: Arc<dyn ReadAt>,
    /// The device or file itself; `None` for a disk on a server.
    pub source: Option<Arc<Source>>,
    /// The snapshot that is meant, where the file is an image of klon's.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The form of the disk in a file of another program.
    pub container: Option<Container>,
    /// What shows that others write to a claimed place meanwhile.
    pub watch: Option<Watch>,
    /// Since when and how it is at rest, if it is mounted for writing.
    pub rested: Option<Rested>,
    /// What became of journals that awaited recovery.
    pub journals: Vec<Journal>,
    /// What the system was asked of it.
    pub looked: Looked,
}

impl OpenPlace {
    /// The same disk, looked at anew through what is open of it.
    ///
    /// # Errors
    /// When it can't be inspected; [`refused`] for a partition, which is opened by its own node.
    pub fn again(&self) -> Result<Self> {
        self.again_as(self.device.clone())
    }

    /// As [`again`](Self::again), with `shown` in the place of what is open, which is as large.
    ///
    /// # Errors
    /// As [`again`](Self::again).
    pub fn again_as(&self, shown: Arc<dyn ReadAt>) -> Result<Self> {
        if self.partition.is_some() {
            let given = &self.place.given;
            return Err(refused(format!(
                "{given} is a partition, and no whole disk"
            )));
        }
        self.place.opened(shown, self.source.clone(), None, None)
    }

    /// Where it begins in what is opened for it.
    pub fn start_bytes(&self) -> u64 {
        let partition = self.partition.as_ref();
        partition.map_or(0, |partition| partition.extent.offset_bytes())
    }

    /// The filesystem of the volume that it is, as it was recognized when the place was opened; `None`
    /// for a disk, and where that met bad sectors.
    pub fn recognized(&self) -> Option<&Recognized> {
        recognized_in(&self.layout, self.partition.as_ref())
    }

    /// What must be copied of the volume that it is, by its own filesystem.
    ///
    /// # Errors
    /// As [`usage_of()`].
    pub fn usage(&self) -> klon_partition::Result<Usage> {
        match self.recognized() {
            Some(filesystem) => usage_by(&*self.device, filesystem.clone()),
            None => usage_of(&*self.device),
        }
    }

    /// Begins to watch it, once it is claimed; `None` where nothing would show its changes alone.
    ///
    /// # Errors
    /// When the account of writes to it can't be read.
    pub fn begin_watch(&self) -> Result<Option<Watch>> {
        match &self.source {
            // A snapshot does not change while others are added behind it.
            Some(source) if self.snapshot.is_none() => {
                Watch::begin(source, self.partition.is_some())
            }
            _ => Ok(None),
        }
    }

    /// Whether it is a disk with partitions, or was one, rather than one volume.
    pub fn is_disk(&self) -> bool {
        self.partition.is_none() && (self.layout.table.is_some() || self.layout.doubt().is_some())
    }

    /// The device or file itself, of what is here.
    pub fn own(&self) -> Result<&Arc<Source>> {
        let missing = || refused(format!("{} is not here", self.place.given));
        self.source.as_ref().ok_or_else(missing)
    }
}
