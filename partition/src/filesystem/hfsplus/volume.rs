//! An open volume: its header and all runs of the special files.

use super::address::{FileId, Run};
use super::btree::Tree;
use super::fork::Fork;
use super::fork_data::ForkData;
use super::header::{ALLOCATION_ID, ATTRIBUTES_ID, CATALOG_ID, EXTENTS_ID, Header, STARTUP_ID};
use super::overflow;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;

/// Header and special files.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) header: Header,
    pub(super) allocation: Fork,
    pub(super) extents: Fork,
    pub(super) catalog: Fork,
    pub(super) attributes: Fork,
    pub(super) startup: Fork,
}

impl Volume {
    /// Finds all runs of the special files; the extents-overflow file, whose runs are all in the
    /// header, is read only when another is in more than eight.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when runs are missing or in disorder.
    pub(super) fn open(device: &dyn ReadAt, header: Header) -> Result<Self> {
        let none = std::iter::empty();
        let extents = Fork::new(&header, "extentsFile", &header.extents, none)?;
        let files = [
            (&header.allocation, ALLOCATION_ID),
            (&header.catalog, CATALOG_ID),
            (&header.attributes, ATTRIBUTES_ID),
            (&header.startup, STARTUP_ID),
        ];
        let more = if files.iter().all(|(data, _)| data.is_whole()) {
            overflow::SpecialRuns::default()
        } else {
            overflow::special_runs(&extents_tree(device, &extents)?, &header)?
        };
        let open = |field, data: &ForkData, file_id| -> Result<Fork> {
            let runs: Vec<Run> = if data.is_whole() {
                Vec::new()
            } else {
                more.after(file_id, data.listed_blocks())
            };
            Fork::new(&header, field, data, runs.into_iter())
        };
        Ok(Self {
            allocation: open("allocationFile", &header.allocation, ALLOCATION_ID)?,
            catalog: open("catalogFile", &header.catalog, CATALOG_ID)?,
            attributes: open("attributesFile", &header.attributes, ATTRIBUTES_ID)?,
            startup: open("startupFile", &header.startup, STARTUP_ID)?,
            extents,
            header,
        })
    }

    /// The extents-overflow tree.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub(super) fn extents_tree<'a>(&'a self, device: &'a dyn ReadAt) -> Result<Tree<'a>> {
        extents_tree(device, &self.extents)
    }

    /// The catalog tree.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub(super) fn catalog_tree<'a>(&'a self, device: &'a dyn ReadAt) -> Result<Tree<'a>> {
        let structure = "HFS+ catalog B-tree node";
        Tree::open(structure, device, &self.catalog)
    }

    /// The attributes tree; `None` when the volume has none.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub(super) fn attributes_tree<'a>(
        &'a self,
        device: &'a dyn ReadAt,
    ) -> Result<Option<Tree<'a>>> {
        if self.header.attributes.blocks == 0 {
            return Ok(None);
        }
        let structure = "HFS+ attributes B-tree node";
        Tree::open(structure, device, &self.attributes).map(Some)
    }

    /// The special files with their names, in the order of their IDs.
    pub(super) fn special_files(&self) -> [(&'static str, FileId, &Fork); 5] {
        [
            ("extents-overflow file", EXTENTS_ID, &self.extents),
            ("catalog file", CATALOG_ID, &self.catalog),
            ("allocation file", ALLOCATION_ID, &self.allocation),
            ("startup file", STARTUP_ID, &self.startup),
            ("attributes file", ATTRIBUTES_ID, &self.attributes),
        ]
    }

    /// The filesystem's own structures without the journal.
    pub(super) fn structures(&self) -> ExtentMap {
        let files = self.special_files();
        let files = files.iter().flat_map(|(_, _, fork)| fork.extents());
        self.header.edges().chain(files).collect()
    }
}

fn extents_tree<'a>(device: &'a dyn ReadAt, extents: &'a Fork) -> Result<Tree<'a>> {
    Tree::open("HFS+ extents-overflow B-tree node", device, extents)
}
