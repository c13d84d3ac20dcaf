//! Where a path's bytes really lie, so that two names of one thing are known to be one.

use super::block_device::{BlockDevice, LoopFile};
use super::{DeviceNumber, Object, System};
use crate::device::FileId;
use crate::error::{Error, Result};
use crate::extent::Extent;
use std::path::Path;

/// A thing that holds bytes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// A whole block device.
    Device(DeviceNumber),
    /// A plain file.
    File(FileId),
    /// Something that another machine or a program shows, wherever that has it.
    Elsewhere,
}

/// Which bytes of which thing a path stands for. Links, partitions and loop devices are seen
/// through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// What holds the bytes.
    pub base: Base,
    /// Which of them; `None` for something empty.
    pub extent: Option<Extent>,
    /// What a device-mapper or RAID device is built on, all layers of it.
    pub slaves: Vec<Slave>,
}

impl Location {
    /// Where `part` of it lies.
    #[must_use]
    pub fn part(self, part: Extent) -> Self {
        let start_bytes = self.extent.map_or(0, Extent::offset_bytes);
        Self {
            extent: part.shifted(start_bytes),
            ..self
        }
    }
}

/// A device beneath a device-mapper or RAID device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slave {
    /// What holds the bytes.
    pub base: Base,
    /// Which of them the upper device may use.
    pub extent: Option<Extent>,
    /// Whether LVM or kpartx gives the upper device bytes that none of its siblings has.
    pub is_shared_out: bool,
}

/// How two locations lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They share nothing.
    Unrelated,
    /// They are the same bytes.
    Same,
    /// The first is a part of the second.
    Inside,
    /// The second is a part of the first.
    Around,
    /// They share some bytes.
    Overlaps,
    /// They stand on the same device, and nothing shows that they use different bytes of it.
    MayOverlap,
}

/// How `a` lies to `b`.
#[must_use]
pub fn relation(a: &Location, b: &Location) -> Relation {
    if [a.base, b.base].contains(&Base::Elsewhere) {
        return Relation::Unrelated;
    }
    if a.base == b.base {
        return relate_extents(a.extent, b.extent);
    }
    let is_on = |upper: &Location, lower: &Location| {
        let mut slaves = upper.slaves.iter();
        slaves.any(|slave| {
            slave.base == lower.base
                && relate_extents(slave.extent, lower.extent) != Relation::Unrelated
        })
    };
    if is_on(a, b) {
        Relation::Inside
    } else if is_on(b, a) {
        Relation::Around
    } else if a.slaves.iter().any(|slave| may_meet(slave, &b.slaves)) {
        Relation::MayOverlap
    } else {
        Relation::Unrelated
    }
}

/// Whether two upper devices may use the same bytes of one beneath: the kernel lets any number of
/// device-mapper volumes stand on the same.
fn may_meet(slave: &Slave, others: &[Slave]) -> bool {
    others.iter().any(|other| {
        other.base == slave.base
            && !(other.is_shared_out && slave.is_shared_out)
            && relate_extents(slave.extent, other.extent) != Relation::Unrelated
    })
}

fn relate_extents(a: Option<Extent>, b: Option<Extent>) -> Relation {
    match (a, b) {
        (a, b) if a == b => Relation::Same,
        (Some(a), Some(b)) if b.contains(a) => Relation::Inside,
        (Some(a), Some(b)) if a.contains(b) => Relation::Around,
        (Some(a), Some(b)) if a.overlaps(b) => Relation::Overlaps,
        _ => Relation::Unrelated,
    }
}

/// Layers of loop devices, device-mapper and RAID beyond this are refused to be followed.
const DEPTH_MAX: u32 = 16;

impl System {
    /// Finds where the bytes of `path` really lie.
    ///
    /// # Errors
    /// [`Error::Open`] when there is nothing at `path`, [`Error::Invalid`] when it is neither a
    /// block device nor a plain file.
    pub fn locate(&self, path: &Path) -> Result<Location> {
        let object = self.object(path)?;
        self.locate_object(&object, 0)
    }

    pub(super) fn locate_object(&self, object: &Object, depth: u32) -> Result<Location> {
        if depth > DEPTH_MAX {
            return Err(Error::unsupported(
                "a device on more than 16 layers of others",
                "name one of those beneath it",
            ));
        }
        match object {
            Object::File { id, size_bytes, .. } => Ok(Location {
                base: Base::File(*id),
                extent: Extent::new(0, *size_bytes),
                slaves: Vec::new(),
            }),
            Object::Device(index) => match self.device(*index) {
                Some(device) => self.locate_device(device, depth),
                None => Err(Error::Invalid("a device outside the snapshot".to_owned())),
            },
        }
    }

    fn locate_device(&self, device: &BlockDevice, depth: u32) -> Result<Location> {
        if let Some(partition) = &device.partition
            && let Some(disk) = self.index_of_name(&partition.disk)
        {
            let disk = self.locate_object(&Object::Device(disk), depth + 1)?;
            return Ok(inner(disk, partition.start_bytes, device.size_bytes));
        }
        if let Some(backing) = &device.loop_file
            && let Some(below) = self.locate_backing(backing, depth)?
        {
            return Ok(inner(below, backing.offset_bytes, device.size_bytes));
        }
        let mut slaves = Vec::new();
        for slave in device
            .slaves
            .iter()
            .filter_map(|name| self.index_of_name(name))
        {
            let below = self.locate_object(&Object::Device(slave), depth + 1)?;
            slaves.push(Slave {
                base: below.base,
                extent: below.extent,
                is_shared_out: device.is_shared_out,
            });
            slaves.extend(below.slaves.into_iter().map(|slave| Slave {
                is_shared_out: slave.is_shared_out || device.is_shared_out,
                ..slave
            }));
        }
        Ok(Location {
            base: Base::Device(device.number),
            extent: Extent::new(0, device.size_bytes),
            slaves,
        })
    }
}

impl System {
    /// Where the bytes of what a loop device shows lie; `None` when that can't be told.
    fn locate_backing(&self, backing: &LoopFile, depth: u32) -> Result<Option<Location>> {
        let named = self.object(&self.real(&backing.path));
        match (named.ok().filter(|_| !backing.is_deleted), backing.id) {
            (Some(object), _) => self.locate_object(&object, depth + 1).map(Some),
            // Its name is gone, but it may have others.
            (None, Some(id)) => Ok(Some(Location {
                base: Base::File(id),
                extent: None,
                slaves: Vec::new(),
            })),
            (None, None) => Ok(None),
        }
    }
}

/// The `len_bytes` bytes from `start_bytes` of what `outer` is.
fn inner(outer: Location, start_bytes: u64, len_bytes: u64) -> Location {
    let base_bytes = outer.extent.map_or(0, Extent::offset_bytes);
    Location {
        extent: base_bytes
            .checked_add(start_bytes)
            .and_then(|start_bytes| Extent::new(start_bytes, len_bytes)),
        ..outer
    }
}
