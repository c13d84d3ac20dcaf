//! Entries of directories: those in the inode, and those in blocks. Only blocks with entries are
//! read, not the hash tables that find them.
//!
//! XFS Algorithms & Data Structures, "Directories": `xfs_dir2_sf_hdr`, `xfs_dir2_sf_entry`,
//! `xfs_dir2_data_hdr`, `xfs_dir3_data_hdr`, `xfs_dir2_data_entry`, `xfs_dir2_data_unused`,
//! `xfs_dir2_block_tail`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::Ino;
use super::bmap::{Bmaps, Run};
use super::checksum;
use super::inode::Inode;
use super::scan::Scan;
use crate::bytes::{be16, be32, be64, u8_at};
use crate::device::read_vec;
use crate::error::{Corrupt, Result};

const STRUCTURE: &str = "XFS directory block";
/// `XFS_DINODE_FMT_LOCAL`
const FORMAT_LOCAL: u8 = 1;
/// `XFS_DIR2_LEAF_OFFSET`: hash tables start here in a directory's fork.
const DATA_BYTES_MAX: u64 = 1 << 35;
/// `XFS_DIR2_DATA_FREE_TAG`
const FREE_TAG: u16 = 0xffff;
/// `XFS_MAX_BLOCKSIZE`, which limits blocks of directories, too.
const BLOCK_BYTES_MAX: u64 = 65_536;
/// Runs of one directory that are held.
const RUNS_MAX: usize = 1 << 20;

/// A name in a directory, and the inode that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) inode: Ino,
    pub(super) name: &'a [u8],
}

/// Gets each entry.
pub(super) type Visit<'a> = dyn FnMut(Entry<'_>) + 'a;

/// Reads directories. All of them together may have no more blocks than the filesystem has.
pub(super) struct Directories<'a> {
    scan: Scan<'a>,
    maps: Bmaps<'a>,
    blocks_left: u64,
}

impl<'a> Directories<'a> {
    pub(super) const fn new(scan: Scan<'a>) -> Self {
        Self {
            scan,
            maps: Bmaps::new(scan.superblock, scan.device, scan.gaps),
            blocks_left: scan.superblock.blocks,
        }
    }

    /// Visits the entries of a directory but "." and "..". What fails a check is noted as a gap.
    pub(super) fn visit(&mut self, inode: &Inode<'_>, visit: &mut Visit<'_>) {
        let visited = if inode.data.format == FORMAT_LOCAL {
            self.local(inode, visit)
        } else {
            self.blocks(inode, visit)
        };
        self.scan.gaps.tolerate(visited);
    }

    /// Visits the entries in an inode. A header of counts and the parent's number is before them.
    fn local(&self, inode: &Inode<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let fork = inode.data.raw;
        let size = usize::try_from(inode.size_bytes).ok();
        let raw = size.and_then(|size| fork.get(..size));
        let Some(raw) = raw.filter(|raw| raw.len() >= 6) else {
            let expected = format_args!("6 to {}", fork.len());
            return Err(inode.corrupt("di_size", expected, inode.size_bytes).into());
        };
        let count = u8_at(raw, 0);
        let i8count = u8_at(raw, 1);
        let number_len = if i8count > 0 { 8 } else { 4 };
        let type_len = usize::from(self.scan.superblock.features.has_ftype());
        let mut rest = raw.get(number_len + 2..).unwrap_or_default();
        for _ in 0..count {
            let namelen = rest.first().map_or(0, |&len| usize::from(len));
            // Length, offset, name, type and number.
            let number = 3 + namelen + type_len;
            let split = rest.split_at_checked(number + number_len);
            let Some((entry, after)) = split.filter(|_| namelen > 0) else {
                let expected = "entries in the inode";
                return Err(inode.corrupt("namelen", expected, namelen).into());
            };
            visit(Entry {
                inode: Ino(match number_len {
                    8 => be64(entry, number),
                    _ => be32(entry, number).into(),
                }),
                name: entry.get(3..3 + namelen).unwrap_or_default(),
            });
            rest = after;
        }
        Ok(())
    }

    fn blocks(&mut self, inode: &Inode<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let superblock = self.scan.superblock;
        let mut runs = Vec::new();
        self.maps.visit(inode, &inode.data, &mut |run| {
            let is_data = superblock.byte(run.file_block) < DATA_BYTES_MAX;
            runs.extend(is_data.then_some(run));
            is_data && runs.len() < RUNS_MAX
        })?;
        let log = u32::from(superblock.directory_blocks_log);
        let blocks = 1_u64.checked_shl(log);
        let len_bytes = blocks.map(|blocks| superblock.byte(blocks));
        let Some(len_bytes) = len_bytes.filter(|&len| len <= BLOCK_BYTES_MAX) else {
            let expected = format_args!("blocks of at most {BLOCK_BYTES_MAX} bytes");
            return Err(inode.corrupt("sb_dirblklog", expected, log).into());
        };
        let mut gatherer = Gatherer {
            directories: self,
            inode,
            len: len_bytes as usize,
            raw: Vec::new(),
            offset_bytes: 0,
            next_block: 0,
        };
        for run in runs {
            gatherer.run(run, visit)?;
        }
        Ok(())
    }
}

/// Puts the blocks of a directory together. Each may be several blocks of the filesystem.
struct Gatherer<'a, 'b> {
    directories: &'b mut Directories<'a>,
    inode: &'b Inode<'b>,
    /// Length of a block of the directory.
    len: usize,
    /// As much of one as was read.
    raw: Vec<u8>,
    /// Where the first of its blocks lies on the volume.
    offset_bytes: u64,
    /// The block of the fork that must come next.
    next_block: u64,
}

impl Gatherer<'_, '_> {
    fn run(&mut self, run: Run, visit: &mut Visit<'_>) -> Result<()> {
        let Scan {
            superblock,
            device,
            gaps,
        } = self.directories.scan;
        let pieces = run.extent.split(superblock.block_bytes.into());
        for (file_block, piece) in (run.file_block..).zip(pieces) {
            if file_block != self.next_block {
                // The block that was begun is not complete.
                self.raw.clear();
            }
            let Some(left) = self.directories.blocks_left.checked_sub(1) else {
                let expected = "no more blocks than the filesystem has";
                return Err(self.inode.corrupt("extents", expected, "more").into());
            };
            self.directories.blocks_left = left;
            if self.raw.is_empty() {
                self.offset_bytes = piece.offset_bytes();
            }
            let read = read_vec(device, piece.offset_bytes(), superblock.block_len())?;
            self.raw.extend(read);
            // Offsets in a fork have 54 bits.
            self.next_block = file_block + 1;
            if self.raw.len() >= self.len {
                gaps.tolerate(self.entries(visit));
                self.raw.clear();
            }
        }
        Ok(())
    }

    fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        Corrupt::new(STRUCTURE, field, self.offset_bytes, expected, found)
    }

    /// Checks the block, and gives the part of it that holds entries.
    fn checked(&self) -> Result<&[u8]> {
        let raw = &self.raw;
        let is_v5 = self.directories.scan.superblock.features.is_v5();
        let magic = raw.get(..4).unwrap_or_default();
        let has_table = match (magic, is_v5) {
            (b"XD2B", false) | (b"XDB3", true) => true,
            (b"XD2D", false) | (b"XDD3", true) => false,
            _ => {
                let found = format!("{magic:02x?}");
                return Err(self.corrupt("magic", "a block of entries", found).into());
            }
        };
        if is_v5 {
            checksum::check(STRUCTURE, self.offset_bytes, raw, 4)?;
            // Disk addresses count 512 bytes, whatever the sector.
            let blkno = be64(raw, 8);
            let expected = self.offset_bytes / 512;
            if blkno != expected {
                return Err(self.corrupt("blkno", expected, blkno).into());
            }
            let owner = Ino(be64(raw, 40));
            let expected = self.inode.number;
            if owner != expected {
                return Err(self.corrupt("owner", expected, owner).into());
            }
        }
        let header_len = if is_v5 { 64 } else { 16 };
        let end = if has_table {
            self.table_start(header_len)?
        } else {
            raw.len()
        };
        Ok(raw.get(header_len..end).unwrap_or_default())
    }

    /// Where the hash table of a block starts, after its header. The block ends with a tail, which
    /// has a count, and the records of the table, 8 bytes each, lie before it.
    fn table_start(&self, header_len: usize) -> Result<usize> {
        let tail = self.raw.len().saturating_sub(8);
        let count = be32(&self.raw, tail);
        let start = (tail as u64).checked_sub(u64::from(count) * 8);
        let start = start.map(|start| start as usize);
        start
            .filter(|&start| start >= header_len)
            .ok_or_else(|| self.corrupt("count", "a table in the block", count).into())
    }

    fn entries(&self, visit: &mut Visit<'_>) -> Result<()> {
        let mut rest = self.checked()?;
        let type_len = usize::from(self.directories.scan.superblock.features.has_ftype());
        while rest.len() >= 8 {
            let freetag = be16(rest, 0);
            let is_free = freetag == FREE_TAG;
            let namelen = match rest.get(8) {
                Some(&namelen) if !is_free => usize::from(namelen),
                _ => 0,
            };
            let len = if is_free {
                usize::from(be16(rest, 2))
            } else {
                // Number, length, name, type and tag, in units of 8 bytes.
                (namelen + type_len + 11).next_multiple_of(8)
            };
            let is_valid = len >= 8 && len.is_multiple_of(8) && (is_free || namelen > 0);
            let split = rest.split_at_checked(len).filter(|_| is_valid);
            let Some((entry, after)) = split else {
                let expected = format!("entries in the {} bytes left", rest.len());
                return Err(self.corrupt("namelen", expected, len).into());
            };
            let name = entry.get(9..namelen + 9).unwrap_or_default();
            if !is_free && name != b"." && name != b".." {
                let inode = Ino(be64(entry, 0));
                visit(Entry { inode, name });
            }
            rest = after;
        }
        Ok(())
    }
}
