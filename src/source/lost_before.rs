//! Bytes that a source had lost before: they could not be read when its snapshot was taken, or when the source
//! was made as a clone. Whatever is made of the source lacks them, too.

mod told;

pub use told::{Out, report};

use crate::error::plain_words;
use crate::error::refused;
use crate::files_hit::stands_for_bad;
use crate::human;
use crate::messages::say;
use crate::named::identity::{identity_of, partition_identity};
use crate::named::open::OpenPlace;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::RecordStore;
use klon_imaging::clone::{FillTexts, Filled};
use klon_imaging::image::Snapshot;
use klon_imaging::record::Outline;
use klon_imaging::rescue::still_filled;
use klon_imaging::target_writer::HELD_BYTES;
use klon_partition::filesystem::Kind;
use klon_partition::system::System;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, Shown};
use std::path::PathBuf;
use uuid::Uuid;

/// How the volume that a record describes lies to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// It begins there on the source: it is the source itself, or a partition of it.
    From(u64),
    /// The source is this part of it.
    Around(Extent),
}

/// The runs whose target was the source or a part of it. klon tells of a record that it can't read when it needs
/// more of it.
fn runs(outlines: &[Found]) -> Vec<Uuid> {
    let outlines = outlines
        .iter()
        .filter_map(|(_, outline)| outline.as_ref().ok());
    let mut runs: Vec<Uuid> = outlines
        .filter_map(|outline| outline.as_ref()?.manifest.run)
        .collect();
    runs.sort_unstable();
    runs
}

/// A volume whose record may tell of a source, and how the volume lies to the source.
pub type Recorded = (Identity, Lies);

/// What such a record says, if there is one.
type Found = (Lies, klon_imaging::Result<Option<Outline>>);

/// Whose records tell of a place with the identity `own`: the place itself, the disk around it, and its
/// partitions. An image needs no records.
///
/// # Errors
/// When the disk around a place can't be read.
pub fn recorded(open: &OpenPlace, own: &Identity, system: &System) -> Result<Vec<Recorded>> {
    if open.snapshot.is_some() {
        return Ok(Vec::new());
    }
    let mut all = vec![(own.clone(), Lies::From(0))];
    if let Some(partition) = &open.partition {
        let disk = open.disk_identity(system)?;
        all.push((disk, Lies::Around(partition.extent)));
    } else if let Some(parent) = open.parent(system)? {
        if let Some(partition) = &parent.partition {
            let disk = identity_of(system, &parent.path, &parent.layout)?;
            all.push((disk, Lies::Around(partition.extent)));
        }
    } else if let Some(table) = open.layout.believed_table() {
        let of = |partition| Some((partition_identity(table, partition)?, partition.extent));
        let partitions = table.partitions.iter().filter_map(of);
        all.extend(partitions.map(|(it, extent)| (it, Lies::From(extent.offset_bytes()))));
    }
    Ok(all)
}

impl SourceEnd {
    /// Notes what records tell of it: the runs that wrote to it, and the bytes that it had lost before. Lost bytes
    /// become a warning.
    pub fn note_recorded(&mut self, records: &RecordStore) {
        let outlines: Vec<Found> = (self.recorded.iter())
            .map(|(identity, lies)| (*lies, records.outline(identity)))
            .collect();
        self.written_by = runs(&outlines);
        let whole = ExtentMap::whole(self.device.geometry().size_bytes);
        let first = ExtentMap::whole(HELD_BYTES);
        let wanted = whole.intersection(&self.usage.extents.union(&first));
        let wanted = wanted.difference(&self.replaced);
        let (mut filled, told) = match &self.snapshot {
            Some(snapshot) => (of_snapshot(self, snapshot), told_of_snapshot(self)),
            None => of_records(self, &wanted, outlines),
        };
        if self.usage.shrunk_from_bytes.is_none() {
            // After shrinking, klon can't tell where they are, so it refuses the run.
            filled.extents = filled.extents.intersection(&wanted);
        }
        if !filled.extents.is_empty() {
            self.warnings.push(format!(
                "{}: {} could not be read when {told} ({})",
                self.name,
                human::size(filled.extents.total_bytes()),
                stands_for_bad(&filled.texts),
            ));
            self.lost_before = filled;
        }
    }
}

impl SourceEnd {
    /// Refuses a shrunken source that had lost bytes before.
    ///
    /// # Errors
    /// [`refused`], as nobody knows where shrinking has moved those bytes.
    pub fn check_shrunk(&self) -> Result<()> {
        let is_shrunk = self.usage.shrunk_from_bytes.is_some();
        match is_shrunk && !self.lost_before.extents.is_empty() {
            true => Err(refused(format!(
                "{} has bytes that could not be read from its own source, and klon does not know where \
                 shrinking has moved them. Choose a target that is as large",
                self.name
            ))),
            false => Ok(()),
        }
    }
}

fn of_snapshot(source: &SourceEnd, snapshot: &Snapshot) -> Filled {
    let bad = &snapshot.manifest().bad;
    let size_bytes = source.device.geometry().size_bytes;
    let part = Extent::new(source.start_bytes, size_bytes);
    Filled {
        extents: part.map_or_else(ExtentMap::new, |part| bad.in_part(part)),
        texts: FillTexts::default(),
    }
}

fn told_of_snapshot(source: &SourceEnd) -> String {
    let snapshot = source.snapshot.as_ref();
    let number = snapshot.map_or(0, |snapshot| snapshot.number());
    format!("snapshot {number} was taken")
}

/// The losses that records tell and that are still on the source, with words for them.
fn of_records(source: &SourceEnd, wanted: &ExtentMap, outlines: Vec<Found>) -> (Filled, String) {
    let mut all = Filled::default();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (lies, outline) in outlines {
        let found = outline.and_then(|outline| {
            let outline = outline.filter(|outline| is_of(source, lies, outline));
            let bad = |it: Outline| Ok((it.bad()?, it.path().to_owned()));
            outline.map(bad).transpose()
        });
        let (bad, path) = match found {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                say(&format!(
                    "klon: warning: {}: klon can't tell whether bytes were lost when it was made: \
                     {}",
                    source.name,
                    plain_words(&error.to_string())
                ));
                continue;
            }
        };
        let extents = match lies {
            Lies::From(start_bytes) => bad.extents.shifted(start_bytes),
            Lies::Around(part) => bad.extents.in_part(part),
        };
        let filled = Filled {
            extents: extents.intersection(wanted),
            ..bad
        };
        let still = still_filled(&*source.device, &filled);
        if !still.is_empty() {
            all.extents = all.extents.union(&still);
            all.texts = all.texts.and(&filled.texts);
            paths.push(path);
        }
    }
    let paths: Vec<String> = paths.iter().map(|path| path.shown()).collect();
    let told = format!(
        "the clone there was made, by the record {}",
        paths.join(", ")
    );
    (all, told)
}

/// Whether a record is of what is there now: one of another kind of filesystem is of what was there
/// before. A UUID may be given anew to a clone, so it tells nothing.
fn is_of(source: &SourceEnd, lies: Lies, outline: &Outline) -> bool {
    let then = outline.manifest.filesystem.as_ref().map(|it| it.kind);
    let now = source.usage.summary.as_ref().map(|it| it.kind);
    lies != Lies::From(0) || may_be(then, now)
}

fn may_be(then: Option<Kind>, now: Option<Kind>) -> bool {
    then.zip(now).is_none_or(|(then, now)| then == now)
}

#[cfg(test)]
mod tests {
    use super::may_be;
    use klon_partition::filesystem::Kind;

    #[test]
    fn only_another_kind_of_filesystem_shows_that_a_record_is_of_something_else() {
        assert!(may_be(Some(Kind::Ext4), Some(Kind::Ext4)));
        assert!(!may_be(Some(Kind::Ext4), Some(Kind::Xfs)));
        assert!(may_be(None, Some(Kind::Ext4)) && may_be(Some(Kind::Ext4), None));
    }
}
