//! A disk as it is on a target of another size: its GPT, edited for that one.

use crate::error::refused;
use crate::human;
use anyhow::Result;
use klon_partition::device::Overlay;
use klon_partition::table::{self, Moved, Rewrite, Scheme, Table};
use klon_partition::{ExtentMap, Geometry, ReadAt};
use std::sync::Arc;

/// An edited table is a few sectors; this is far more.
const OVERLAY_BYTES_MAX: usize = 16 << 20;

/// A disk, shown with the size of its target.
pub struct Resized {
    /// What is read: the disk itself where nothing has to change.
    pub device: Arc<dyn ReadAt>,
    /// Numbers in its table that differ from the disk's own.
    pub moved: Vec<Moved>,
    /// The bytes that are not read from the disk.
    pub replaced: ExtentMap,
    /// Bytes of the disk in no partition that are not zero, and that lie where the target has the backup of
    /// its GPT.
    pub covered: ExtentMap,
}

/// A disk as it is.
pub struct DiskAsIs<'a> {
    /// Its name, for people.
    pub name: &'a str,
    /// What is shown of it.
    pub device: &'a Arc<dyn ReadAt>,
    /// The same bytes, where its tables are read.
    pub tables: &'a Arc<dyn ReadAt>,
}

impl Resized {
    /// The disk `name` with its `table` as on a target of `target` geometry.
    ///
    /// An MBR says nothing of the disk's size, so it stays.
    ///
    /// # Errors
    /// When the target has no room for the table, or the disk can't be read.
    pub fn new(
        name: &str,
        device: &Arc<dyn ReadAt>,
        table: Option<&Table>,
        target: Option<Geometry>,
    ) -> Result<Self> {
        let disk = DiskAsIs {
            name,
            device,
            tables: device,
        };
        Self::of(disk, table, target)
    }

    /// As [`new`](Self::new), for a disk that may be read in order only.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn of(disk: DiskAsIs<'_>, table: Option<&Table>, target: Option<Geometry>) -> Result<Self> {
        let DiskAsIs {
            name,
            device,
            tables,
        } = disk;
        let source = device.geometry();
        let (Some(table), Some(target)) = (table, target) else {
            return Ok(Self::as_is(device));
        };
        if table.scheme != Scheme::Gpt || source.size_bytes == target.size_bytes {
            return Ok(Self::as_is(device));
        }
        let relocated = table::relocated(table, target.size_bytes)
            .map_err(|error| refused(format!("the target is too small for {name}: {error}")))?;
        let geometry = Geometry {
            size_bytes: target.size_bytes,
            logical_sector_bytes: table.logical_sector_bytes,
            ..source
        };
        let there = Overlay::with_geometry(tables.clone(), geometry, OVERLAY_BYTES_MAX);
        let rewrite = Rewrite::plan(tables, &there, &relocated)?;
        let overlay = Overlay::with_geometry(device.clone(), geometry, OVERLAY_BYTES_MAX);
        rewrite.carry_out(&overlay)?;
        Ok(Self {
            replaced: overlay.dirty_map(),
            device: Arc::new(overlay),
            moved: rewrite.moved().to_vec(),
            covered: rewrite.covered().clone(),
        })
    }

    /// The disk itself.
    pub fn as_is(device: &Arc<dyn ReadAt>) -> Self {
        Self {
            device: device.clone(),
            moved: Vec::new(),
            replaced: ExtentMap::new(),
            covered: ExtentMap::new(),
        }
    }
}

/// A warning about bytes in no partition that are `covered` by the backup of the table. Bytes behind the
/// end of a clone were on its drive before, so nobody misses them.
pub fn covered(name: &str, covered: &ExtentMap, clone_bytes: Option<u64>) -> Option<String> {
    let clone = clone_bytes.map(ExtentMap::whole);
    let covered = clone.map_or_else(|| covered.clone(), |clone| covered.intersection(&clone));
    let first = covered.iter().next()?;
    Some(format!(
        "{name}: {} from byte {} on are in no partition and are not zero. The target has the \
         backup of the GPT there, so klon does not copy them",
        human::size(covered.total_bytes()),
        first.offset_bytes()
    ))
}
