//! Where a clone ends if its target was larger than its source. What lies behind was on the drive
//! before. The record of the clone says so, and images of the clone keep it.

use crate::human;
use crate::messages::say;
use crate::source::SourceEnd;
use klon_imaging::RecordStore;
use klon_imaging::image::PartitionId;
use klon_partition::filesystem::{Kind, Usage};
use klon_partition::table::{Scheme, Table};
use klon_partition::{Extent, Identity};

/// What a filesystem is told by.
type Filesystem<'a> = Option<(Kind, Option<&'a str>)>;

/// Where the clone ends that is on a volume or disk of this identity, if the filesystem there is still
/// that of the clone, and its table this one.
fn recorded(
    identity: &Identity,
    (now, table): (Filesystem<'_>, Option<&Table>),
    records: &RecordStore,
) -> Option<u64> {
    let record = records.load(identity).ok().flatten()?;
    let manifest = &record.manifest;
    let then = manifest.filesystem.as_ref();
    let then = then.map(|it| (it.kind, it.uuid.as_deref()));
    let gpt = table.filter(|table| table.scheme == Scheme::Gpt);
    let end_bytes = gpt.map_or(manifest.source_bytes, |table| {
        // Its backup was made for the end of the target, however large the source was.
        let backup = Extent::between(table.usable.end_bytes(), manifest.target_bytes);
        let backup = backup.into_iter().collect();
        record.wanted().difference(&backup).end_bytes()
    });
    (then == now).then_some(end_bytes)
}

/// Where the clone ends that a source is, or that was imaged.
pub fn of(source: &SourceEnd, records: &RecordStore) -> Option<u64> {
    let Some(snapshot) = &source.snapshot else {
        let summary = source.usage.summary.as_ref();
        let now = summary.map(|it| (it.kind, it.uuid.as_deref()));
        return recorded(&source.identity, (now, source.table.as_ref()), records);
    };
    let meta = snapshot.meta();
    if source.start_bytes == 0 {
        return meta.clone_bytes;
    }
    let mut partitions = meta.partitions.iter();
    let of = partitions.find(|it| it.extent.offset_bytes() == source.start_bytes);
    of.and_then(|partition| partition.clone_bytes)
}

/// The same of a partition of a disk that is imaged.
pub fn of_partition(
    partition: &PartitionId,
    identity: Option<Identity>,
    records: &RecordStore,
) -> Option<u64> {
    let filesystem = partition.filesystem.as_ref();
    let now = filesystem.map(|it| (it.kind, it.uuid.as_deref()));
    recorded(&identity?, (now, None), records)
}

/// How much of what nobody proved free lies behind the end of a clone.
pub fn behind_bytes(place: Extent, clone_bytes: u64, usage: &Usage) -> u64 {
    let start_bytes = place.offset_bytes().saturating_add(clone_bytes);
    let behind = Extent::between(start_bytes, place.end_bytes());
    let parts = behind
        .into_iter()
        .flat_map(|behind| usage.unproven.within(behind));
    parts.map(Extent::len_bytes).sum()
}

/// Says how much of what is imaged lies behind the end of the clone.
pub fn announce(name: &str, clone_bytes: u64, behind_bytes: u64) {
    say(&format!(
        "klon: {name}: {} lie behind the end of the clone there ({}, by its record). klon images them, \
         too. A restore to a smaller drive leaves them out",
        human::size(behind_bytes),
        human::size(clone_bytes)
    ));
}
