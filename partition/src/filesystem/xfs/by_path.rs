//! Files by their paths.

use super::address::{AgBlock, AgNumber, Ino};
use super::bmap::Bmaps;
use super::directory::Directories as Entries;
use super::inode::Inode;
use super::scan::Scan;
use super::superblock::Superblock;
use crate::bytes::{be16, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::by_path::{
    Directories, InOrder, Listing, Node, NodeKind, Run, gather, unknown,
};
use crate::filesystem::owners::Gaps;
use crate::text::{sealed_bytes, unsealed};
use std::os::unix::ffi::OsStrExt;

/// `S_IFMT`, `S_IFREG`, `S_IFDIR` and `S_IFLNK` of `di_mode`.
const MODE_TYPE: u16 = 0o170_000;
const MODE_REGULAR: u16 = 0o100_000;
const MODE_DIRECTORY: u16 = 0o040_000;
const MODE_LINK: u16 = 0o120_000;
/// `XFS_DIFLAG2_REFLINK` of `di_flags2`.
const FLAG2_REFLINK: u64 = 0x2;
/// `XFS_DINODE_FMT_LOCAL`
const FORMAT_LOCAL: u8 = 1;
/// Names of one directory that are held.
const NAMES_MAX: usize = 1 << 20;

pub(super) struct Reader<'a> {
    pub(super) superblock: &'a Superblock,
    pub(super) device: &'a dyn ReadAt,
}

impl Reader<'_> {
    /// The bytes of an inode. Its own number, which is checked when it is parsed, shows that it is one.
    fn raw(&self, number: Ino) -> Result<(u64, Vec<u8>)> {
        let superblock = self.superblock;
        let in_block = u32::from(superblock.inodes_per_block_log);
        let index = number.0 & ((1 << in_block) - 1);
        let block = number.0 >> in_block;
        let group = block >> superblock.group_blocks_log;
        let block = block & ((1 << superblock.group_blocks_log) - 1);
        let place = u32::try_from(group).ok().zip(u32::try_from(block).ok());
        let extent =
            place.and_then(|(group, block)| superblock.extent(AgNumber(group), AgBlock(block), 1));
        let Some(extent) = extent else {
            let expected = "an inode of the filesystem";
            return Err(Corrupt::new("XFS inode", "number", 0, expected, number).into());
        };
        let at = extent.offset_bytes() + index * u64::from(superblock.inode_bytes);
        Ok((
            at,
            read_vec(self.device, at, superblock.inode_bytes as usize)?,
        ))
    }

    /// Hands on an inode.
    fn with<T>(&self, number: Ino, use_it: impl FnOnce(&Inode<'_>) -> Result<T>) -> Result<T> {
        let (at, raw) = self.raw(number)?;
        use_it(&Inode::parse(self.superblock, number, at, &raw)?)
    }

    fn node(&self, number: Ino) -> Result<Node> {
        self.with(number, |inode| {
            Ok(Node {
                number: number.0,
                kind: match be16(inode.raw, 2) & MODE_TYPE {
                    MODE_REGULAR => NodeKind::File,
                    MODE_DIRECTORY => NodeKind::Directory,
                    MODE_LINK => NodeKind::Link,
                    _ => NodeKind::Other,
                },
                size_bytes: inode.size_bytes,
            })
        })
    }

    /// The entries of a directory.
    ///
    /// # Errors
    /// Also where a part of the directory was left out: what is not among the entries may be there then.
    fn entries(&self, directory: &Node) -> Result<Vec<(Vec<u8>, Ino)>> {
        let gaps = Gaps::new();
        let scan = Scan {
            superblock: self.superblock,
            device: self.device,
            gaps: &gaps,
        };
        let mut found = Vec::new();
        let mut is_whole = true;
        self.with(Ino(directory.number), |inode| {
            Entries::new(scan).visit(inode, &mut |entry| {
                is_whole &= found.len() < NAMES_MAX;
                if is_whole {
                    found.push((entry.name.to_vec(), entry.inode));
                }
            });
            Ok(())
        })?;
        gaps.none()?;
        match is_whole {
            true => Ok(found),
            false => Err(unknown("a directory with so many names")),
        }
    }

    /// The runs of the first `len_bytes` of a file.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] where runs overlap in the file, as many that do would have the same bytes read
    /// again and again.
    fn runs_of(&self, inode: &Inode<'_>, len_bytes: u64) -> Result<Vec<Run>> {
        let gaps = Gaps::new();
        let block_bytes = u64::from(self.superblock.block_bytes);
        let mut runs = InOrder::up_to(len_bytes);
        let mut maps = Bmaps::new(self.superblock, self.device, &gaps);
        maps.visit(inode, &inode.data, &mut |run| {
            let of_file = Run {
                file_offset_bytes: self.superblock.byte(run.file_block),
                extent: run.extent,
            };
            runs.add(of_file, run.is_written)
        })?;
        gaps.none()?;
        runs.finish().map_err(|overlap| {
            let found = overlap.found_bytes / block_bytes;
            let expected = format!("block {} or later", overlap.least_bytes / block_bytes);
            inode.corrupt("br_startoff", &expected, found).into()
        })
    }
}

impl Directories for Reader<'_> {
    fn root(&self) -> Result<Node> {
        self.node(self.superblock.root_inode)
    }

    fn names(&self, directory: &Node, names_max: usize) -> Result<Listing> {
        let entries = self.entries(directory)?;
        let names = entries.iter().map(|(name, _)| sealed_bytes(name));
        Ok(Listing::first(names, names_max))
    }

    fn child(&self, directory: &Node, name: &str) -> Result<Option<Node>> {
        let name = unsealed(name);
        let entries = self.entries(directory)?;
        let found = entries.iter().find(|(own, _)| own == name.as_bytes());
        found.map(|&(_, number)| self.node(number)).transpose()
    }

    fn contents(&self, file: &Node, len_max: usize) -> Result<Vec<u8>> {
        self.with(Ino(file.number), |inode| {
            let len = usize::try_from(inode.size_bytes).map_or(len_max, |len| len.min(len_max));
            if inode.data.format == FORMAT_LOCAL {
                let kept = inode.data.raw.get(..len).map(<[u8]>::to_vec);
                return kept.ok_or_else(|| inode.corrupt("di_size", "in the inode", len).into());
            }
            // Blocks of a link's target have headers between them.
            if file.kind == NodeKind::Link || inode.is_realtime {
                return Err(unknown(
                    "a long symbolic link, or a file on a realtime device",
                ));
            }
            gather(self.device, len, &self.runs_of(inode, len as u64)?)
        })
    }

    fn runs(&self, file: &Node, len_max: usize) -> Result<Option<Vec<Run>>> {
        self.with(Ino(file.number), |inode| {
            let is_v5 = self.superblock.features.is_v5();
            let di_flags2 = if is_v5 { be64(inode.raw, 120) } else { 0 };
            // Other files may have the same blocks.
            if inode.data.format == FORMAT_LOCAL || di_flags2 & FLAG2_REFLINK != 0 {
                return Ok(None);
            }
            self.runs_of(inode, len_max as u64).map(Some)
        })
    }
}
