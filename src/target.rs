//! Targets: looked at, and opened for writing.

pub mod look;
pub mod open;
pub mod same;

use crate::named::Place;
use crate::named::open::OpenPlace;
use klon_partition::system::{Disk, Location};
use klon_partition::{Geometry, Identity};

/// A target before it is opened for writing: looked at only.
pub struct TargetEnd {
    /// What it is.
    pub place: Place,
    /// What is there now; `None` for a file that does not exist yet.
    pub now: Option<TargetNow>,
    /// How it is recognized.
    pub identity: Identity,
    /// The name of its partition, when it is one that plans give to clones.
    pub clone_name: Option<String>,
}

/// What is at a target now.
pub struct TargetNow {
    /// What is on the device, or on the disk that the partition is on.
    pub open: OpenPlace,
    /// Where it lies.
    pub location: Location,
    /// The disk that it lies on; `None` for a file.
    pub disk: Option<Disk>,
}

impl TargetEnd {
    /// Its geometry, if it exists.
    pub fn geometry(&self) -> Option<Geometry> {
        self.now.as_ref().map(|now| now.open.device.geometry())
    }

    /// The disk that it lies on, if it is on one and exists.
    pub fn disk(&self) -> Option<&Disk> {
        self.now.as_ref()?.disk.as_ref()
    }
}
