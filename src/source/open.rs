//! Opening a source: one volume, or a whole disk.

use super::fit::{self, Cut, Fitted};
use super::imaged::leave_out_unknown;
use super::warnings::{container_warnings, damaged_copies, disk_warnings, warning};
use super::{SourceEnd, adapted, contained, lost_before, shrunk, skipped, unread};
use crate::guard;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::still::ways::Ways;
use anyhow::{Context as _, Result};
use klon_imaging::clone::Filled;
use klon_partition::device::Window;
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::VolumeUsage;
use klon_partition::system::System;
use klon_partition::table::{self, Moved};
use klon_partition::{ExtentMap, Geometry, ReadAt};
use std::sync::Arc;

impl SourceEnd {
    /// Opens a volume or a whole disk, as it would be on a target of `target` geometry.
    ///
    /// # Errors
    /// When the place is in use, can't be read, or does not fit the target.
    pub fn open(
        place: &Place,
        ways: &Ways,
        system: &System,
        target: Option<Geometry>,
    ) -> Result<Self> {
        Self::of(&ways.claim(place, system)?, system, target)
    }

    /// As [`open`](Self::open), of a place that was claimed by a way of the run.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<Self> {
        if open.is_disk() {
            Self::disk(open, system, target)
        } else {
            Self::volume(open, system, target)
        }
    }

    /// One volume, as far as a target of `target` geometry has it.
    ///
    /// # Errors
    /// When it can't be read, or does not fit the target.
    pub fn volume(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<Self> {
        let usage = open.usage().with_context(|| open.place.given.clone())?;
        Self::with_usage(
            open,
            system,
            contained::by_disk(usage, open, system)?,
            target,
        )
    }

    /// One volume with this usage.
    ///
    /// # Errors
    /// When it is no source, is unfinished, or does not fit the target.
    pub fn with_usage(
        open: &OpenPlace,
        system: &System,
        usage: Usage,
        target: Option<Geometry>,
    ) -> Result<Self> {
        Self::new(open, system, Self::read_with(open, usage, target)?)
    }

    /// What is read of a volume. `usage` is what its filesystem has in use.
    pub(super) fn read(
        open: &OpenPlace,
        system: &System,
        usage: Usage,
        target: Option<Geometry>,
    ) -> Result<Read> {
        Self::read_with(open, contained::by_disk(usage, open, system)?, target)
    }

    fn read_with(open: &OpenPlace, mut usage: Usage, target: Option<Geometry>) -> Result<Read> {
        let name = open.place.given.clone();
        guard::is_a_source(open)?;
        leave_out_unknown(&mut usage, open);
        open.mark_replayed(&mut usage);
        guard::finished(&name, &open.device)?;
        if usage.filesystem().is_none() {
            guard::awake(&name, &open.device)?;
        }
        let Fitted {
            device,
            mut usage,
            cut,
            ..
        } = fit::volume(open, usage, target)?;
        let mut device = unread::of_volume(device, &usage);
        if open.place.skips {
            device = skipped::of_volume(device, &mut usage)?;
        }
        let mut warnings = container_warnings(open);
        warnings.extend(warning(&name, &usage));
        warnings.extend(adapted::warning(open));
        Ok(Read {
            device,
            usage,
            warnings,
            cut,
        })
    }

    /// A whole disk, as it would be on a target of `target` geometry.
    ///
    /// # Errors
    /// When it can't be read, a partition is unfinished, or it does not fit the target.
    pub fn disk(open: &OpenPlace, system: &System, target: Option<Geometry>) -> Result<Self> {
        Self::of_disk(open, system, Self::read_disk(open, target)?)
    }

    /// What is read of a whole disk.
    ///
    /// # Errors
    /// As [`disk`](Self::disk).
    pub(super) fn read_disk(open: &OpenPlace, target: Option<Geometry>) -> Result<ReadDisk> {
        let name = open.place.given.clone();
        for partition in open.layout.table.iter().flat_map(|table| &table.partitions) {
            let part = format!("{name}:{}", partition.number);
            guard::finished(&part, &Window::new(open.device.clone(), partition.extent)?)?;
        }
        let unknown = open
            .layout
            .volumes
            .iter()
            .filter(|it| it.recognized.is_none());
        for volume in unknown {
            guard::awake(&name, &Window::new(open.device.clone(), volume.extent)?)?;
        }
        let fitted = fit::disk(open, target)?;
        let device = unread::of_disk(fitted.device, &fitted.usage)?;
        let (device, skipped) = match open.place.skips {
            true => skipped::of_disk(device, &fitted.usage.volumes)?,
            false => (device, Vec::new()),
        };
        let mut warnings = container_warnings(open);
        warnings.extend(damaged_copies(&name, open));
        warnings.extend(disk_warnings(&name, &fitted.usage));
        let mut usage = fitted.usage;
        open.mark_replayed_volumes(&mut usage);
        let volumes = match usage.basis {
            Basis::Map => std::mem::take(&mut usage.volumes),
            Basis::Whole { .. } | Basis::Contained { .. } => Vec::new(),
        };
        let mut usage = usage.into_usage();
        usage.skipped = skipped;
        open.mark_replayed(&mut usage);
        if device.geometry() != open.device.geometry() {
            drop_moved(&mut usage, open)?;
        }
        leave_out_unknown(&mut usage, open);
        Ok(ReadDisk {
            read: Read {
                device,
                usage,
                warnings,
                cut: fitted.cut,
            },
            moved: fitted.moved,
            replaced: fitted.replaced,
            covered: fitted.covered,
            volumes,
        })
    }

    /// A whole disk of which that is read.
    ///
    /// # Errors
    /// When the system does not say what the disk is.
    pub(super) fn of_disk(open: &OpenPlace, system: &System, disk: ReadDisk) -> Result<Self> {
        Ok(Self {
            table: open.layout.table.clone(),
            moved: disk.moved,
            replaced: disk.replaced,
            covered: disk.covered,
            volumes: disk.volumes,
            ..Self::new(open, system, disk.read)?
        })
    }

    /// A source without a table of its own, with what `open` tells of it.
    pub(super) fn new(open: &OpenPlace, system: &System, read: Read) -> Result<Self> {
        let size_bytes = read.device.geometry().size_bytes;
        let known = open.known(system)?;
        let mut notes = open.notes();
        notes.extend(adapted::note(open));
        notes.extend(skipped::notes(&open.place.given, &read.usage));
        notes.extend(shrunk::note(&open.place.given, size_bytes, &read.usage));
        Ok(Self {
            name: open.place.given.clone(),
            device: read.device,
            usage: read.usage,
            start_bytes: open.start_bytes(),
            recorded: lost_before::recorded(open, &known.identity, system)?,
            identity: known.identity,
            location: known.location,
            table: None,
            moved: Vec::new(),
            metadata: ExtentMap::new(),
            warnings: read.warnings,
            journals: notes,
            path: open.place.path.clone(),
            clone_name: known.clone_name,
            watch: open.watch.clone(),
            live: None,
            salvaged: None,
            lost_before: Filled::default(),
            written_by: Vec::new(),
            rested: open.rested.clone(),
            replaced: ExtentMap::new(),
            covered: ExtentMap::new(),
            snapshot: open.snapshot.clone(),
            own_identity: None,
            cut: read.cut,
            volumes: Vec::new(),
        })
    }
}

/// What is read of a source, and what the user should know of it.
pub(super) struct Read {
    pub(super) device: Arc<dyn ReadAt>,
    pub(super) usage: Usage,
    warnings: Vec<String>,
    cut: Option<Cut>,
}

/// What is read of a whole disk.
pub(super) struct ReadDisk {
    pub(super) read: Read,
    moved: Vec<Moved>,
    replaced: ExtentMap,
    covered: ExtentMap,
    /// Its partitions, if they tell which bytes are in use.
    pub(super) volumes: Vec<VolumeUsage>,
}

/// Drops what a disk doesn't need on a disk of another size: the bytes behind its own end, and the backup of its
/// GPT in its old place.
fn drop_moved(usage: &mut Usage, open: &OpenPlace) -> Result<()> {
    let own = ExtentMap::whole(open.device.geometry().size_bytes);
    usage.drop_unproven(&usage.unproven.difference(&own));
    if let Some(table) = &open.layout.table {
        usage.drop_unproven(&table::raw_extents(&*open.device, table)?);
    }
    Ok(())
}
