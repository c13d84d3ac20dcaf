//! The walk over all files: inodes group by group, each with the extents of its forks.
//!
//! XFS Algorithms & Data Structures, "Inode Core" and "Data Extents":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::bmap::Bmaps;
use super::inode::{Fork, Inode};
use super::scan::{self, Scan};
use crate::filesystem::files::{File, FileRun, FileVisitor, Next, RunKind};
use std::ops::Range;

/// `di_atime`, `di_crc`, `di_changecount` and `di_lsn`.
const VOLATILE_V5: [Range<usize>; 4] = [32..40, 100..104, 104..112, 112..120];

/// Visits all files in use. Trees, inodes and extents that can't be read or fail a check are noted
/// as gaps and left out. Contents on a realtime device are not on this one.
pub(super) fn walk(scan: &Scan<'_>, visitor: &mut dyn FileVisitor) {
    let mut walk = Walk {
        scan: *scan,
        maps: Bmaps::new(scan.superblock, scan.device, scan.gaps),
        visitor,
    };
    scan::inodes(scan, &mut |inode| walk.file(inode) != Next::Stop);
}

struct Walk<'a> {
    scan: Scan<'a>,
    maps: Bmaps<'a>,
    visitor: &'a mut dyn FileVisitor,
}

impl Walk<'_> {
    fn file(&mut self, inode: &Inode<'_>) -> Next {
        let superblock = self.scan.superblock;
        let file = File {
            number: inode.number.0,
            kind: inode.kind,
            is_internal: superblock.internal_inodes.contains(&inode.number),
            is_immutable: inode.is_immutable,
            is_unstamped: false,
            size_bytes: inode.size_bytes,
            contents_end_bytes: u64::MAX,
            cluster_bytes: superblock.block_bytes.into(),
            changed: inode.changed,
            made_seconds: None,
            changes: inode.changes,
            inode: inode.raw,
            // Version 4 ends before the fields that follow `di_atime`.
            volatile: if superblock.features.is_v5() {
                &VOLATILE_V5
            } else {
                VOLATILE_V5.get(..1).unwrap_or_default()
            },
        };
        let mut next = self.visitor.file(&file);
        if next == Next::Continue && !inode.is_realtime {
            next = self.fork(inode, &file, RunKind::Contents, &inode.data);
        }
        if next == Next::Continue {
            next = self.fork(inode, &file, RunKind::Attributes, &inode.attributes);
        }
        next
    }

    fn fork(&mut self, inode: &Inode<'_>, file: &File<'_>, kind: RunKind, fork: &Fork<'_>) -> Next {
        let superblock = self.scan.superblock;
        let mut next = Next::Continue;
        let visited = self.maps.visit(inode, fork, &mut |run| {
            let run = FileRun {
                kind,
                file_offset_bytes: superblock.byte(run.file_block),
                extent: run.extent,
                is_written: run.is_written,
            };
            next = self.visitor.run(file, &run);
            next == Next::Continue
        });
        self.scan.gaps.tolerate(visited);
        next
    }
}
