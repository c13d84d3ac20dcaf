//! All forks of the volume: that each block they name is marked in the allocation file.
//!
//! Bitmap and trees are written at different times. A bitmap that lags behind the files shows
//! here and nowhere else when a driver left no mark of it.

use super::fork_data::{self, EXTENT_RECORD_BYTES, LEN_BYTES};
use super::node;
use super::overflow::Record;
use super::volume::Volume;
use crate::bytes::{be16, be32};
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::ExtentMap;

/// `recordType` of a file in the catalog, and where its two forks are.
const FILE_RECORD: u16 = 2;
const FORKS_AT: usize = 88;
/// `recordType` of an attribute with a fork of its own, and with more runs of it.
const ATTRIBUTE_FORK: u32 = 0x20;
const ATTRIBUTE_EXTENTS: u32 = 0x30;

/// Checks that no block of a file, of an attribute or of a special file is outside of `used`.
///
/// # Errors
/// [`crate::Error::Corrupt`] naming the file of the first such block, or the first node of a tree
/// that fails a check.
pub(super) fn check(volume: &Volume, device: &dyn ReadAt, used: &ExtentMap) -> Result<()> {
    let marked = Marked { volume, used };
    for (_, file_id, fork) in volume.special_files() {
        for extent in fork.extents(&volume.header) {
            marked.extent(used.contains(extent), file_id, extent.to_string())?;
        }
    }
    let tree = volume.catalog_tree(device)?;
    tree.records(&mut |record, node_bytes| {
        let data = data_of(record, tree.structure, node_bytes)?;
        if be16(data, 0) != FILE_RECORD {
            return Ok(());
        }
        let end = FORKS_AT + 2 * LEN_BYTES;
        let forks = part(data, (FORKS_AT, end), tree.structure, node_bytes)?;
        let file_id = be32(data, 8);
        for fork in forks.chunks_exact(LEN_BYTES) {
            marked.runs(&fork[16..], file_id)?;
        }
        Ok(())
    })?;
    volume
        .extents_tree(device)?
        .records(&mut |record, node_bytes| {
            let record = Record::parse(record, node_bytes)?;
            marked.each(record.runs(), record.file_id)
        })?;
    let Some(tree) = volume.attributes_tree(device)? else {
        return Ok(());
    };
    tree.records(&mut |record, node_bytes| {
        let data = data_of(record, tree.structure, node_bytes)?;
        let kind = part(data, (0, 4), tree.structure, node_bytes)?;
        let (start, end) = match be32(kind, 0) {
            ATTRIBUTE_FORK => (24, 8 + LEN_BYTES),
            ATTRIBUTE_EXTENTS => (8, 8 + EXTENT_RECORD_BYTES),
            _ => return Ok(()),
        };
        let runs = part(data, (start, end), tree.structure, node_bytes)?;
        let file_id = record.get(4..8).map_or(0, |id| be32(id, 0));
        marked.runs(runs, file_id)
    })
}

/// The data of a record with a key; at least two bytes.
fn data_of<'a>(record: &'a [u8], structure: &'static str, node_bytes: u64) -> Result<&'a [u8]> {
    let (_, data) = node::split(record).unwrap_or_default();
    part(data, (0, 2), structure, node_bytes)?;
    Ok(data)
}

fn part<'a>(
    data: &'a [u8],
    (start, end): (usize, usize),
    structure: &'static str,
    node_bytes: u64,
) -> Result<&'a [u8]> {
    data.get(start..end).ok_or_else(|| {
        let expected = format!("a key and {end} bytes of data");
        let found = format!("{} bytes of data", data.len());
        Corrupt::new(structure, "record", node_bytes, expected, found).into()
    })
}

struct Marked<'a> {
    volume: &'a Volume,
    used: &'a ExtentMap,
}

impl Marked<'_> {
    fn runs(&self, record: &[u8], file_id: u32) -> Result<()> {
        self.each(fork_data::runs(record), file_id)
    }

    fn each(&self, runs: impl Iterator<Item = fork_data::Run>, file_id: u32) -> Result<()> {
        let header = &self.volume.header;
        for run in runs {
            let extent = header.extent(run.first, run.blocks);
            let is_used = extent.is_some_and(|extent| self.used.contains(extent));
            let is_inside = run.is_within(header.blocks);
            let runs = format!("{} blocks from {} on", run.blocks, run.first);
            self.extent(is_inside && is_used, file_id, runs)?;
        }
        Ok(())
    }

    fn extent(&self, is_used: bool, file_id: u32, what: String) -> Result<()> {
        if is_used {
            return Ok(());
        }
        let header = &self.volume.header;
        let place = self.volume.allocation.place(header, 0);
        let place = place.map_or(0, |place| place.offset_bytes());
        let expected = format!("{what} of file {file_id} in use");
        Err(Corrupt::new("HFS+ allocation file", "bits", place, expected, "free").into())
    }
}
