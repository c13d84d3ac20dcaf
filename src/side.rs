//! One side of a comparison: a device, a file or a snapshot, and what of it is in use.

use crate::damaged;
use crate::place::{OpenPlace, Place};
use anyhow::{Context as _, Result};
use klon_imaging::CHUNK_BYTES;
use klon_partition::Shown;
use klon_partition::filesystem::{Owners, usage_or_whole};
use klon_partition::inspect::disk_usage;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap, ReadAt};
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
    /// What could not be read when it was imaged.
    pub bad: ExtentMap,
    /// Of an image: the size of its chunks.
    chunk_bytes: Option<u32>,
    /// Of a disk: number and place of its partitions.
    partitions: Option<Vec<(u32, Extent)>>,
}

impl Side {
    /// Opens what `given` names, in nobody's way.
    pub fn open(given: &Path, system: &System) -> Result<Self> {
        Self::new(&Place::resolve(given, system)?.open()?)
    }

    fn new(open: &OpenPlace) -> Result<Self> {
        let given = &open.place.given;
        let table = open.layout.table.as_ref().filter(|_| open.is_disk());
        let (used, bad) = match &open.snapshot {
            Some(snapshot) => {
                let manifest = snapshot.manifest();
                let part = |map: &ExtentMap| match &open.partition {
                    Some(partition) => damaged::within(map, partition.extent),
                    None => map.clone(),
                };
                (part(&manifest.wanted()), part(&manifest.bad))
            }
            None if open.is_disk() => {
                let used = disk_usage(&*open.device).with_context(|| given.clone())?;
                (used.extents, ExtentMap::new())
            }
            None => (usage_or_whole(&*open.device).extents, ExtentMap::new()),
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
            device: open.device.clone(),
            used,
            bad,
            chunk_bytes: (open.snapshot.as_ref())
                .map(|snapshot| snapshot.image().header().chunk_bytes),
            partitions: table.map(damaged::partitions),
        })
    }

    /// By how much the two are compared at once: the chunks of the image that has the larger ones.
    pub fn chunk_bytes(&self, other: &Self) -> u32 {
        let larger = self.chunk_bytes.max(other.chunk_bytes);
        larger.unwrap_or(CHUNK_BYTES as u32)
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.device.geometry().size_bytes
    }

    /// Its files with bytes in `extents`.
    pub fn files(&self, extents: &ExtentMap) -> Owners {
        match extents.is_empty() {
            true => Owners::default(),
            false => damaged::owners_in(&*self.device, self.partitions.as_deref(), extents),
        }
    }
}
