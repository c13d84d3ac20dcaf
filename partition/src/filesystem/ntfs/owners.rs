//! Which files hold given bytes: run lists of all records, and the records themselves.
//!
//! It walks the records by itself, beside the walk over files. That walk tells of no streams by their names,
//! of no contents within records, and of no record whose file does not list it; owners needs all three, also
//! on a damaged volume.

use super::address::RecordNumber;
use super::boot::BLOCK_BYTES;
use super::mft::{self, Mft};
use super::name;
use super::record::{Attribute, DATA, FILE_NAME, Key, Record};
use super::runs::Run;
use super::scan::for_each_record;
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::Extent;
use crate::filesystem::Owner;
use crate::filesystem::files::{Hit, Next};
use crate::filesystem::owners::{Forgiving, Gaps, Links, Wanted};
use std::collections::HashMap;

/// A stream of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileStream {
    record: RecordNumber,
    /// The name of the stream (UTF-16LE); empty for the file itself.
    name: Vec<u8>,
}

/// A file, as a name's directory or by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Named {
    File(RecordNumber),
    /// A directory whose record is another file's by now, or none's.
    Gone(RecordNumber),
}

/// The files that hold wanted bytes: in the clusters of any of their attributes, or in their
/// records, which hold small files whole. The filesystem's own files are files, too, but each record
/// of the master file table is its file's. A directory is named for its index, `path:stream` for a
/// stream with a name. A file without a name is called by its record, as in `/<64>`. Of several
/// names, one is given.
pub(super) fn owners(
    mft: &Mft,
    device: &dyn ReadAt,
    wanted: &Wanted<'_>,
    gaps: &Gaps,
) -> Vec<Owner> {
    let device = Forgiving::new(device, 0, gaps);
    let mut search = Search {
        mft,
        wanted: *wanted,
        gaps,
        hits: Vec::new(),
        known: HashMap::new(),
    };
    // Without the bits of records, the records that look used are.
    let bits = gaps.tolerate(mft.record_bitmap(&device));
    let bits = bits.unwrap_or_else(|| Stream::Resident(Vec::new()));
    let visited = for_each_record(mft, &device, &bits, &mut |record| {
        if let Some(record) = gaps.tolerate(record) {
            search.record(&record);
        }
        Ok(Next::Continue)
    });
    gaps.tolerate(visited);
    let mut links = Links::new(Named::File(mft::ROOT));
    let hits = search.hits.into_iter();
    hits.map(|hit| {
        let climbed = climb(mft, &device, hit.file.record, &mut links);
        gaps.tolerate(climbed);
        let path = path(&mut links, &hit.file);
        hit.owner(path)
    })
    .collect()
}

/// A part of a record that lies at wanted bytes.
#[derive(Clone, Copy)]
struct Part {
    /// Where it is in the record.
    at: usize,
    extent: Extent,
}

/// Wanted bytes of a stream: where they are in it, and where on the volume.
#[derive(Clone, Copy)]
struct Found {
    file_offset_bytes: u64,
    extent: Extent,
}

struct Search<'a> {
    mft: &'a Mft,
    wanted: Wanted<'a>,
    gaps: &'a Gaps,
    hits: Vec<Hit<FileStream>>,
    /// Where in `hits` a stream of a file is.
    known: HashMap<FileStream, usize>,
}

impl Search<'_> {
    fn record(&mut self, record: &Record) {
        let base = record.base_number();
        let own = self.own_parts(record.number);
        let (mut is_value, mut has_name) = (false, false);
        let gaps = self.gaps;
        for attribute in record.attributes() {
            let Some(attribute) = gaps.tolerate(attribute.map_err(Into::into)) else {
                break;
            };
            has_name |= attribute.key.code == FILE_NAME;
            if attribute.is_nonresident() {
                let mapped = self.runs(base, &attribute);
                gaps.tolerate(mapped);
            } else if attribute.key.code == DATA {
                is_value |= self.value(base, &attribute, &own);
            }
        }
        // Some records are reserved for the filesystem's own files to come.
        let is_file = base >= mft::FIRST_USER || has_name;
        if is_value || !is_file {
            return;
        }
        let extents = self.wanted.extents;
        let found = own
            .iter()
            .find_map(|part| extents.within(part.extent).next());
        if let Some(extent) = found {
            let found = Found {
                file_offset_bytes: 0,
                extent,
            };
            self.note(base, &[], found);
        }
    }

    /// The parts of a record that lie at wanted bytes.
    fn own_parts(&self, number: RecordNumber) -> Vec<Part> {
        let geometry = &self.mft.geometry;
        let start = geometry.record_byte(number);
        let parts = (0..geometry.record_bytes).step_by(BLOCK_BYTES);
        let part = |at: usize| {
            let place = self.mft.data().place(geometry, start + at as u64)?;
            let extent = Extent::new(place, BLOCK_BYTES as u64)?;
            let is_wanted = self.wanted.extents.overlaps(extent);
            is_wanted.then_some(Part { at, extent })
        };
        parts.filter_map(part).collect()
    }

    /// Notes a value in the record, `own` being the wanted parts of the record. Whether it holds
    /// wanted bytes.
    fn value(&mut self, base: RecordNumber, attribute: &Attribute<'_>, own: &[Part]) -> bool {
        let start = attribute.value_start();
        let end = start + attribute.resident().map_or(0, <[u8]>::len);
        let found = own.iter().find_map(|part| {
            // As much of the value as is in the part, by its place in the record.
            let first = start.max(part.at);
            let len = end.min(part.at + BLOCK_BYTES).checked_sub(first)?;
            let into_part = (first - part.at) as u64;
            let content = Extent::new(part.extent.offset_bytes() + into_part, len as u64)?;
            let extent = self.wanted.extents.within(content).next()?;
            let into_content = extent.offset_bytes() - content.offset_bytes();
            Some(Found {
                file_offset_bytes: (first - start) as u64 + into_content,
                extent,
            })
        });
        if let Some(found) = found {
            self.note(base, attribute.key.name, found);
        }
        found.is_some()
    }

    fn runs(&mut self, base: RecordNumber, attribute: &Attribute<'_>) -> Result<()> {
        if base == mft::MFT && attribute.is(Key::unnamed(DATA)) {
            return Ok(());
        }
        let geometry = &self.mft.geometry;
        let mut runs: Vec<Run> = Vec::new();
        let decoded = attribute.pairs().decode(geometry, &mut runs);
        let found = runs.iter().find_map(|run| {
            let place = run.extent(geometry)?;
            let extent = self.wanted.extents.within(place).next()?;
            let in_run = extent.offset_bytes() - place.offset_bytes();
            Some(Found {
                file_offset_bytes: geometry.vcn_byte(run.vcn).saturating_add(in_run),
                extent,
            })
        });
        if let Some(found) = found {
            let is_index = Key::index(attribute.key.code) == attribute.key;
            let stream = if is_index { &[] } else { attribute.key.name };
            self.note(base, stream, found);
        }
        decoded.map(|_| ())
    }

    /// Notes that a stream holds wanted bytes; of several places, the first in the file.
    fn note(&mut self, record: RecordNumber, stream: &[u8], found: Found) {
        let Found {
            file_offset_bytes,
            extent,
        } = found;
        let file = FileStream {
            record,
            name: stream.to_vec(),
        };
        let known = self.known.get(&file).copied();
        if let Some(hit) = known.and_then(|index| self.hits.get_mut(index)) {
            if file_offset_bytes < hit.file_offset_bytes {
                hit.file_offset_bytes = file_offset_bytes;
                hit.extent = extent;
            }
            return;
        }
        if self.hits.len() < self.wanted.files_max {
            self.known.insert(file.clone(), self.hits.len());
            self.hits.push(Hit {
                file,
                file_offset_bytes,
                extent,
            });
        }
    }
}

/// Adds links from a file to the root directory, as far as there are any.
fn climb(
    mft: &Mft,
    device: &dyn ReadAt,
    record: RecordNumber,
    links: &mut Links<Named>,
) -> Result<()> {
    let mut at = record;
    // A file that is linked already ends the climb. So directories in a circle end it, too.
    while at != mft::ROOT && links.parent(Named::File(at)).is_none() {
        let record = mft.record(device, at)?;
        let Some(name) = name::of(mft, device, &record)? else {
            break;
        };
        let parent = name.parent;
        let is_there = parent.number == mft::ROOT || mft.referenced(device, parent).is_ok();
        let directory = if is_there {
            Named::File(parent.number)
        } else {
            Named::Gone(parent.number)
        };
        let has_room = links.add(Named::File(at), directory, name.text.as_bytes());
        if !has_room || !is_there {
            break;
        }
        at = parent.number;
    }
    Ok(())
}

fn path(links: &mut Links<Named>, file: &FileStream) -> String {
    let path = links.path(Named::File(file.record), |named| match named {
        Named::File(number) | Named::Gone(number) => number.0,
    });
    if file.name.is_empty() {
        return path;
    }
    format!("{path}:{}", name::from_utf16(&file.name))
}
