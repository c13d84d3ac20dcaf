//! A new disk, and what comes back to it.

use crate::boot_code::BootCode;
use crate::error::{refused, usage};
use crate::guard::{self, Protected};
use crate::human;
use crate::inventory::scan_around;
use crate::jobs::planned::{partition_place, planned_partition};
use crate::lay_out::{self, Marked, WantedTable};
use crate::named::Place;
use crate::named::identity::{disk_identity, identity_of, partition_identity};
use crate::named::open::OpenPlace;
use crate::source::{SourceEnd, contained};
use crate::still::ways::Ways;
use anyhow::{Context as _, Result};
use klon_imaging::mark::Mark;
use klon_partition::planner::{
    Change, Original, Plan, PlannedVolume, Returning, SizePolicy, WayBack,
};
use klon_partition::system::System;
use klon_partition::table::{Partition, Rewrite, Table};
use klon_partition::text::quoted;
use klon_partition::{ExtentMap, Geometry, Identity, Outside, ReadAt, Shown};

/// A disk to which the clones of one original come back.
pub struct NewDisk<'a> {
    /// As it was looked at.
    pub open: OpenPlace,
    /// How it is recognized, and what must be named to consent to overwriting it.
    pub identity: Identity,
    /// The disk that it replaces, as the plan or the image describes that.
    pub original: &'a Original,
    /// Which of the two it is, in words.
    pub carrier: &'static str,
    /// Whether its table is of another kind than it was.
    pub is_converted: bool,
    /// What comes back.
    pub back: Vec<Back>,
    /// Its table, once it is laid out.
    pub way: Option<WayBack>,
    /// What that changes.
    pub changes: Vec<Change>,
    /// Bytes in no partition that are not zero, and that the table overwrites.
    pub covered: ExtentMap,
}

/// A clone that comes back.
pub struct Back {
    /// The name of the clone.
    pub name: String,
    /// The name of its source.
    pub group: String,
    /// The number that the original had.
    pub number: u32,
    /// The clone on the backup drive, or the partition in the image.
    pub open: OpenPlace,
    /// The size that it should have.
    pub returning: Returning,
    /// What is read of it. That is known once the disk is laid out.
    pub source: Option<SourceEnd>,
}

impl Back {
    /// The partition that it comes back to.
    pub fn partition<'a>(&self, way: &'a WayBack) -> Result<&'a Partition> {
        let found = way.partition(self.number);
        found.with_context(|| format!("{} was given no place", self.name))
    }
}

/// A new disk, and the sources of the plan that come back to it.
pub struct Wanted {
    /// The disk.
    pub place: Place,
    /// The names of the sources.
    pub groups: Vec<String>,
}

impl<'a> NewDisk<'a> {
    /// Looks at the disk that is wanted, and at the clones on `drive` that come back to it.
    ///
    /// # Errors
    /// When the disk is in use, is none, or lies on the drive; when the plan does not say what the
    /// original was; when a clone is not there.
    pub fn look(
        wanted: &Wanted,
        plan: &'a Plan,
        drive: &OpenPlace,
        system: &System,
    ) -> Result<Self> {
        let Wanted { place, groups } = wanted;
        let original = original_of(plan, groups, drive)?;
        let open = target(place, system)?;
        let (location, on) = (open.location(system)?, drive.location(system)?);
        let protected = Protected {
            name: &drive.place.path.shown(),
            location: &on,
        };
        guard::apart(&place.given, &location, &protected)?;
        let identity = identity_of(system, &place.path, &open.layout)?;
        let mut back = Vec::new();
        let is_meant = |volume: &&PlannedVolume| groups.contains(&volume.group);
        for volume in plan.volumes.iter().filter(is_meant) {
            let clone = look_at_clone(volume, original, drive, system);
            back.push(clone.with_context(|| volume.name.clone())?);
        }
        let disk = Self::new(open, identity, original, "plan");
        Ok(Self { back, ..disk })
    }

    /// The disk that was looked at, to which nothing comes back yet.
    pub const fn new(
        open: OpenPlace,
        identity: Identity,
        original: &'a Original,
        carrier: &'static str,
    ) -> Self {
        Self {
            open,
            identity,
            original,
            carrier,
            is_converted: false,
            back: Vec::new(),
            way: None,
            changes: Vec::new(),
            covered: ExtentMap::new(),
        }
    }

    /// Refuses a disk that shares bytes with another target of this run, or takes the place of the same
    /// original.
    ///
    /// # Errors
    /// [`refused`] and [`usage`] name the two.
    pub fn check_apart(&self, others: &[Self], system: &System) -> Result<()> {
        let location = self.open.location(system)?;
        for other in others {
            let theirs = other.open.location(system)?;
            let protected = Protected {
                name: &other.open.place.given,
                location: &theirs,
            };
            guard::apart(&self.open.place.given, &location, &protected)?;
            if self.original == other.original {
                return Err(usage(format!(
                    "{} and {} were on one disk, and come back to one. Name the same disk for both",
                    other.groups(),
                    self.groups()
                )));
            }
        }
        Ok(())
    }

    /// Lays the disk out.
    ///
    /// # Errors
    /// When something does not fit, or what is on the disk can't be replaced.
    pub fn lay_out(&mut self, sizes: &[(String, SizePolicy)], makes_empty: bool) -> Result<()> {
        let returning: Vec<Returning> = self
            .back
            .iter()
            .map(|back| back.returning.clone())
            .collect();
        let geometry = self.open.device.geometry();
        let way = self
            .original
            .way_back(geometry, &returning, sizes, makes_empty)
            .with_context(|| self.open.place.given.clone())?;
        self.changes = changes(self.open.layout.believed_table(), &way.table);
        if !self.changes.is_empty() {
            let device = &self.open.device;
            let rewrite = Rewrite::plan(device, device, &way.table)
                .with_context(|| self.open.place.path.shown())?;
            self.covered = rewrite.covered().clone();
        }
        self.way = Some(way);
        Ok(())
    }

    /// How it is laid out.
    ///
    /// # Errors
    /// When it was not yet.
    pub fn way(&self) -> Result<&WayBack> {
        self.way.as_ref().context("the disk was not laid out")
    }

    /// Refuses to make a second disk with the identities of one that is attached: nobody could tell them
    /// apart, least of all what boots by them.
    ///
    /// # Errors
    /// [`refused`] names the other.
    pub fn refuse_twice(&self, system: &System) -> Result<()> {
        let table = &self.way()?.table;
        let ids = identities(table);
        let here = self.open.location(system)?;
        for entry in scan_around(system) {
            let theirs = entry
                .layout
                .as_ref()
                .ok()
                .and_then(|layout| layout.table.as_ref());
            let Some(theirs) = theirs else { continue };
            let shared = identities(theirs).into_iter().find(|id| ids.contains(id));
            if let Some(shared) = shared
                && system.locate(&entry.disk.path)? != here
            {
                return Err(refused(format!(
                    "{} has the identity {shared} that {} is to have: the original, or another copy of \
                     it. Detach it first. Nothing was written",
                    entry.disk.path.shown(),
                    self.open.place.given
                )));
            }
        }
        Ok(())
    }

    /// Opens the clones, as they will be in their places.
    ///
    /// # Errors
    /// When one can't be read, is unfinished, or does not fit.
    pub fn open_sources(&mut self, outside: Outside, adapts: bool, system: &System) -> Result<()> {
        let way = self.way.as_ref().context("the disk was not laid out")?;
        let sector_bytes = self.open.device.geometry().logical_sector_bytes;
        for back in &mut self.back {
            let extent = back.partition(way)?.extent;
            let target = Geometry::new(extent.len_bytes(), sector_bytes);
            back.open.place.sectors = adapts.then_some(sector_bytes);
            let source = SourceEnd::volume(&back.open, system, Some(target));
            let mut source = source.with_context(|| back.name.clone())?;
            source.name.clone_from(&back.name);
            source.limit(outside);
            back.source = Some(source);
        }
        Ok(())
    }

    /// Writes the table and the boot code.
    ///
    /// # Errors
    /// When the disk was changed meanwhile, or can't be written.
    pub fn write(&self, system: &System) -> Result<()> {
        let way = self.way()?;
        let code = BootCode::of(self.original, &way.table);
        // A run that was interrupted may have written the one without the other.
        if self.changes.is_empty() && code.is_on(&*self.open.device)? {
            return Ok(());
        }
        let marked = self.marked(way)?;
        let wanted = WantedTable {
            table: &way.table,
            changes: &self.changes,
            marked: &marked,
        };
        lay_out::carry_out(&self.open, &wanted, system, |target| code.write(target))
    }

    /// The new partitions to which something comes back.
    fn marked(&self, way: &WayBack) -> Result<Vec<Marked>> {
        let mut marked = Vec::new();
        for back in &self.back {
            let partition = back.partition(way)?;
            let is_new = |change: &Change| matches!(change, Change::Create { partition: new } if new.extent == partition.extent);
            if let Some(source) = back
                .source
                .as_ref()
                .filter(|_| self.changes.iter().any(is_new))
            {
                marked.push(Marked {
                    start_bytes: partition.extent.offset_bytes(),
                    mark: Mark::new(&source.identity.to_string()),
                });
            }
        }
        Ok(marked)
    }

    /// The names of what comes back, for people.
    pub fn groups(&self) -> String {
        let mut groups: Vec<&str> = self.back.iter().map(|back| back.group.as_str()).collect();
        groups.dedup();
        groups.join(", ")
    }

    /// Whether an identity is of this original, or of a partition of it that comes back.
    pub fn brings(&self, identity: &Identity) -> bool {
        let is_it = |partition: &Partition| {
            let partuuid = self.original.partuuid(partition);
            partuuid.is_some_and(|partuuid| *identity == Identity::PartUuid(partuuid))
        };
        let mut partitions = self.original.partitions.iter();
        *identity == self.original.identity || partitions.any(is_it)
    }
}

/// The disk that is named as a target, looked at.
///
/// # Errors
/// When it is in use, or no disk.
pub fn target(place: &Place, system: &System) -> Result<OpenPlace> {
    place.refuse_export("can't be a target")?;
    if place.image.is_some() || place.number.is_some() {
        return Err(usage(format!(
            "{}: expected a whole disk, or a file for one",
            place.given
        )));
    }
    guard::unused(system, &place.path)?;
    let open = place.clone().into_raw().open()?;
    if open.parent(system)?.is_some() {
        return Err(usage(format!(
            "{} is a partition. A source comes back to a whole disk",
            place.given
        )));
    }
    guard::beside_others(&open)?;
    Ok(open)
}

/// The original of `groups`, which lay on one disk.
fn original_of<'a>(plan: &'a Plan, groups: &[String], drive: &OpenPlace) -> Result<&'a Original> {
    let mut found: Option<&Original> = None;
    for group in groups {
        let mut originals = plan.originals.iter();
        let own = originals.find(|original| original.groups.contains(group));
        let Some(own) = own else {
            let volumes = plan.volumes.iter().filter(|volume| volume.group == *group);
            let number = volumes.map(|volume| volume.number).next().unwrap_or(1);
            return Err(refused(format!(
                "the plan does not say which table the disk of {group} had: the source was a single volume, \
                 or an earlier klon made the plan. `klon plan` makes a new one while the source is attached. \
                 `klon clone {}:{number} TARGET` brings a single volume back",
                drive.place.path.shown()
            )));
        };
        if found.is_some_and(|found| found != own) {
            return Err(usage(format!(
                "{} were not on one disk. Name a disk for each",
                groups.join(" and ")
            )));
        }
        found = Some(own);
    }
    found.ok_or_else(|| usage("expected NAME=DISK"))
}

fn look_at_clone(
    volume: &PlannedVolume,
    original: &Original,
    drive: &OpenPlace,
    system: &System,
) -> Result<Back> {
    let partition = planned_partition(volume, drive)?;
    let disk = system.disk_of(&drive.place.path)?;
    let place = partition_place(&volume.name, &partition, drive, disk.as_ref());
    let open = Ways::none().claim(&place, system)?;
    let source = &volume.source;
    let number = original
        .number_of(source.partuuid.as_deref(), source.partition)
        .ok_or_else(|| {
            refused("its source is none of the partitions of the original in the plan")
        })?;
    let mut partitions = original.partitions.iter();
    let before = partitions.find(|before| before.number == number);
    let before_bytes = before.map_or(volume.source_bytes, |before| before.extent.len_bytes());
    let usage = contained::by_disk(open.usage()?, &open, system)?;
    let own_bytes = open.device.geometry().size_bytes;
    // Where nothing says where it ends, all that the clone has comes back.
    let least_bytes = usage.end_bytes(own_bytes).unwrap_or(own_bytes);
    Ok(Back {
        name: volume.name.clone(),
        group: volume.group.clone(),
        number,
        returning: Returning {
            group: volume.group.clone(),
            number,
            size_bytes: before_bytes.max(least_bytes),
            least_bytes,
        },
        open,
        source: None,
    })
}

/// What `wanted` changes on a disk whose table is `current`; nothing if they are equal.
fn changes(current: Option<&Table>, wanted: &Table) -> Vec<Change> {
    let before = current.map_or(&[][..], |table| &table.partitions);
    let is_same = |current: &Table| {
        disk_identity(current) == disk_identity(wanted)
            && current.scheme == wanted.scheme
            && current.logical_sector_bytes == wanted.logical_sector_bytes
            && current.partitions == wanted.partitions
    };
    if current.is_some_and(is_same) {
        return Vec::new();
    }
    let scheme = wanted.scheme;
    let removed = before.iter().cloned();
    let created = wanted.partitions.iter().cloned();
    std::iter::once(Change::NewTable { scheme })
        .chain(removed.map(|partition| Change::Remove { partition }))
        .chain(created.map(|partition| Change::Create { partition }))
        .collect()
}

/// What a table says that is to be there once in a computer.
fn identities(table: &Table) -> Vec<Identity> {
    let partitions = table.partitions.iter();
    let of_partitions = partitions.filter_map(|partition| partition_identity(table, partition));
    disk_identity(table)
        .into_iter()
        .chain(of_partitions)
        .collect()
}

/// A partition for people.
pub fn named(partition: &Partition) -> String {
    let size = human::size(partition.extent.len_bytes());
    match partition.name.as_str() {
        "" => format!("partition {} ({size})", partition.number),
        name => format!("partition {} {} ({size})", partition.number, quoted(name)),
    }
}
