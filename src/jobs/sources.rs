//! How the sources of a command are opened.

use super::BadSectors;
use crate::cli::ReplayArgs;
use crate::guard;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::source::{SourceEnd, bad_sectors, live};
use crate::still::Moments;
use crate::still::ways::{Stillness, Ways};
use crate::target::TargetEnd;
use anyhow::Result;
use klon_partition::Geometry;
use klon_partition::system::System;
use klon_partition::table::Partition;

/// How sources are opened.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What is done about bad sectors.
    pub bad: BadSectors,
    /// How klon freezes a source that is mounted for writing; `None` when it may not.
    pub moments: Option<Moments>,
    /// How sources are brought to rest otherwise.
    pub ways: &'a Ways,
    /// Whether a journal that awaits recovery is replayed over the source.
    pub replay: &'a ReplayArgs,
    /// Whose filesystem may be shrunk for a target that is too small.
    pub shrinks: Shrinks,
    /// Whether filesystems are laid out for the sectors of the target, where these are others.
    pub adapts: bool,
    /// Whether contents are left out that are worthless on a copy.
    pub skips: bool,
}

/// Which filesystems may be shrunk for targets that are too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shrinks {
    /// None.
    Nothing,
    /// Those that the plan says so of.
    AsPlanned,
    /// Any.
    All,
}

/// A source, and the partition that was opened, if it is one.
pub type Opened = (Option<Partition>, SourceEnd);

impl Sources<'_> {
    /// A source that goes to a disk with such sectors.
    pub fn place(&self, place: Place, sector_bytes: Option<u32>) -> Place {
        Place {
            skips: self.skips,
            ..place.for_sectors(sector_bytes.filter(|_| self.adapts))
        }
    }

    /// Opens a volume or a whole disk, as it would be on a target of `target` geometry.
    ///
    /// # Errors
    /// As [`SourceEnd::open`] and [`live::open_mounted`].
    pub fn open(
        &self,
        place: &Place,
        system: &System,
        target: Option<Geometry>,
    ) -> Result<SourceEnd> {
        match self.bad {
            BadSectors::Around => bad_sectors::open(place, system, target),
            BadSectors::Stop => Ok(self.sound(place, SourceEnd::of, system, target)?.1),
            BadSectors::AroundIfNeeded => match self.sound(place, SourceEnd::of, system, target) {
                Err(error) if bad_sectors::is_unread(&error) => {
                    bad_sectors::open(place, system, target)
                }
                found => Ok(found?.1),
            },
        }
    }

    /// Opens the node of a place, as it would be on a target.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the node can't be found.
    pub fn at_node(&self, place: &Place, system: &System, target: &TargetEnd) -> Result<SourceEnd> {
        let sector_bytes = target.disk().map(|disk| disk.logical_sector_bytes);
        let place = self.place(place.clone().at_node(system)?, sector_bytes);
        self.open(&place, system, target.geometry())
    }

    /// Opens one volume of a plan, for a target with this geometry.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn volume(&self, place: &Place, system: &System, target: Geometry) -> Result<Opened> {
        let sound = || self.sound(place, SourceEnd::volume, system, Some(target));
        let around = || -> Result<_> {
            guard::still(system, &place.path)?;
            let open = place.claim_around(system)?;
            let source = bad_sectors::volume(&open, system, Some(target))?;
            Ok((open.partition, source))
        };
        match self.bad {
            BadSectors::Stop => sound(),
            BadSectors::Around => around(),
            BadSectors::AroundIfNeeded => match sound() {
                Err(error) if bad_sectors::is_unread(&error) => around(),
                found => found,
            },
        }
    }

    /// A source without bad sectors: as it is, by its snapshot, or frozen, whichever is the best.
    fn sound(
        &self,
        place: &Place,
        read: fn(&OpenPlace, &System, Option<Geometry>) -> Result<SourceEnd>,
        system: &System,
        target: Option<Geometry>,
    ) -> Result<Opened> {
        // A frozen source is mounted, so the kernel replays its journal.
        let replaying = place.clone().replaying(self.replay);
        let replaying =
            replaying.shrinking(self.shrinks == Shrinks::All, self.replay.scratch.as_deref());
        let moving = match self.ways.rest(&replaying, system)? {
            Stillness::Claimed(open) => {
                let source = read(&open, system, target)?;
                return Ok((open.partition, source));
            }
            Stillness::Moving(moving) => moving,
        };
        let Some(moments) = self.moments else {
            return Err(moving.into());
        };
        let frozen = match live::open_mounted(place, system, target, moments)? {
            None => live::open_disk(place, system, target, moments)?,
            volume => volume,
        };
        let Some(source) = frozen else {
            return Err(live::explained(moving.into(), place, system, moments)?);
        };
        self.ways.tell_frozen(place, &moving);
        Ok((None, source))
    }
}
