//! Which files hold given bytes: run lists of all records, and the records themselves.

use super::boot::BLOCK_BYTES;
use super::mft::{self, Mft};
use super::name;
use super::record::{Attribute, DATA, FILE_NAME, Key, Record, Reference};
use super::runs::Run;
use super::scan::for_each_record;
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::files::Hit;
use crate::filesystem::owners::{FILES_MAX, Forgiving, Gaps, Links};
use std::collections::HashMap;

/// A file's record, and the name of one of its streams (UTF-16LE); empty for the file itself.
type FileStream = (u64, Vec<u8>);

/// The files that hold bytes of the extents, and at most that many: by the clusters of all their
/// attributes, and by their records, which hold small files whole. The filesystem's own files are
/// files too, but of the master file table each record is its file's. A directory is named for its
/// index, `path:stream` for a stream with a name. A file without a name is called by its record,
/// as in `/<64>`. With several names, one is given.
pub(super) fn owners(
    mft: &Mft,
    device: &dyn ReadAt,
    (extents, files_max): (&ExtentMap, usize),
    gaps: &Gaps,
) -> Vec<Owner> {
    let files_max = files_max.min(FILES_MAX);
    if extents.is_empty() || files_max == 0 {
        return Vec::new();
    }
    let device = Forgiving::new(device, 0, gaps);
    let mut search = Search {
        mft,
        extents,
        files_max,
        gaps,
        hits: Vec::new(),
        known: HashMap::new(),
    };
    // Without the bits of records, those that look used are.
    let bits = gaps.tolerate(mft.record_bitmap(&device));
    let bits = bits.unwrap_or_else(|| Stream::Resident(Vec::new()));
    let visited = for_each_record(mft, &device, &bits, &mut |record| {
        if let Some(record) = gaps.tolerate(record) {
            search.record(&record);
        }
        Ok(())
    });
    gaps.tolerate(visited);
    let mut links = Links::new(mft::ROOT);
    let hits = search.hits.into_iter();
    hits.map(|hit| {
        let climbed = climb(mft, &device, hit.file.0, &mut links);
        gaps.tolerate(climbed);
        Owner {
            path: path(&mut links, &hit.file),
            file_offset_bytes: hit.file_offset_bytes,
            extent: hit.extent,
            inline_sha256: None,
        }
    })
    .collect()
}

struct Search<'a> {
    mft: &'a Mft,
    extents: &'a ExtentMap,
    files_max: usize,
    gaps: &'a Gaps,
    hits: Vec<Hit<FileStream>>,
    /// Where in `hits` a stream of a file is.
    known: HashMap<FileStream, usize>,
}

impl Search<'_> {
    fn record(&mut self, record: &Record) {
        let base = record.base().map_or(record.number, |base| base.number);
        let own = self.own_extents(record.number);
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
        let found = own
            .iter()
            .find_map(|&(_, part)| self.extents.within(part).next());
        // Some records are reserved for the filesystem's own files to come.
        let is_file = base >= mft::FIRST_USER || has_name;
        if let Some(extent) = found.filter(|_| !is_value && is_file) {
            self.note(base, &[], (0, extent));
        }
    }

    /// Where a record lies: parts of it by their position in the record.
    fn own_extents(&self, number: u64) -> Vec<(usize, Extent)> {
        let record_bytes = self.mft.geometry.record_bytes;
        let start = number.saturating_mul(record_bytes as u64);
        let parts = (0..record_bytes).step_by(BLOCK_BYTES);
        let place = |at: usize| {
            let in_table = start.saturating_add(at as u64);
            let place_bytes = self.mft.data().place_bytes(&self.mft.geometry, in_table);
            let part = Extent::new(place_bytes, BLOCK_BYTES as u64);
            Some((at, part.filter(|part| self.extents.overlaps(*part))?))
        };
        parts.filter_map(place).collect()
    }

    /// Notes a value in the record, `own` being the parts of the record in question.
    fn value(&mut self, base: u64, attribute: &Attribute<'_>, own: &[(usize, Extent)]) -> bool {
        let start = attribute.value_start();
        let end = start.saturating_add(attribute.resident().map_or(0, <[u8]>::len));
        let found = own.iter().find_map(|&(at, part)| {
            let (first, last) = (start.max(at), end.min(at.saturating_add(BLOCK_BYTES)));
            let place_bytes = part.offset_bytes().saturating_sub(at as u64);
            let content = Extent::between(
                place_bytes.saturating_add(first as u64),
                place_bytes.saturating_add(last as u64),
            )?;
            let extent = self.extents.within(content).next()?;
            let at = extent.offset_bytes().saturating_sub(place_bytes);
            Some((at.saturating_sub(start as u64), extent))
        });
        if let Some(found) = found {
            self.note(base, attribute.key.name, found);
        }
        found.is_some()
    }

    fn runs(&mut self, base: u64, attribute: &Attribute<'_>) -> Result<()> {
        if base == mft::MFT && attribute.is(Key::unnamed(DATA)) {
            return Ok(());
        }
        let geometry = &self.mft.geometry;
        let mut runs: Vec<Run> = Vec::new();
        let decoded = attribute.pairs().decode(geometry, &mut runs);
        for run in &runs {
            let extent = run
                .lcn
                .and_then(|lcn| geometry.clusters_extent(lcn, run.clusters));
            let Some(extent) = extent else { continue };
            if let Some(found) = self.extents.within(extent).next() {
                let start_bytes = run.vcn.saturating_mul(geometry.cluster_bytes);
                let in_run = found.offset_bytes().saturating_sub(extent.offset_bytes());
                let is_index = Key::index(attribute.key.code) == attribute.key;
                let stream = if is_index { &[] } else { attribute.key.name };
                self.note(base, stream, (start_bytes.saturating_add(in_run), found));
                break;
            }
        }
        decoded.map(|_| ())
    }

    /// Notes that a stream holds bytes in question; of several places, the first in the file.
    fn note(&mut self, record: u64, stream: &[u8], (file_offset_bytes, extent): (u64, Extent)) {
        let file = (record, stream.to_vec());
        if let Some(hit) = self
            .known
            .get(&file)
            .and_then(|&index| self.hits.get_mut(index))
        {
            if file_offset_bytes < hit.file_offset_bytes {
                hit.file_offset_bytes = file_offset_bytes;
                hit.extent = extent;
            }
            return;
        }
        if self.hits.len() < self.files_max {
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
fn climb(mft: &Mft, device: &dyn ReadAt, record: u64, links: &mut Links<u64>) -> Result<()> {
    let mut at = record;
    // What is linked already ends this, and so does the last record.
    while at != mft::ROOT && links.parent(at).is_none() {
        let record = mft.record(device, at)?;
        let Some(name) = name::of(mft, device, &record)? else {
            break;
        };
        let parent = name.parent;
        let is_there = parent.number == mft::ROOT || mft.referenced(device, parent).is_ok();
        let key = if is_there {
            parent.number
        } else {
            gone(parent)
        };
        if !links.add(at, key, name.text.as_bytes()) || !is_there {
            break;
        }
        at = parent.number;
    }
    Ok(())
}

/// Stands for a directory whose record is another file's by now, or none's.
fn gone(parent: Reference) -> u64 {
    parent.number | 1 << 63
}

fn path(links: &mut Links<u64>, (record, stream): &FileStream) -> String {
    let path = links.path(*record, |number| number & !(1 << 63));
    if stream.is_empty() {
        return path;
    }
    format!("{path}:{}", name::from_utf16(stream))
}
