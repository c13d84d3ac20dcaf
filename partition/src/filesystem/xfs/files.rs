//! The walk over all files: inodes group by group, each with the extents of its forks.
//!
//! XFS Algorithms & Data Structures, "Inode Core" and "Data Extents".

use super::bmap::Bmaps;
use super::group::Group;
use super::inode::{self, Fork, Inode};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::filesystem::files::{File, FileKind, FileRun, FileVisitor, Next, Part};
use crate::filesystem::owners::Gaps;
use std::ops::Range;

/// `di_atime`, `di_crc`, `di_changecount` and `di_lsn`.
const VOLATILE_V5: [Range<usize>; 4] = [32..40, 100..104, 104..112, 112..120];

/// Visits all files in use. Trees, inodes and extents that can't be read or fail a check are noted
/// in `gaps` and left out. Contents on a realtime device are not on this one.
pub(super) fn walk(
    superblock: &Superblock,
    device: &dyn ReadAt,
    gaps: &Gaps,
    visitor: &mut dyn FileVisitor,
) {
    let mut maps = Bmaps::new(superblock, device).tolerant(gaps);
    let mut is_over = false;
    for number in 0..superblock.groups {
        if is_over {
            return;
        }
        inodes_of(superblock, device, (number, gaps), &mut |inode| {
            if !is_over {
                is_over = file(superblock, (&mut maps, gaps), inode, visitor) == Next::Stop;
            }
        });
    }
}

/// Visits every inode in use of a group that can be read.
pub(super) fn inodes_of(
    superblock: &Superblock,
    device: &dyn ReadAt,
    (number, gaps): (u32, &Gaps),
    visit: &mut dyn FnMut(&Inode),
) {
    let group = Group::of_inodes(superblock, device, number);
    let Some(group) = gaps.tolerate(group) else {
        return;
    };
    let visited = inode::inodes(superblock, device, (&group, Some(gaps)), &mut |inode| {
        if let Some(inode) = gaps.tolerate(inode) {
            visit(&inode);
        }
        Ok(())
    });
    gaps.tolerate(visited);
}

fn file(
    superblock: &Superblock,
    (maps, gaps): (&mut Bmaps<'_>, &Gaps),
    inode: &Inode,
    visitor: &mut dyn FileVisitor,
) -> Next {
    let file = File {
        number: inode.number,
        kind: if inode.is_regular() {
            FileKind::Regular
        } else if inode.is_directory() {
            FileKind::Directory
        } else {
            FileKind::Other
        },
        is_internal: superblock.internal_inodes.contains(&inode.number),
        is_immutable: inode.is_immutable(),
        size_bytes: inode.size_bytes(),
        contents_end_bytes: u64::MAX,
        cluster_bytes: superblock.block_bytes.into(),
        changed: inode.changed(),
        changes: inode.changes(),
        inode: inode.raw(),
        volatile: if superblock.features.is_v5() {
            &VOLATILE_V5
        } else {
            VOLATILE_V5.get(..1).unwrap_or_default()
        },
    };
    let next = visitor.file(&file);
    if next != Next::Continue {
        return next;
    }
    let data = (!inode.is_realtime()).then(|| (Part::Contents, inode.data()));
    let attributes = (Part::Attributes, inode.attributes());
    for fork in data.into_iter().chain([attributes]) {
        let next = runs(superblock, (maps, gaps), (inode, &file), fork, visitor);
        if next != Next::Continue {
            return next;
        }
    }
    Next::Continue
}

fn runs(
    superblock: &Superblock,
    (maps, gaps): (&mut Bmaps<'_>, &Gaps),
    (inode, file): (&Inode, &File<'_>),
    (part, fork): (Part, Fork<'_>),
    visitor: &mut dyn FileVisitor,
) -> Next {
    let mut next = Next::Continue;
    let visited = maps.visit(inode, &fork, &mut |run| {
        let run = FileRun {
            part,
            file_offset_bytes: superblock.byte(run.file_block),
            extent: run.extent,
            is_written: run.is_written,
        };
        next = visitor.run(file, &run);
        next == Next::Continue
    });
    gaps.tolerate(visited);
    next
}
