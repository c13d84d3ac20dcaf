//! One side of a comparison: a device, a file or a snapshot, and what of it is in use.

use crate::files_hit;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::source::SourceEnd;
use crate::source::contained;
use crate::source::fit::{self, Loss};
use crate::source::imaged::of_part;
use crate::source::resized::Resized;
use crate::source::unread;
use anyhow::{Context as _, Result};
use klon_imaging::ChunkSize;
use klon_imaging::image::{Sides, Snapshot};
use klon_partition::Shown;
use klon_partition::device::read_vec;
use klon_partition::filesystem::{Owners, usage_or_whole};
use klon_partition::inspect::disk_usage;
use klon_partition::system::System;
use klon_partition::table::{Moved, Table, raw_extents};
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt};
use std::path::Path;
use std::sync::Arc;

/// One side of a comparison.
pub struct Side {
    /// As the user named it; of an image, with the number of the snapshot.
    pub name: String,
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub used: ExtentMap,
    /// What of it no one proved free, and is not in the image.
    pub left_out: ExtentMap,
    /// What could not be read when it was imaged.
    pub bad: ExtentMap,
    /// Of an image: the size of its chunks.
    chunk_size: Option<ChunkSize>,
    /// Of a disk: number and place of its partitions.
    partitions: Option<Vec<(u32, Extent)>>,
    /// Of a disk: its table.
    table: Option<Table>,
    /// What its table says otherwise because it is shown as on a disk of another size.
    pub moved: Vec<Moved>,
}

impl Side {
    /// The devices of this side and the `second` one.
    pub fn and<'a>(&'a self, second: &'a Self) -> Sides<'a> {
        Sides {
            first: &*self.device,
            second: &*second.device,
        }
    }

    /// Opens what `given` names, in nobody's way.
    pub fn open(given: &Path, system: &System) -> Result<Self> {
        Self::new(&Place::resolve(given, system)?.open()?, system)
    }

    fn new(open: &OpenPlace, system: &System) -> Result<Self> {
        let given = &open.place.given;
        let table = open.layout.table.as_ref().filter(|_| open.is_disk());
        let none = ExtentMap::new;
        let mut device = open.device.clone();
        let (used, bad, left_out) = match &open.snapshot {
            Some(snapshot) => {
                let manifest = snapshot.manifest();
                let part = |map: &ExtentMap| of_part(map, open.partition.as_ref());
                let left_out = part(&manifest.left_out);
                (part(&manifest.wanted()), part(&manifest.bad), left_out)
            }
            None if open.is_disk() => {
                let used = disk_usage(&*open.device).with_context(|| given.clone())?;
                device = unread::of_disk(device, &used)?;
                (used.extents, none(), none())
            }
            None => {
                let usage = usage_or_whole(&*open.device);
                let usage = contained::by_disk(usage, open, system)?;
                device = unread::of_volume(device, &usage)?;
                (usage.extents, none(), none())
            }
        };
        let name = match (&open.snapshot, &open.partition) {
            (Some(snapshot), None) => {
                let path = open.place.path.shown();
                format!("{path}@{}", snapshot.number())
            }
            _ => given.clone(),
        };
        Ok(Self {
            name,
            device,
            used,
            bad,
            left_out,
            chunk_size: (open.snapshot.as_deref()).map(Snapshot::chunk_size),
            partitions: table.map(files_hit::partitions),
            table: table.cloned(),
            moved: Vec::new(),
        })
    }

    /// The same of a snapshot as it is on a target that has no room for all of it.
    ///
    /// # Errors
    /// When it can't be there, because what is in use ends behind the target.
    pub fn cut_for(self, given: &Path, system: &System, target: Geometry) -> Result<Self> {
        let source = SourceEnd::open(&Place::resolve(given, system)?, system, Some(target))?;
        fit::check(&source.name, source.cut.as_ref(), Loss::Tell)?;
        let table = match &source.table {
            Some(table) => raw_extents(&*source.device, table)?,
            None => ExtentMap::new(),
        };
        Ok(Self {
            used: source.usage.extents.intersection(&self.used.union(&table)),
            device: source.device,
            moved: source.moved,
            ..self
        })
    }

    /// The same as it is on `other`, when that is a disk of another size to which it was cloned or
    /// restored: its GPT is another there.
    ///
    /// Where `other` has the table as it is here, as after a plain copy, nothing is changed.
    pub fn on(mut self, other: &Self) -> Result<Self> {
        let geometry = other.device.geometry();
        let table = self.table.as_ref();
        let Some(table) = table.filter(|_| geometry.size_bytes != self.size_bytes()) else {
            return Ok(self);
        };
        let before = raw_extents(&*self.device, table)?;
        if is_equal(&before, &*self.device, &*other.device) {
            return Ok(self);
        }
        let resized = Resized::new(&self.name, &self.device, Some(table), Some(geometry))?;
        if resized.moved.is_empty() {
            return Ok(self);
        }
        let after = raw_extents(&*resized.device, table)?;
        let whole = ExtentMap::whole(geometry.size_bytes);
        let there = disk_usage(&*resized.device).map_or(whole, |usage| usage.extents);
        let used = self.used.difference(&before.difference(&after));
        let not_there = used.difference(&there);
        self.used = used.difference(&not_there).union(&after);
        self.device = resized.device;
        self.moved = resized.moved;
        Ok(self)
    }

    /// By how much the two are compared at once: the chunks of the image that has the larger ones.
    pub fn chunk_size(&self, other: &Self) -> ChunkSize {
        let larger = self.chunk_size.max(other.chunk_size);
        larger.unwrap_or(ChunkSize::USUAL)
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.device.geometry().size_bytes
    }

    /// Its files with bytes in `extents`.
    pub fn files(&self, extents: &ExtentMap) -> Owners {
        if extents.is_empty() {
            Owners::default()
        } else {
            files_hit::owners_in(&*self.device, self.partitions.as_deref(), extents)
        }
    }
}

/// Whether both have the same bytes in `extents`, which are few.
fn is_equal(extents: &ExtentMap, one: &dyn ReadAt, other: &dyn ReadAt) -> bool {
    extents.iter().all(|extent| {
        let read = |device: &dyn ReadAt| {
            let len = usize::try_from(extent.len_bytes()).ok()?;
            read_vec(device, extent.offset_bytes(), len).ok()
        };
        read(one).is_some_and(|bytes| read(other) == Some(bytes))
    })
}
