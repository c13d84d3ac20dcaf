//! Where a clone ends if its target was larger than its source. What lies behind was on the drive
//! before. The record of the clone says so, and images of the clone keep it.

use crate::human;
use crate::messages::say;
use crate::source::SourceEnd;
use crate::source::fit::Cut;
use crate::source::resized;
use klon_imaging::image::PartitionId;
use klon_imaging::{Manifest, RecordStore};
use klon_partition::device::Window;
use klon_partition::filesystem::{ChangeToken, Kind, Recognized, Usage};
use klon_partition::table::{Scheme, Table};
use klon_partition::{Extent, Identity, ReadAt};

/// What is on a volume or disk now. klon believes a record only if it describes this.
struct Now<'a> {
    filesystem: Option<(Kind, Option<&'a str>)>,
    token: Option<ChangeToken>,
    table: Option<&'a Table>,
    device: &'a dyn ReadAt,
}

/// The end of the clone on a volume or disk of this identity, if the record still describes what is there. A
/// clone that was changed since may reach further.
fn recorded(identity: &Identity, now: &Now<'_>, records: &RecordStore) -> Option<u64> {
    let outline = records.outline(identity).ok().flatten()?;
    let manifest = &outline.manifest;
    let then = manifest.filesystem.as_ref();
    let then = then.map(|it| (it.kind, it.uuid.as_deref()));
    if then != now.filesystem || !is_as_recorded(identity, manifest, now, records) {
        return None;
    }
    let gpt = now.table.filter(|table| table.scheme == Scheme::Gpt);
    let Some(table) = gpt else {
        return Some(manifest.source_bytes);
    };
    // Its backup was made for the end of the target, however large the source was.
    let backup = Extent::between(table.usable.end_bytes(), manifest.target_bytes);
    let backup = backup.into_iter().collect();
    Some(outline.wanted().ok()?.difference(&backup).end_bytes())
}

/// Whether nobody changed the clone since. Its change token tells, or else its first chunk: the table or boot
/// sector there says how far the clone reaches.
fn is_as_recorded(
    identity: &Identity,
    manifest: &Manifest,
    now: &Now<'_>,
    records: &RecordStore,
) -> bool {
    if let Some(then) = manifest.token {
        return now.token.is_some_and(|token| token.0 == then.0);
    }
    let record = records.load(identity).ok().flatten();
    record.is_some_and(|record| record.has_first_chunk_of(now.device).unwrap_or(false))
}

/// The end of the clone, if the source is a clone or an image of one.
pub fn of(source: &SourceEnd, records: &RecordStore) -> Option<u64> {
    let Some(snapshot) = &source.snapshot else {
        let summary = source.usage.summary.as_ref();
        let cut = source.cut.as_ref();
        let now = Now {
            filesystem: summary.map(|it| (it.kind, it.uuid.as_deref())),
            token: source.usage.token,
            table: source.table.as_ref(),
            // As it is, and not as a smaller target will have it.
            device: cut.map_or(&*source.device, Cut::device),
        };
        return recorded(&source.identity, &now, records);
    };
    let meta = snapshot.meta();
    if source.start_bytes == 0 {
        return meta.clone_bytes;
    }
    let mut partitions = meta.partitions.iter();
    let of = partitions.find(|it| it.extent.offset_bytes() == source.start_bytes);
    of.and_then(|partition| partition.clone_bytes)
}

impl SourceEnd {
    /// Warns of bytes of the source that its target can't have, because the target's table lies there.
    pub fn note_covered(&mut self, records: &RecordStore) {
        if self.covered.is_empty() {
            return;
        }
        let clone_bytes = of(self, records);
        let warning = resized::covered(&self.name, &self.covered, clone_bytes);
        self.warnings.extend(warning);
    }
}

/// A partition of a disk that is imaged.
pub struct Imaged<'a> {
    /// The disk.
    pub disk: &'a dyn ReadAt,
    /// The partition, as the image has it.
    pub partition: &'a PartitionId,
    /// Its filesystem.
    pub recognized: Option<Recognized>,
    /// How it is recognized.
    pub identity: Option<Identity>,
}

/// Where the clone on a partition ends.
pub fn of_partition(imaged: Imaged<'_>, records: &RecordStore) -> Option<u64> {
    let Imaged {
        disk,
        partition,
        recognized,
        identity,
    } = imaged;
    let volume = Window::new(disk, partition.extent).ok()?;
    let token = || recognized?.change_token(&volume).ok()?;
    let filesystem = partition.filesystem.as_ref();
    let now = Now {
        filesystem: filesystem.map(|it| (it.kind, it.uuid.as_deref())),
        token: token(),
        table: None,
        device: &volume,
    };
    recorded(&identity?, &now, records)
}

/// The number of bytes behind the end of a clone that nobody proved free.
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
