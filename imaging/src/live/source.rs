//! A source in use, as it is at one moment at rest.

use crate::change::Rested;
use crate::change::proven::Session;
use crate::record::Consistency;
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ReadAt};
use std::sync::Arc;

/// A source as it is at one moment at rest.
pub struct LiveSource {
    /// What is read.
    pub source: Arc<dyn ReadAt>,
    /// The bytes of it that are in use.
    pub usage: Usage,
    /// How it is at rest.
    pub consistency: Consistency,
    /// Its volumes; all of it, where it is one.
    pub volumes: Vec<LiveVolume>,
    /// A count that is another one once something was written to a disk past its volumes; `None` where nobody
    /// knows.
    pub written_past: Option<u64>,
}

/// A volume of a source that is in use, as it was found at rest.
pub struct LiveVolume {
    /// The number of its partition; 0 for all of the source.
    pub number: u32,
    /// Where it lies in the source.
    pub part: Extent,
    /// The bytes of it that are in use, at offsets from its own start.
    pub usage: Usage,
    /// How it is at rest; `None` of one that nobody has mounted for writing.
    pub rested: Option<Rested>,
}

impl LiveSource {
    /// One volume, at rest like that.
    #[must_use]
    pub fn of_volume(source: Arc<dyn ReadAt>, usage: Usage, rested: Rested) -> Self {
        let consistency = rested.consistency;
        let whole = source.geometry().extent();
        let volume = |part| LiveVolume {
            number: 0,
            part,
            usage: usage.clone(),
            rested: Some(rested),
        };
        Self {
            volumes: whole.map(volume).into_iter().collect(),
            source,
            usage,
            consistency,
            written_past: None,
        }
    }

    /// The only volume, where the source is one.
    pub(crate) fn itself(&self) -> Option<&LiveVolume> {
        self.volumes.iter().find(|volume| volume.number == 0)
    }

    /// How it is mounted, where it is one volume and the kernel tells its mounts apart.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.itself()?.rested.as_ref()?.session.as_ref()
    }

    /// The volumes that are mounted for writing.
    pub(crate) fn mounted(&self) -> impl Iterator<Item = &LiveVolume> {
        self.volumes.iter().filter(|it| it.rested.is_some())
    }

    /// Those of them that share no byte with another volume: what is written to a volume is no trace in another's
    /// files.
    pub(crate) fn mounted_apart(&self) -> impl Iterator<Item = &LiveVolume> {
        let is_apart =
            |volume: &&LiveVolume| is_apart(volume.part, self.volumes.iter().map(|it| it.part));
        self.mounted().filter(is_apart)
    }
}

/// Whether a volume at `part` shares no byte with another one of `all`.
pub(crate) fn is_apart(part: Extent, all: impl Iterator<Item = Extent>) -> bool {
    all.filter(|other| other.overlaps(part)).count() == 1
}
