//! What a place is known by: its identity, where it lies, and the disk that it is on. The system is asked once
//! for each, and the answer is kept.

use super::Place;
use super::identity::{identity_of, is_clone_name, partition_identity};
use super::open::{Looked, OpenPlace};
use super::parent::Parent;
use anyhow::Result;
use klon_partition::system::{Base, Disk, Location, System};
use klon_partition::{Identity, Shown as _};
use std::sync::OnceLock;

/// What a place is known by.
pub struct Known {
    /// How it is recognized.
    pub identity: Identity,
    /// Where its bytes really lie.
    pub location: Location,
    /// The name of its partition, when it is one that plans give to clones.
    pub clone_name: Option<String>,
}

/// The answer that is kept, or else the one that is found now.
fn kept<T>(cell: &OnceLock<T>, find: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let found = find()?;
    Ok(cell.get_or_init(|| found))
}

impl Place {
    /// Where its bytes really lie. Those of an export can be anywhere.
    ///
    /// # Errors
    /// When the system doesn't say where its bytes lie.
    pub fn locate(&self, system: &System) -> Result<Location> {
        if self.is_export() {
            return Ok(Location {
                base: Base::Elsewhere,
                extent: None,
                slaves: Vec::new(),
            });
        }
        Ok(system.locate(&self.path)?)
    }
}

impl OpenPlace {
    /// What it is known by.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn known(&self, system: &System) -> Result<Known> {
        Ok(Known {
            identity: self.identity(system)?,
            location: self.location(system)?,
            clone_name: self.clone_name(system)?,
        })
    }

    /// The device or file, as far as the system tells where that lies.
    fn whole(&self, system: &System) -> Result<&Location> {
        kept(&self.looked.whole, || self.place.locate(system))
    }

    /// The disk that it lies on; `None` for a file, and for what is on a server.
    ///
    /// # Errors
    /// When the system doesn't say which disk the node is of.
    pub fn disk(&self, system: &System) -> Result<Option<&Disk>> {
        let find = || match self.place.is_export() {
            true => Ok(None),
            false => Ok(system.disk_of(&self.place.path)?),
        };
        Ok(kept(&self.looked.disk, find)?.as_ref())
    }

    /// The disk of the partition node that it is; `None` if the place is no partition node. klon inspects the
    /// disk once and keeps the result.
    ///
    /// # Errors
    /// When the system doesn't say which disk the node is of.
    pub fn parent(&self, system: &System) -> Result<Option<&Parent>> {
        let find = || match self.disk(system)? {
            Some(disk) => Parent::find(disk, self.whole(system)?, system),
            None => Ok(None),
        };
        Ok(kept(&self.looked.parent, find)?.as_ref())
    }

    /// The same place, on a disk that was looked at already.
    pub fn on_drive(self, disk: Disk, drive: Parent) -> Self {
        Self {
            looked: Looked {
                disk: OnceLock::from(Some(disk)),
                parent: OnceLock::from(Some(drive)),
                ..self.looked
            },
            ..self
        }
    }

    /// The name of its partition, or of the first on a disk, when it is one that plans give to
    /// clones.
    fn clone_name(&self, system: &System) -> Result<Option<String>> {
        let own = match &self.partition {
            Some(partition) => Some(partition.clone()),
            None => self
                .parent(system)?
                .and_then(|parent| parent.partition.clone()),
        };
        let first = || Some(self.layout.table.as_ref()?.partitions.first()?.clone());
        let name = own.or_else(first).map(|partition| partition.name);
        Ok(name.filter(|name| is_clone_name(name)))
    }

    /// Where its bytes really lie.
    ///
    /// # Errors
    /// When the system doesn't say where its bytes lie.
    pub fn location(&self, system: &System) -> Result<Location> {
        let whole = self.whole(system)?.clone();
        Ok(match &self.partition {
            // What is in an image lies anywhere in its file.
            Some(partition) if self.snapshot.is_none() && self.container.is_none() => {
                whole.part(partition.extent)
            }
            _ => whole,
        })
    }

    /// How it is recognized.
    ///
    /// # Errors
    /// As [`parent`](Self::parent), and when a plain path leads to nothing.
    pub fn identity(&self, system: &System) -> Result<Identity> {
        if let (Some(table), Some(partition)) = (&self.layout.table, &self.partition)
            && let Some(identity) = partition_identity(table, partition)
        {
            return Ok(identity);
        }
        // An image is a carrier of what it was made of.
        if let (Some(snapshot), None) = (&self.snapshot, &self.partition) {
            return Ok(snapshot.meta().source.clone());
        }
        if let Some(parent) = self.parent(system)?
            && let Some(identity) = parent.identity()
        {
            return Ok(identity);
        }
        self.disk_identity(system)
    }

    /// How the whole disk or file is recognized again, also where this is a partition of it.
    ///
    /// # Errors
    /// When the system can't be asked, or the path leads to nothing.
    pub fn disk_identity(&self, system: &System) -> Result<Identity> {
        if self.place.is_export() {
            return Ok(Identity::Path(self.place.path.shown()));
        }
        identity_of(system, &self.place.path, &self.layout)
    }
}
