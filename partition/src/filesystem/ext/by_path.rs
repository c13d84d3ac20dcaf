//! Files by their paths.

use super::address::Ino;
use super::blockmap::BlockMaps;
use super::directory;
use super::inode::{FileType, Inode};
use super::scan::Scan;
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::filesystem::by_path::{Directories, Node, NodeKind, gather, unknown};
use crate::filesystem::owners::Gaps;
use crate::text::sealed_bytes;

/// The most runs of one file that are looked at.
const RUNS_MAX: usize = 1 << 16;

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
        match gaps.list().into_iter().next() {
            Some(gap) => Err(Error::Refused(format!(
                "the directory of inode {} can't be read: {gap}",
                node.number
            ))),
            None => Ok(()),
        }
    }
}

impl Directories for Reader<'_> {
    fn root(&self) -> Result<Node> {
        self.node(Ino::ROOT)
    }

    fn names(&self, directory: &Node) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.visit(directory, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                names.push(sealed_bytes(entry.name));
            }
            true
        })?;
        Ok(names)
    }

    fn child(&self, directory: &Node, name: &str) -> Result<Option<Node>> {
        let mut found = None;
        self.visit(directory, &mut |entry| {
            if sealed_bytes(entry.name) == name {
                found = Some(entry.inode);
            }
            found.is_none()
        })?;
        found.map(|number| self.node(number)).transpose()
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
        let block_bytes = u64::from(self.superblock.block_bytes);
        let mut runs = Vec::new();
        BlockMaps::new(self.superblock, self.device).visit(&inode, &mut |run| {
            let at = run.file_block.filter(|_| run.is_written);
            runs.extend(at.map(|block| (block.saturating_mul(block_bytes), run.extent)));
            runs.len() < RUNS_MAX
        })?;
        gather(self.device, len, runs)
    }
}
