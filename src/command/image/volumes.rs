//! The volumes of what is imaged, whose files can show what changed since the snapshot before.

use super::{Asked, What};
use crate::source::SourceEnd;
use klon_imaging::change::proven::Continuity;
use klon_imaging::image::{SourceVolume, Volumes};
use klon_partition::Extent;

/// The volumes; `None` where none can show anything: a snapshot, a copy of a source with bad sectors.
pub(super) fn volumes<'a>(
    what: &'a What<'_>,
    asked: Asked<'a>,
    continuity: Option<&'a Continuity>,
) -> Option<Volumes<'a>> {
    let SourceEnd {
        snapshot, salvaged, ..
    } = what.source;
    let is_copy = snapshot.is_some() || salvaged.is_some() || asked.args.rescue.is_some();
    let whole = what.device.geometry().extent();
    let whole = whole.filter(|_| !is_copy)?;
    Some(Volumes {
        records: asked.records,
        continuity,
        written_by: &what.source.written_by,
        all: all(what, whole),
    })
}

fn all<'a>(what: &'a What<'_>, whole: Extent) -> Vec<SourceVolume<'a>> {
    if what.source.table.is_none() && what.source.volumes.is_empty() {
        return vec![SourceVolume {
            number: 0,
            part: whole,
            usage: what.usage,
            rested: what.source.rested.as_ref(),
        }];
    }
    let volumes = what.source.volumes.iter();
    let volume = |volume: &'a klon_partition::inspect::VolumeUsage| {
        let partition = volume.partition.as_ref();
        SourceVolume {
            number: partition.map_or(0, |partition| partition.number),
            part: volume.extent,
            usage: &volume.usage,
            rested: what.source.rested.as_ref(),
        }
    };
    volumes.map(volume).collect()
}
