//! What of a source is mounted for writing, and whether klon can bring all of it to rest.

use crate::named::Place;
use crate::still::{How, Moments};
use anyhow::Result;
use klon_imaging::Consistency;
use klon_imaging::change::proven::Session;
use klon_imaging::clock::since_1970;
use klon_partition::Extent;
use klon_partition::system::{Disk, DiskPartition, System, Use, session};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A volume that is mounted for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where it lies on the disk that is the source; `None` where it is the source itself.
    pub part: Option<Extent>,
    /// Its node.
    pub node: PathBuf,
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
    /// How it is held; `None` where it can't be, and is read twice.
    pub how: Option<How>,
}

/// What is in use of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// The volumes that are mounted for writing, by where they lie.
    pub mounted: Vec<Mounted>,
    /// The partitions of a disk that are swapped to.
    pub swaps: Vec<Other>,
    /// The other partitions of a disk.
    pub others: Vec<Other>,
}

/// A mount that does not lead to its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Where the volume is mounted.
    pub at: PathBuf,
    /// Where something else is mounted over that.
    pub by: PathBuf,
}

/// A partition that nobody has mounted for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its node.
    pub node: PathBuf,
    /// Where it lies on the disk.
    pub part: Extent,
}

impl Other {
    fn of(partition: &DiskPartition) -> Self {
        Self {
            node: partition.path.clone(),
            part: partition.extent,
        }
    }
}

impl Mounted {
    /// How it is at rest then.
    pub const fn consistency(&self) -> Consistency {
        match self.how {
            Some(How::Frozen) => Consistency::Frozen,
            Some(How::ReadOnly) => Consistency::ReadOnly,
            None => Consistency::ReadTwice,
        }
    }

    /// How it is mounted; `None` where the kernel does not tell its mounts apart.
    pub fn session(&self) -> Option<Session> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let boot = read("/proc/sys/kernel/random/boot_id")?;
        let up = read("/proc/uptime")?;
        let up_seconds: f64 = up.split_whitespace().next()?.parse().ok()?;
        let now = since_1970(SystemTime::now());
        let mounts = session::mounts(&self.node, &self.mounts);
        (!mounts.is_empty()).then(|| Session {
            boot: boot.trim().to_owned(),
            mounts,
            clock_offset_seconds: (now.as_secs_f64() - up_seconds) as i64,
        })
    }
}

impl InUse {
    /// What is in use of a volume. `None` when nothing is, when it can't be brought to rest in the ways of
    /// `moments`, and of what has no node of its own here.
    ///
    /// # Errors
    /// When the system does not say who uses it.
    pub fn of_volume(place: &Place, system: &System, moments: Moments) -> Result<Option<Self>> {
        if !has_node(place) {
            return Ok(None);
        }
        let uses = system.uses(&place.path)?;
        let name = fs::canonicalize(&place.path).unwrap_or_default();
        // Its node need not be named as the kernel names it.
        let logical = system.logical_volume(&place.path)?;
        let is_it = |on: &str| {
            let is_logical = logical.as_ref().is_some_and(|it| it.device == on);
            is_logical || name.ends_with(on)
        };
        let mut used = Self::default();
        for one in uses.iter().filter(|one| one.changes_source()) {
            match one {
                Use::Mounted { at, on, .. } if is_it(on) => {
                    let Some(how) = how(at, &place.path, system, moments) else {
                        return Ok(None);
                    };
                    used.add(None, &place.path, at, how);
                }
                _ => return Ok(None),
            }
        }
        Ok((!used.mounted.is_empty()).then_some(used))
    }

    /// The partitions of a disk that are mounted for writing or used as swap. `None` when this is no partitioned disk,
    /// when something else writes to it (LVM, dm-crypt), or when a partition can't be brought to rest.
    ///
    /// # Errors
    /// As [`of_volume`](Self::of_volume).
    pub fn of_disk(place: &Place, system: &System, moments: Moments) -> Result<Option<Self>> {
        if !has_node(place) {
            return Ok(None);
        }
        let Some(disk) = system.disk_of(&place.path)? else {
            return Ok(None);
        };
        let is_disk = system.locate(&place.path)? == system.locate(&disk.path)?;
        if !is_disk || disk.partitions.is_empty() {
            return Ok(None);
        }
        let mut used = Self::default();
        let uses = system.uses(&place.path)?;
        for one in uses.iter().filter(|one| one.changes_source()) {
            match part_of(one, &disk, system, moments) {
                Some(Part::Mounted(part, at, how)) => {
                    used.add(Some(part.extent), &part.path, at, how);
                }
                Some(Part::Swap(part)) => used.swaps.push(Other::of(part)),
                None => return Ok(None),
            }
        }
        used.sort_out(&disk);
        Ok(Some(used))
    }

    /// What of a disk in use keeps [`of_disk`](Self::of_disk) from bringing it to rest; `None` of anything else, and
    /// where nothing does.
    ///
    /// # Errors
    /// As [`of_volume`](Self::of_volume).
    pub fn obstacle(place: &Place, system: &System, moments: Moments) -> Result<Option<Use>> {
        let disk = match has_node(place) {
            true => system.disk_of(&place.path)?,
            false => None,
        };
        let Some(disk) = disk.filter(|disk| !disk.partitions.is_empty()) else {
            return Ok(None);
        };
        let uses = system.uses(&place.path)?;
        let mut changing = uses.into_iter().filter(Use::changes_source);
        Ok(changing.find(|one| part_of(one, &disk, system, moments).is_none()))
    }

    /// Where something is mounted of `place` that can't be brought to rest, as something else is mounted over it, and
    /// where that is; `None` where nothing is.
    ///
    /// # Errors
    /// As [`of_volume`](Self::of_volume).
    pub fn covered(place: &Place, system: &System) -> Result<Option<Covered>> {
        if !has_node(place) {
            return Ok(None);
        }
        let uses = system.uses(&place.path)?;
        let mut changing = uses.iter().filter(|one| one.changes_source());
        Ok(changing.find_map(|one| match one {
            Use::Mounted { at, on, .. } => {
                let by = system.covered_at(at, &Path::new("/dev").join(on))?;
                Some(Covered { at: at.clone(), by })
            }
            _ => None,
        }))
    }

    fn add(&mut self, part: Option<Extent>, node: &Path, at: &Path, how: How) {
        let mut all = self.mounted.iter_mut();
        match all.find(|it| it.part == part) {
            Some(known) => known.mounts.push(at.to_owned()),
            None => self.mounted.push(Mounted {
                part,
                node: node.to_owned(),
                mounts: vec![at.to_owned()],
                how: Some(how),
            }),
        }
    }

    /// Puts all in order, and notes the partitions that are not in use.
    fn sort_out(&mut self, disk: &Disk) {
        let start = |part: Option<Extent>| part.map(Extent::offset_bytes);
        self.mounted.sort_by_key(|it| start(it.part));
        self.swaps.sort_by_key(|it| it.part.offset_bytes());
        for part in &disk.partitions {
            let is_mounted = self.mounted.iter().any(|it| it.part == Some(part.extent));
            let part = Other::of(part);
            if !is_mounted && !self.swaps.contains(&part) {
                self.others.push(part);
            }
        }
    }

    /// The nodes of all partitions that the kernel knows of a disk.
    pub fn nodes(&self) -> impl Iterator<Item = &Path> {
        let mounted = self.mounted.iter().map(|it| &*it.node);
        let others = self.swaps.iter().chain(&self.others);
        mounted.chain(others.map(|it| &*it.node))
    }

    /// Whether nothing of it is in use.
    pub const fn is_nothing(&self) -> bool {
        self.mounted.is_empty() && self.swaps.is_empty()
    }

    /// The volumes that can't be brought to rest.
    pub fn read_twice(&self) -> impl Iterator<Item = &Mounted> {
        self.mounted.iter().filter(|it| it.how.is_none())
    }

    /// Whether this is in use still, and nothing else, as `now` says while all of it is at rest. What is read-only
    /// then does not show.
    pub fn is_all(&self, now: &Self) -> bool {
        let is_frozen = |it: &Mounted| it.how == Some(How::Frozen);
        let is_in = |all: &[Mounted], one: &Mounted| {
            all.iter().any(|it| {
                (it.part, &it.node, is_frozen(it)) == (one.part, &one.node, is_frozen(one))
            })
        };
        let mut frozen = self.mounted.iter().filter(|it| is_frozen(it));
        frozen.all(|one| is_in(&now.mounted, one))
            && now.mounted.iter().all(|one| is_in(&self.mounted, one))
            && self.swaps == now.swaps
    }

    /// How all of it is at rest then, in one word: not at rest where any of it is not, and else frozen where any of it
    /// is.
    pub fn consistency(&self) -> Consistency {
        let all = || self.mounted.iter().map(Mounted::consistency);
        let words = [Consistency::ReadTwice, Consistency::Frozen];
        let found = words.into_iter().find(|word| all().any(|it| it == *word));
        found.or_else(|| all().next()).unwrap_or(Consistency::Still)
    }
}

/// Whether it is a device or file of this machine, and all of it.
fn has_node(place: &Place) -> bool {
    place.number.is_none() && place.image.is_none() && !place.is_export()
}

/// A partition in a use that does not keep it from being imaged.
enum Part<'d> {
    /// Where it is mounted, and how it is held.
    Mounted(&'d DiskPartition, &'d Path, How),
    Swap(&'d DiskPartition),
}

/// Which partition is used so; `None` where something else is, or something that can't be brought to rest.
fn part_of<'d>(
    one: &'d Use,
    disk: &'d Disk,
    system: &System,
    moments: Moments,
) -> Option<Part<'d>> {
    match one {
        Use::Mounted { at, on, .. } => {
            let part = named(disk, on)?;
            let how = how(at, &part.path, system, moments)?;
            Some(Part::Mounted(part, at, how))
        }
        Use::Swap { on } => named(disk, on).map(Part::Swap),
        _ => None,
    }
}

fn named<'a>(disk: &'a Disk, name: &str) -> Option<&'a DiskPartition> {
    disk.partitions.iter().find(|part| part.name == name)
}

/// How what is mounted there of `node` is held, if it can be. What another mount covers can't: the other one would
/// be held in its place.
fn how(at: &Path, node: &Path, system: &System, moments: Moments) -> Option<How> {
    let kind = system.mount_point(at)?;
    moments.how(&kind).filter(|_| system.leads_to(at, node))
}
