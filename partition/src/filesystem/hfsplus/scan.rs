//! All forks of the volume: each block that they name must be marked in the allocation file.
//!
//! Bitmap and trees are written at different times. When a driver left no mark of it, a bitmap that
//! lags behind the files shows here and nowhere else.

use super::address::{FileId, Run};
use super::fork_data::{self, EXTENT_RECORD_BYTES, LEN_BYTES};
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
use std::ops::Range;

/// `recordType` of a file in the catalog, and where its two forks are.
const FILE_RECORD: u16 = 2;
const FORKS_AT: usize = 88;
/// `recordType` of an attribute with a fork of its own, and with more runs of it.
const ATTRIBUTE_FORK: u32 = 0x20;
const ATTRIBUTE_EXTENTS: u32 = 0x30;

/// Sees a run, and the number of its file.
type Visit<'a> = dyn FnMut(Run, FileId) -> Result<()> + 'a;

/// Checks that no block of a file, of an attribute or of a special file is outside of `used`.
///
/// # Errors
/// [`crate::Error::Corrupt`] naming the file of the first such block, or the first node of a tree
/// that fails a check.
pub(super) fn check(volume: &Volume, device: &dyn ReadAt, used: &ExtentMap) -> Result<()> {
    let header = &volume.header;
    for_each_run(volume, device, &mut |run, file_id| {
        let extent = header.blocks.extent(run);
        if extent.is_some_and(|extent| used.contains(extent)) {
            return Ok(());
        }
        let place = volume.allocation.start_bytes();
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
                let extents = record.runs().filter_map(|run| header.blocks.extent(run));
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
            let extent = header.blocks.part(run);
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
        let data = Data::of(record, tree.structure, node_bytes)?;
        let record_type = be16(data.bytes, 0);
        if record_type != FILE_RECORD {
            return Ok(());
        }
        let forks = data.part(FORKS_AT..FORKS_AT + 2 * LEN_BYTES)?;
        let file_id = FileId(be32(data.bytes, 8));
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
        let data = Data::of(record, tree.structure, node_bytes)?;
        let record_type = be32(data.part(0..4)?, 0);
        let runs = match record_type {
            ATTRIBUTE_FORK => data.part(24..8 + LEN_BYTES)?,
            ATTRIBUTE_EXTENTS => data.part(8..8 + EXTENT_RECORD_BYTES)?,
            _ => return Ok(()),
        };
        let file_id = FileId(record.get(4..8).map_or(0, |id| be32(id, 0)));
        fork_data::runs(runs).try_for_each(|run| visit(run, file_id))
    })
}

/// The data of a record, after its key; at least two bytes.
struct Data<'a> {
    bytes: &'a [u8],
    structure: &'static str,
    node_bytes: u64,
}

impl<'a> Data<'a> {
    fn of(record: &'a [u8], structure: &'static str, node_bytes: u64) -> Result<Self> {
        let (_, bytes) = node::split(record).unwrap_or_default();
        let data = Self {
            bytes,
            structure,
            node_bytes,
        };
        data.part(0..2)?;
        Ok(data)
    }

    fn part(&self, range: Range<usize>) -> Result<&'a [u8]> {
        let end = range.end;
        self.bytes.get(range).ok_or_else(|| {
            let expected = format!("a key and {end} bytes of data");
            let found = format!("{} bytes of data", self.bytes.len());
            Corrupt::new(self.structure, "record", self.node_bytes, expected, found).into()
        })
    }
}
