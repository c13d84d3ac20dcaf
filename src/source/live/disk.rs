//! Whole disks of which partitions are mounted for writing, or swapped to.

use super::beside::Beside;
use super::in_use::{Covered, InUse, Mounted};
use super::twice::{self, Looked};
use super::{Live, claim};
use crate::error::{Advice, refused};
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::source::SourceEnd;
use crate::source::open::ReadDisk;
use crate::still::Moments;
use anyhow::{Error, Result};
use klon_imaging::change::Rested;
use klon_imaging::clone::live::{LiveSource, LiveVolume};
use klon_partition::filesystem::{Basis, Kind, Usage};
use klon_partition::inspect::{DiskLayout, VolumeUsage};
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::{Extent, Geometry, Shown as _};
use std::sync::Arc;
use std::time::SystemTime;

/// Opens a disk of which partitions are mounted for writing, or swapped to, when nothing else writes to it, as it
/// would be on a target of `target` geometry. It is brought to rest for the look at it. `None` of any other.
///
/// # Errors
/// As [`SourceEnd::open`]; a refusal when a volume can't be frozen, or can't be believed then.
pub fn open_disk(
    place: &Place,
    system: &System,
    target: Option<Geometry>,
    moments: Moments,
) -> Result<Option<SourceEnd>> {
    let in_use = InUse::of_disk(place, system, moments)?;
    let Some(mut in_use) = in_use.filter(|in_use| !in_use.is_nothing()) else {
        return Ok(None);
    };
    twice::settle(&mut in_use, moments)?;
    let Some(open) = claim(place)? else {
        return Ok(None);
    };
    let mut live = Live {
        beside: Arc::new(Beside::begin(open.own()?, &in_use)?),
        in_use,
        longest: moments.longest,
        moments,
        open: Arc::new(open),
        target,
    };
    let (open, disk) = live.at_rest(|| live.read_disk())?;
    live.open = Arc::new(open);
    let mut source = SourceEnd::of_disk(&live.open, system, disk)?;
    source.live = Some(live);
    Ok(Some(source))
}

/// The refusal of a source that changes; of one that [`open_disk`] and [`open_mounted`](super::open_mounted) leave alone
/// it says what klon can't bring to rest.
///
/// # Errors
/// When the system does not say who uses it.
pub fn explained(
    refusal: Error,
    place: &Place,
    system: &System,
    moments: Moments,
) -> Result<Error> {
    if let Some(Covered { at, by }) = InUse::covered(place, system)? {
        let (at, by) = (at.shown(), by.shown());
        return Ok(refusal.context(Advice(format!(
            "klon brings a volume to rest through the directory that it is mounted at, and something else is mounted \
             over {at}. Unmount that first: umount {by}"
        ))));
    }
    let obstacle = InUse::obstacle(place, system, moments)?;
    Ok(match obstacle {
        None => refusal,
        Some(obstacle) => refusal.context(Advice(format!(
            "klon copies a disk in use when all that is mounted of it for writing are partitions with ext3, ext4, XFS, \
             Btrfs or FAT. Here {obstacle}"
        ))),
    })
}

impl Live {
    /// What happened to what is not mounted for writing; `None` for nothing.
    ///
    /// # Errors
    /// When the kernel's account of writes can't be read.
    pub fn changed(&self) -> klon_partition::Result<Option<String>> {
        self.beside.changed()
    }

    /// The volume that is mounted for writing there; `None` of any other.
    pub fn mounted_at(&self, part: Extent) -> Option<&Mounted> {
        let mut all = self.in_use.mounted.iter();
        all.find(|it| it.part.is_none_or(|it| it == part))
    }

    /// The disk as it is now, at rest `since` then, with its layout. Its partitions are left to the caller.
    ///
    /// # Errors
    /// When it can't be read; a refusal when its table or what is in use of it changed.
    pub fn look_at_disk(&self, since: SystemTime) -> Result<(LiveSource, DiskLayout)> {
        let given = &self.open.place.given;
        let now = InUse::of_disk(&self.open.place, &System::current()?, self.moments)?;
        if !now.is_some_and(|now| self.in_use.is_all(&now)) {
            return Err(changed(given, "what is mounted of it, or swapped to, is"));
        }
        let (open, disk) = self.read_disk()?;
        if partitions(&open.layout) != partitions(&self.open.layout) {
            return Err(changed(given, "its partition table is"));
        }
        let volume = |volume: VolumeUsage| LiveVolume {
            number: volume.partition.map_or(0, |partition| partition.number),
            part: volume.extent,
            usage: volume.usage,
            rested: self.mounted_at(volume.extent).map(|mounted| Rested {
                since,
                consistency: mounted.consistency(),
                session: mounted.session(),
            }),
        };
        let found = LiveSource {
            source: disk.read.device,
            usage: disk.read.usage,
            volumes: disk.volumes.into_iter().map(volume).collect(),
            consistency: self.consistency(),
            written_past: self.beside.look()?,
        };
        Ok((found, open.layout))
    }

    /// What is on the disk, and what of it is in use. It must be at rest.
    fn read_disk(&self) -> Result<(OpenPlace, ReadDisk)> {
        let (open, disk) = twice::fitting(&self.in_use, &|| {
            let open = match twice::shown(&self.open, &self.in_use)? {
                Some(shown) => shown,
                None => self.open.again()?,
            };
            let disk = SourceEnd::read_disk(&open, self.target)?;
            let mut twice = self.in_use.read_twice();
            let misfit = twice.find_map(|mounted| {
                let mut volumes = disk.volumes.iter();
                let volume = volumes.find(|volume| Some(volume.extent) == mounted.part)?;
                whole_because(&volume.usage).map(ToOwned::to_owned)
            });
            let found = (open, disk);
            Ok(Looked { found, misfit })
        })?;
        self.check(&disk)?;
        Ok((open, disk))
    }

    /// Refuses a disk of which it can't be told what is in use.
    fn check(&self, disk: &ReadDisk) -> Result<()> {
        let given = &self.open.place.given;
        if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &disk.read.usage.basis {
            return Err(refused(format!(
                "{given} can't be copied while it is in use: {reason}. Unmount all of it first"
            )));
        }
        for mounted in &self.in_use.mounted {
            let volume = volume_at(given, disk, mounted.part)?;
            if let Some(reason) = whole_because(&volume.usage) {
                return Err(refused(format!(
                    "{given} can't be copied while its partition {} is mounted: {reason}. Unmount that first",
                    number(volume)
                )));
            }
        }
        for swap in &self.in_use.swaps {
            let volume = volume_at(given, disk, Some(swap.part))?;
            let kind = volume.usage.summary.as_ref().map(|summary| summary.kind);
            let reason = match kind {
                Some(Kind::Swap) => whole_because(&volume.usage),
                _ => Some("nothing on it says that it is swap"),
            };
            if let Some(reason) = reason {
                return Err(refused(format!(
                    "{given} can't be copied while its partition {0} is swapped to: {reason}. Take it out of use \
                     first (swapoff)",
                    number(volume)
                )));
            }
        }
        Ok(())
    }
}

/// The volume that lies there by the table.
fn volume_at<'d>(given: &str, disk: &'d ReadDisk, part: Option<Extent>) -> Result<&'d VolumeUsage> {
    let mut volumes = disk.volumes.iter();
    let found = volumes.find(|volume| Some(volume.extent) == part);
    found.ok_or_else(|| {
        refused(format!(
            "{given} can't be copied while it is in use: its table does not have the partitions that the kernel \
             knows. Let the kernel read it anew (partprobe {given}), or restart the machine"
        ))
    })
}

fn number(volume: &VolumeUsage) -> u32 {
    let partition = volume.partition.as_ref();
    partition.map_or(0, |partition| partition.number)
}

/// Why nothing shows which bytes of a volume are free, if nothing does.
pub(super) fn whole_because(usage: &Usage) -> Option<&str> {
    match &usage.basis {
        Basis::Map => None,
        Basis::Whole { reason, .. } | Basis::Contained { reason } => Some(reason),
    }
}

fn partitions(layout: &DiskLayout) -> Option<&[Partition]> {
    layout.table.as_ref().map(|table| &*table.partitions)
}

pub(super) fn changed(given: &str, what: &str) -> Error {
    refused(format!(
        "{given} changed while it was copied: {what} another than before. Run this again when nobody changes that"
    ))
}
