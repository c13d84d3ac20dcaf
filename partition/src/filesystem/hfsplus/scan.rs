//! All forks of the volume: that each block they name is marked in the allocation file.
//!
//! Bitmap and trees are written at different times. A bitmap that lags behind the files shows
//! here and nowhere else when a driver left no mark of it.

use super::fork_data::{self, EXTENT_RECORD_BYTES, LEN_BYTES, Run};
use super::header::BAD_BLOCKS_ID;
use super::node;
use super::overflow::Record;
use super::volume::Volume;
use crate::bytes::{be16, be32};
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::ExtentMap;
use crate::filesystem::gather::Gather;
use crate::filesystem::known_bad::Claims;

/// `recordType` of a file in the catalog, and where its two forks are.
const FILE_RECORD: u16 = 2;
const FORKS_AT: usize = 88;
/// `recordType` of an attribute with a fork of its own, and with more runs of it.
const ATTRIBUTE_FORK: u32 = 0x20;
const ATTRIBUTE_EXTENTS: u32 = 0x30;

/// Told of a run, and of the file that has it.
type Visit<'a> = dyn FnMut(Run, u32) -> Result<()> + 'a;

/// Checks that no block of a file, of an attribute or of a special file is outside of `used`.
///
/// # Errors
/// [`crate::Error::Corrupt`] naming the file of the first such block, or the first node of a tree
/// that fails a check.
pub(super) fn check(volume: &Volume, device: &dyn ReadAt, used: &ExtentMap) -> Result<()> {
    let header = &volume.header;
    for_each_run(volume, device, &mut |run, file_id| {
        let extent = header.extent(run.first, run.blocks);
        let is_used = extent.is_some_and(|extent| used.contains(extent));
        if is_used && run.is_within(header.blocks) {
            return Ok(());
        }
        let place = volume.allocation.place(header, 0);
        let place = place.map_or(0, |place| place.offset_bytes());
        let (blocks, first) = (run.blocks, run.first);
        let expected = format!("{blocks} blocks from {first} on of file {file_id} in use");
        Err(Corrupt::new("HFS+ allocation file", "bits", place, expected, "free").into())
    })
}

/// The blocks of the bad block file that nothing else has (TN1150, "Bad Block File": its runs are in
/// the extents-overflow file alone).
///
/// # Errors
/// As for [`check`], but for blocks that are not marked.
pub(super) fn known_bad(volume: &Volume, device: &dyn ReadAt) -> Result<ExtentMap> {
    let mut listed = Gather::new();
    let header = &volume.header;
    volume
        .extents_tree(device)?
        .records(&mut |record, node_bytes| {
            let record = Record::parse(record, node_bytes)?;
            if record.file_id == BAD_BLOCKS_ID {
                let extents = record.runs().filter(|run| run.is_within(header.blocks));
                let extents = extents.filter_map(|run| header.extent(run.first, run.blocks));
                extents.for_each(|extent| _ = listed.push(extent));
            }
            Ok(())
        })?;
    let mut claims = Claims::new(listed.finish().unwrap_or_default());
    if claims.is_idle() {
        return Ok(ExtentMap::new());
    }
    for_each_run(volume, device, &mut |run, file_id| {
        if file_id != BAD_BLOCKS_ID {
            let extent = header.extent(run.first, run.blocks);
            extent.into_iter().for_each(|extent| claims.add(extent));
        }
        Ok(())
    })?;
    Ok(claims.unclaimed())
}

/// Calls `visit` with each run of each fork, and the number of its file.
fn for_each_run(volume: &Volume, device: &dyn ReadAt, visit: &mut Visit<'_>) -> Result<()> {
    for (_, file_id, fork) in volume.special_files() {
        fork.runs().try_for_each(|run| visit(run, file_id))?;
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
        let mut forks = forks.chunks_exact(LEN_BYTES);
        forks.try_for_each(|fork| {
            fork_data::runs(&fork[16..]).try_for_each(|run| visit(run, file_id))
        })
    })?;
    volume
        .extents_tree(device)?
        .records(&mut |record, node_bytes| {
            let record = Record::parse(record, node_bytes)?;
            let mut runs = record.runs();
            runs.try_for_each(|run| visit(run, record.file_id))
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
        fork_data::runs(runs).try_for_each(|run| visit(run, file_id))
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
