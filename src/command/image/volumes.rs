//! The volumes of what is imaged: their files can show what changed since the snapshot before, and they may be
//! clones that end before their partitions do.

use super::{Asked, What, partitions};
use crate::named::identity::partition_identity;
use crate::source::SourceEnd;
use crate::source::clone_end::{self, Imaged};
use klon_imaging::change::proven::Continuity;
use klon_imaging::image::{PartitionId, SourceVolume, Volumes};
use klon_partition::Extent;
use klon_partition::filesystem::Usage;

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

/// The partitions of a disk with the ends of the clones on them, and the end of the clone that the whole
/// source is. Records tell these ends. They are told only where something lies behind them.
pub(super) fn ends(
    what: &What<'_>,
    usage: &Usage,
    asked: Asked<'_>,
) -> (Vec<PartitionId>, Option<u64>) {
    let (source, records) = (what.source, asked.records);
    let end_in = |name: &str, place: Extent, end_bytes: Option<u64>| {
        let behind_bytes = clone_end::behind_bytes(place, end_bytes?, usage);
        if behind_bytes > 0 && !asked.common.quiet {
            clone_end::announce(name, end_bytes?, behind_bytes);
        }
        end_bytes.filter(|_| behind_bytes > 0)
    };
    let whole = what.device.geometry().extent();
    let own = clone_end::of(source, records);
    let own = whole.and_then(|whole| end_in(&source.name, whole, own));
    let Some(table) = &source.table else {
        return (Vec::new(), own);
    };
    let mut all = partitions(what.layout, &usage.used());
    for partition in &mut all {
        let mut named = table.partitions.iter();
        let named = named.find(|it| it.number == partition.number);
        let identity = named.and_then(|it| partition_identity(table, it));
        let recognized = what.recognized(partition.extent);
        let imaged = Imaged {
            disk: what.device,
            partition,
            recognized,
            identity,
        };
        let end_bytes = clone_end::of_partition(imaged, records);
        let name = format!("{}:{}", source.name, partition.number);
        partition.clone_bytes = end_in(&name, partition.extent, end_bytes);
    }
    (all, own)
}
