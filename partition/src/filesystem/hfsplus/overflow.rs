//! The extents-overflow file: the runs of a fork after its eighth (TN1150, "Extents Overflow
//! File").

use super::address::{FileId, Run};
use super::btree::Tree;
use super::fork_data::{EXTENT_RECORD_BYTES, runs};
use super::header::{ALLOCATION_ID, ATTRIBUTES_ID, CATALOG_ID, Header, STARTUP_ID};
use super::node;
use crate::bytes::{be32, u8_at};
use crate::error::{Corrupt, Error, Result};

/// Length of an extents key without its length field.
const KEY_BYTES: usize = 10;
const RECORDS_MAX: usize = 1 << 20;

/// A record: which fork it belongs to, and its runs.
pub(super) struct Record<'a> {
    /// 0: the data fork, 0xff: the resource fork.
    pub(super) fork_type: u8,
    pub(super) file_id: FileId,
    /// How many blocks of the fork are before.
    pub(super) start_block: u32,
    runs: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a record of a leaf.
    ///
    /// # Errors
    /// [`Corrupt`] when key or data have another length.
    pub(super) fn parse(record: &'a [u8], node_bytes: u64) -> Result<Self> {
        match node::split(record) {
            Some((key, data))
                if key.len() == 2 + KEY_BYTES && data.len() >= EXTENT_RECORD_BYTES =>
            {
                Ok(Self {
                    fork_type: u8_at(key, 2),
                    file_id: FileId(be32(key, 4)),
                    start_block: be32(key, 8),
                    runs: &data[..EXTENT_RECORD_BYTES],
                })
            }
            _ => {
                let structure = "HFS+ extents-overflow B-tree node";
                let expected = "records of a key of 10 bytes and 64 of data";
                let found = format!("{} bytes", record.len());
                Err(Corrupt::new(structure, "record", node_bytes, expected, found).into())
            }
        }
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + 'a {
        runs(self.runs)
    }
}

/// The records of the special files, in the order of the tree's keys.
#[derive(Default)]
pub(super) struct SpecialRuns(Vec<SpecialRecord>);

/// Runs of a special file.
struct SpecialRecord {
    file_id: FileId,
    /// How many blocks of the file are before.
    start_block: u32,
    runs: Vec<Run>,
}

impl SpecialRuns {
    /// The runs of a file from block `at` of it on, as far as each record starts where the one
    /// before ended.
    pub(super) fn after(&self, file_id: FileId, mut at: u64) -> Vec<Run> {
        let mut found = Vec::new();
        for record in &self.0 {
            if record.file_id == file_id && u64::from(record.start_block) == at {
                // A record has eight runs, and starts within 32 bits.
                at += record
                    .runs
                    .iter()
                    .map(|run| u64::from(run.blocks))
                    .sum::<u64>();
                found.extend_from_slice(&record.runs);
            }
        }
        found
    }
}

/// Collects the records of the special files.
///
/// # Errors
/// [`Error::Corrupt`] when a record is not as it must be, or names blocks outside of the volume.
pub(super) fn special_runs(tree: &Tree<'_>, header: &Header) -> Result<SpecialRuns> {
    let mut found = Vec::new();
    tree.records(&mut |record, node_bytes| {
        let record = Record::parse(record, node_bytes)?;
        let is_special = matches!(
            record.file_id,
            ALLOCATION_ID | CATALOG_ID | ATTRIBUTES_ID | STARTUP_ID
        );
        if !is_special || record.fork_type != 0 {
            return Ok(());
        }
        if found.len() >= RECORDS_MAX {
            return Err(Error::unsupported(
                format!("special files with more than {RECORDS_MAX} extent records"),
                "they don't fit in memory",
            ));
        }
        let runs: Vec<Run> = record.runs().collect();
        if let Some(run) = runs.iter().find(|run| !header.blocks.has(**run)) {
            let expected = format!("extents in {} blocks", header.blocks.count);
            let found = format!("{} blocks from {} on", run.blocks, run.first);
            let structure = tree.structure;
            return Err(Corrupt::new(structure, "record", node_bytes, expected, found).into());
        }
        found.push(SpecialRecord {
            file_id: record.file_id,
            start_block: record.start_block,
            runs,
        });
        Ok(())
    })?;
    found.sort_by_key(|record| (record.file_id, record.start_block));
    Ok(SpecialRuns(found))
}
