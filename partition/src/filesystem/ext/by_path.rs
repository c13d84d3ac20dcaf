//! Files by their paths.

use super::address::Ino;
use super::blockmap::BlockMaps;
use super::directory;
use super::inode::{FileType, Inode};
use super::scan::Scan;
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::by_path::{
    Directories, InOrder, Listing, Node, NodeKind, Run, gather, unknown,
};
use crate::filesystem::owners::Gaps;
use crate::text::{sealed_bytes, unsealed};
use std::os::unix::ffi::OsStrExt;

pub(super) struct Reader<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) device: &'a dyn ReadAt,
}

impl Reader<'_> {
    fn inode(&self, number: u64) -> Result<Inode> {
        // Numbers come from directories, which have 32 bits for them.
        let number = Ino(u32::try_from(number).unwrap_or(0));
        Inode::read(self.superblock, self.device, number)
    }

    fn node(&self, number: Ino) -> Result<Node> {
        let inode = Inode::read(self.superblock, self.device, number)?;
        Ok(Node {
            number: number.0.into(),
            kind: match inode.file_type {
                FileType::Regular => NodeKind::File,
                FileType::Directory => NodeKind::Directory,
                FileType::Symlink => NodeKind::Link,
                FileType::Other => NodeKind::Other,
            },
            size_bytes: inode.size_bytes,
        })
    }

    /// Visits the entries of a directory until `visit` says that it is enough.
    ///
    /// # Errors
    /// Also where a part of the directory was left out: what is not among the entries may be there then.
    fn visit(&self, node: &Node, visit: &mut directory::Visit<'_>) -> Result<()> {
        let inode = self.inode(node.number)?;
        let gaps = Gaps::new();
        let scan = Scan {
            superblock: self.superblock,
            device: self.device,
            gaps: &gaps,
        };
        let mut directories = directory::Directories::new(scan, self.superblock.blocks);
        directories.visit(&inode, visit);
        // What follows the entries in `i_block` is an extended attribute, which the reader of directories leaves out.
        let has_more = !inode.has_blocks && inode.size_bytes > inode.block_map.len() as u64;
        gaps.none()?;
        match has_more {
            true => Err(unknown(
                "a directory of which the rest is among extended attributes (inline_data)",
            )),
            false => Ok(()),
        }
    }
}

impl Reader<'_> {
    /// The runs of the first `len_bytes` of a file.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] where runs overlap in the file, as many that do would have the same bytes read again and
    /// again.
    fn runs_of(&self, inode: &Inode, len_bytes: u64) -> Result<Vec<Run>> {
        let block_bytes = u64::from(self.superblock.block_bytes);
        let mut runs = InOrder::up_to(len_bytes);
        BlockMaps::new(self.superblock, self.device).visit(inode, &mut |run| {
            let Some(block) = run.file_block else {
                return true;
            };
            let file_offset_bytes = block.saturating_mul(block_bytes);
            let extent = run.extent;
            let of_file = Run {
                file_offset_bytes,
                extent,
            };
            runs.add(of_file, run.is_written)
        })?;
        runs.finish().map_err(|overlap| {
            let expected = format!("block {} or later", overlap.least_bytes / block_bytes);
            let found = overlap.found_bytes / block_bytes;
            inode.corrupt("ee_block", expected, found).into()
        })
    }
}

impl Directories for Reader<'_> {
    fn root(&self) -> Result<Node> {
        self.node(Ino::ROOT)
    }

    fn names(&self, directory: &Node, names_max: usize) -> Result<Listing> {
        let mut names = Vec::new();
        let mut is_whole = true;
        self.visit(directory, &mut |entry| {
            if entry.name == b"." || entry.name == b".." {
                return true;
            }
            is_whole = names.len() < names_max;
            if is_whole {
                names.push(sealed_bytes(entry.name));
            }
            is_whole
        })?;
        Ok(Listing { names, is_whole })
    }

    fn child(&self, directory: &Node, name: &str) -> Result<Option<Node>> {
        let name = unsealed(name);
        let mut found = None;
        let visited = self.visit(directory, &mut |entry| {
            if entry.name == name.as_bytes() {
                found = Some(entry.inode);
            }
            found.is_none()
        });
        match found {
            Some(number) => self.node(number).map(Some),
            None => visited.map(|()| None),
        }
    }

    fn contents(&self, file: &Node, len_max: usize) -> Result<Vec<u8>> {
        let inode = self.inode(file.number)?;
        let len = usize::try_from(inode.size_bytes).map_or(len_max, |len| len.min(len_max));
        if !inode.has_blocks {
            let kept = inode.block_map.get(..len);
            return kept.map(<[u8]>::to_vec).ok_or_else(|| {
                unknown("a file of which the rest is among extended attributes (inline_data)")
            });
        }
        gather(self.device, len, &self.runs_of(&inode, len as u64)?)
    }

    fn runs(&self, file: &Node, len_max: usize) -> Result<Option<Vec<Run>>> {
        let inode = self.inode(file.number)?;
        if !inode.has_blocks || inode.is_sealed {
            return Ok(None);
        }
        self.runs_of(&inode, len_max as u64).map(Some)
    }
}

#[cfg(test)]
mod tests;
