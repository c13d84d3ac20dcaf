//! Which files hold given bytes: extents of all inodes, then names from all directories.

use super::address::Ino;
use super::directory::Directories;
use super::files::walk;
use super::scan::{self, Scan};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::filesystem::Owner;
use crate::filesystem::files::{File, FileKind, FileRun, FileVisitor, FirstHits, Next};
use crate::filesystem::owners::{Forgiving, Gaps, Links, Wanted};
use std::collections::HashSet;

/// The most directories that are remembered; 16 MiB of memory.
const DIRECTORIES_MAX: usize = 1 << 21;

/// The files that hold wanted bytes in the blocks of their data or of their extended attributes;
/// directories too. Bytes inside of inodes are no file's, and neither are the blocks that say where
/// other blocks are. A file without a name is called by its inode, as in `/<131>`. A file with
/// several names is listed under one of them.
pub(super) fn owners(
    superblock: &Superblock,
    device: &dyn ReadAt,
    wanted: &Wanted<'_>,
    gaps: &Gaps,
) -> Vec<Owner> {
    let device = Forgiving::new(device, 0, gaps);
    let scan = Scan {
        superblock,
        device: &device,
        gaps,
    };
    let mut search = Search {
        hits: FirstHits::new(wanted),
        directories: Vec::new(),
    };
    walk(&scan, &mut search);
    if search.directories.len() >= DIRECTORIES_MAX {
        gaps.note("names: more directories than fit in memory");
    }
    let hits = search.hits.finish();
    if hits.is_empty() {
        return Vec::new();
    }
    let files: HashSet<u64> = hits.iter().map(|hit| hit.file).collect();
    let is_wanted =
        |inode: Ino| files.contains(&inode.0) || search.directories.binary_search(&inode.0).is_ok();
    let mut links = links(&scan, &is_wanted);
    hits.into_iter()
        .map(|hit| {
            let path = links.path(hit.file, |inode| inode);
            hit.owner(path)
        })
        .collect()
}

struct Search<'a> {
    hits: FirstHits<'a>,
    /// Inodes of directories, ascending.
    directories: Vec<u64>,
}

impl FileVisitor for Search<'_> {
    fn file(&mut self, file: &File<'_>) -> Next {
        // A full list is noted as a gap, even when no directory was left out.
        if file.kind == FileKind::Directory && self.directories.len() < DIRECTORIES_MAX {
            self.directories.push(file.number);
        }
        if file.is_internal || self.hits.is_full() {
            return Next::SkipFile;
        }
        self.hits.file(file)
    }

    fn run(&mut self, file: &File<'_>, run: &FileRun) -> Next {
        self.hits.run(file, run)
    }
}

/// A link to each file that is wanted.
fn links(scan: &Scan<'_>, is_wanted: &dyn Fn(Ino) -> bool) -> Links<u64> {
    let mut links = Links::new(scan.superblock.root_inode.0);
    let mut directories = Directories::new(*scan);
    let mut has_room = true;
    scan::inodes(scan, &mut |inode| {
        if inode.kind == FileKind::Directory {
            directories.visit(inode, &mut |entry| {
                if is_wanted(entry.inode) {
                    has_room &= links.add(entry.inode.0, inode.number.0, entry.name);
                }
            });
        }
        true
    });
    if !has_room {
        scan.gaps.note("names: more of them than fit in memory");
    }
    links
}
