//! The snapshots of an image as exports, and the partitions in them.

use super::changed::ChangedSince;
use super::export::{Context, Export, Exports, Listing};
use crate::image::{CatalogEntry, Image, Snapshot, SnapshotDevice};
use klon_partition::device::Window;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::locks::lock;
use klon_partition::text::printable;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// What names of other snapshots begin with, as contexts.
const CHANGED_SINCE: &str = "klon:changed-since:";

/// The name of a snapshot, or of a partition in it: `3`, `3/p2`. The default one has an empty name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportName {
    /// The snapshot's number.
    pub snapshot: Option<u64>,
    /// The partition's number.
    pub partition: Option<u32>,
}

impl ExportName {
    /// From its text; `None` when it is no such name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let (snapshot, partition) = match text.split_once("/p") {
            Some((snapshot, partition)) => (snapshot, Some(partition.parse().ok()?)),
            None => (text, None),
        };
        let name = Self {
            snapshot: Some(snapshot.parse().ok()?),
            partition,
        };
        // One name each: no signs or zeroes before it.
        (name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for ExportName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.snapshot, self.partition) {
            (None, _) => Ok(()),
            (Some(snapshot), None) => write!(f, "{snapshot}"),
            (Some(snapshot), Some(partition)) => write!(f, "{snapshot}/p{partition}"),
        }
    }
}

/// All snapshots of an image.
pub struct ImageExports {
    image: Image,
    /// The number of the default one.
    default: u64,
    /// Those that someone reads.
    open: Mutex<HashMap<u64, Weak<SnapshotDevice>>>,
    listing: OnceLock<Vec<Listing>>,
}

impl ImageExports {
    /// The snapshots of `image`. The default one has the number `default`, or is the last.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none; others when it can't be read.
    pub fn new(image: Image, default: Option<u64>) -> Result<Self> {
        let default = image.snapshot(default)?.number();
        Ok(Self {
            image,
            default,
            open: Mutex::default(),
            listing: OnceLock::new(),
        })
    }

    /// The image.
    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// The number of the default snapshot.
    #[must_use]
    pub const fn default_number(&self) -> u64 {
        self.default
    }

    /// A snapshot's device, the same for all who read it now.
    ///
    /// # Errors
    /// As [`Image::snapshot`].
    pub fn device(&self, number: u64) -> Result<Arc<SnapshotDevice>> {
        let mut open = lock(&self.open);
        if let Some(device) = open.get(&number).and_then(Weak::upgrade) {
            return Ok(device);
        }
        let snapshot = Arc::new(self.image.snapshot(Some(number))?);
        let device = Arc::new(SnapshotDevice::for_pieces(snapshot));
        open.retain(|_, device| device.strong_count() > 0);
        open.insert(number, Arc::downgrade(&device));
        Ok(device)
    }

    /// Opens an export by what its name says; `None` when there is none.
    ///
    /// # Errors
    /// What keeps the snapshot from being read.
    pub fn open_named(&self, name: ExportName) -> Result<Option<Export>> {
        let number = name.snapshot.unwrap_or(self.default);
        if self.image.catalog().find(Some(number)).is_none() {
            return Ok(None);
        }
        let device = self.device(number)?;
        let Some(window) = window(device.snapshot(), name.partition) else {
            return Ok(None);
        };
        let unit_bytes = device.snapshot().chunk_size().bytes();
        let description = describe(device.snapshot(), name.partition);
        let device = Window::new(ImagedDevice(device), window)?;
        Ok(Some(Export {
            listing: Listing {
                name: name.to_string(),
                description,
            },
            device: Arc::new(device),
            unit_bytes,
            unit_start_bytes: window.offset_bytes() % unit_bytes,
        }))
    }

    fn listed(&self) -> Vec<Listing> {
        let mut all = Vec::new();
        for entry in &self.image.catalog().snapshots {
            // One that can't be read is no reason to hide the others.
            let Ok(device) = self.device(entry.number) else {
                continue;
            };
            let snapshot = device.snapshot();
            let parts = snapshot.meta().partitions.iter();
            let numbers = parts.map(|part| Some(part.number));
            for partition in std::iter::once(None).chain(numbers) {
                let name = ExportName {
                    snapshot: Some(entry.number),
                    partition,
                };
                if window(snapshot, partition).is_some() {
                    all.push(Listing {
                        name: name.to_string(),
                        description: describe(snapshot, partition),
                    });
                }
            }
        }
        let own = all.iter().find(|one| one.name == self.default.to_string());
        let default = own.map(|own| Listing {
            name: String::new(),
            description: own.description.clone(),
        });
        default.into_iter().chain(all.clone()).collect()
    }
}

impl Exports for ImageExports {
    fn list(&self) -> Vec<Listing> {
        self.listing.get_or_init(|| self.listed()).clone()
    }

    fn open(&self, name: &str) -> Result<Option<Arc<Export>>> {
        let Some(name) = ExportName::parse(name) else {
            return Ok(None);
        };
        Ok(self.open_named(name)?.map(Arc::new))
    }

    fn contexts(&self, export: &Export) -> Vec<String> {
        let own = ExportName::parse(&export.listing.name).unwrap_or_default();
        let own = own.snapshot.unwrap_or(self.default);
        let catalog = self.image.catalog();
        let Some(own) = catalog.find(Some(own)) else {
            return Vec::new();
        };
        let others =
            |entry: &&CatalogEntry| entry.number != own.number && entry.source == own.source;
        let snapshots = catalog.snapshots.iter().filter(others);
        snapshots
            .map(|entry| format!("{CHANGED_SINCE}{}", entry.number))
            .collect()
    }

    fn open_context(&self, export: &Export, name: &str) -> Result<Option<Arc<dyn Context>>> {
        let number = name.strip_prefix(CHANGED_SINCE);
        let Some(then) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return Ok(None);
        };
        let own = ExportName::parse(&export.listing.name).unwrap_or_default();
        let number = own.snapshot.unwrap_or(self.default);
        let is_known = self.image.catalog().find(Some(then)).is_some();
        if !is_known || then == number || name != format!("{CHANGED_SINCE}{then}") {
            return Ok(None);
        }
        let (now, then) = (self.device(number)?, self.device(then)?);
        let window = window(now.snapshot(), own.partition);
        let window = window.ok_or_else(|| Error::Invalid(format!("no export {own}")))?;
        let (now, then) = (Arc::clone(now.snapshot()), Arc::clone(then.snapshot()));
        Ok(Some(Arc::new(ChangedSince::new(now, then, window))))
    }
}

/// The bytes of a partition of a snapshot, or of all of it; `None` where there is no such partition,
/// or it does not lie on the disk.
fn window(snapshot: &Snapshot, partition: Option<u32>) -> Option<Extent> {
    let whole = Extent::new(0, snapshot.meta().source_bytes)?;
    let Some(number) = partition else {
        return Some(whole);
    };
    let mut parts = snapshot.meta().partitions.iter();
    let part = parts.find(|part| part.number == number)?;
    Some(part.extent).filter(|extent| whole.contains(*extent))
}

fn describe(snapshot: &Snapshot, partition: Option<u32>) -> String {
    let meta = snapshot.meta();
    let (mut text, filesystem) = match partition {
        None => (meta.name.clone(), meta.filesystem.as_ref()),
        Some(number) => {
            let part = meta.partitions.iter().find(|part| part.number == number);
            let name = part.map_or("", |part| part.name.as_str());
            let text = format!("{}, partition {number} {name}", meta.name);
            (text, part.and_then(|part| part.filesystem.as_ref()))
        }
    };
    if let Some(filesystem) = filesystem {
        text = format!("{}, {}", text.trim_end(), filesystem.kind);
    }
    if let Some(note) = &meta.note {
        text = format!("{}: {note}", text.trim_end());
    }
    // A terminal gets nothing but text of what an image says.
    let text = printable(&text);
    text.chars()
        .take(200)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// A snapshot as a device that knows which of its chunks are zero, too.
pub struct ImagedDevice(pub Arc<SnapshotDevice>);

impl ReadAt for ImagedDevice {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.0.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let snapshot = self.0.snapshot();
        let size = snapshot.chunk_size();
        let mut data = ExtentMapBuilder::new();
        for part in self.0.data(within)?.iter() {
            for part in part.split(size.bytes()) {
                let reference = snapshot.reference(size.index(part.offset_bytes()));
                // Damage is met when it is read.
                if !matches!(reference, Ok(Some(reference)) if reference.is_zero()) {
                    data.push(part);
                }
            }
        }
        Ok(data.finish())
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        self.0.sha256(extent)
    }
}
