//! Opening a source: one volume, or a whole disk.

use super::fit::{self, Cut, Fitted};
use super::imaged::leave_out_unknown;
use super::warnings::{container_warnings, damaged_copies, disk_warnings, warning};
use super::{SourceEnd, contained, unread};
use crate::guard;
use crate::named::Place;
use crate::named::open::OpenPlace;
use anyhow::{Context as _, Result};
use klon_partition::device::Window;
use klon_partition::filesystem::{Usage, usage};
use klon_partition::system::System;
use klon_partition::table;
use klon_partition::{ExtentMap, Geometry, ReadAt};
use std::sync::Arc;

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
        Self::new(
            open,
            system,
            Read {
                device,
                usage,
                warnings,
                cut,
            },
        )
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
        let read = Read {
            device,
            usage,
            warnings,
            cut: fitted.cut,
        };
        Ok(Self {
            table: open.layout.table.clone(),
            moved: fitted.moved,
            replaced: fitted.replaced,
            ..Self::new(open, system, read)?
        })
    }

    /// A source without a table of its own, with what `open` tells of it.
    fn new(open: &OpenPlace, system: &System, read: Read) -> Result<Self> {
        Ok(Self {
            name: open.place.given.clone(),
            device: read.device,
            usage: read.usage,
            start_bytes: open.start_bytes(),
            identity: open.identity(system)?,
            location: open.location(system)?,
            table: None,
            moved: Vec::new(),
            metadata: ExtentMap::new(),
            warnings: read.warnings,
            path: open.place.path.clone(),
            clone_name: open.clone_name(system)?,
            watch: open.watch.clone(),
            salvaged: None,
            replaced: ExtentMap::new(),
            snapshot: open.snapshot.clone(),
            cut: read.cut,
        })
    }
}

/// What is read of a source, and what the user should know of it.
struct Read {
    device: Arc<dyn ReadAt>,
    usage: Usage,
    warnings: Vec<String>,
    cut: Option<Cut>,
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
